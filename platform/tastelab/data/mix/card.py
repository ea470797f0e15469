"""The data card of a mix: what it is made of, what was left out, what was checked, and what a reader must know of it.

`card.json` holds the facts and `card.md` prints them (`card_page`). Both lie in the folder of the final variant and
speak of both variants; neither holds an identifier, a text of an item or the salt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab import __version__
from tastelab.data.mix.card_page import page
from tastelab.data.mix.duplicates import cached_near_duplicates, normal_title
from tastelab.data.mix.facts import Facts
from tastelab.data.mix.sanity import check
from tastelab.data.mix.trivial import named, trivial_aucs
from tastelab.data.tables import PreparedData
from tastelab.schema import SPLITS

FILE, PAGE = "card.json", "card.md"


def write_card(folder: Path, final: PreparedData, all_: PreparedData, facts: Facts) -> None:
    """Check both variants of a mix, measure the trivial rankers on them, and write `card.json` and `card.md`.

    Raises:
        ValueError: an invariant of `sanity.CHECKS` does not hold.
    """
    card = card_facts(final, all_, facts)
    (folder / FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page(card), encoding="utf-8")


def card_facts(final: PreparedData, all_: PreparedData, facts: Facts) -> dict[str, Any]:
    """Return what the card says, as plain JSON values.

    Raises:
        ValueError: an invariant of `sanity.CHECKS` does not hold.
    """
    return {
        "name": final.name,
        "tastelab": __version__,
        "options": dict(facts.options),
        "sources": [dict(source) for source in facts.sources],
        "never_run_on_real_data": sorted({source["feed"] for source in facts.sources if not source["seen_real"]}),
        "items": _items(final),
        "people": facts.people,
        "engagements": dict(facts.engagements),
        "communities": {name: dict(community) for name, community in facts.communities.items()},
        "dropped": dict(facts.dropped.most_common()),
        "notes": dict(facts.notes),
        "quarantine": final.meta.get("quarantine", {}),
        "variants": {name: _variant(data) for name, data in (("final", final), ("all", all_))},
    }


def warnings(data: PreparedData) -> list[str]:
    """Return what must stand beside every table on a data set: the trivial rankers outside .5 ± .05, a sentence each.

    It is read from the card beside the prepared folder, or one folder up for the variant of all impressions. A data
    set without a card, or with one of other tables, has no warnings but those that its `meta.json` may carry on from
    the data sets that it was joined of.
    """
    if "warnings" in data.meta:
        return [str(sentence) for sentence in data.meta["warnings"]]
    for folder in (data.path, data.path.parent):
        for variant in _read(folder / FILE).get("variants", {}).values():
            if variant["fingerprint"] == data.fingerprint:
                return list(variant["warnings"])
    return []


def _read(path: Path) -> Mapping[str, Any]:
    try:
        card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card


def _items(data: PreparedData) -> dict[str, int]:
    """Count the items and those that are marked as near-duplicates."""
    group = cached_near_duplicates(data)
    sizes = np.unique(group[group >= 0], return_counts=True)[1]
    titles = [normal_title(title) for title in data.items(["title"])["title"].to_pylist()]
    return {
        "items": len(group),
        "near_duplicate_groups": len(sizes),
        "near_duplicates": int(sizes.sum()) - len(sizes),
        "largest_group": int(sizes.max(initial=0)),
        "equal_titles": len(titles) - len(set(titles)),
    }


def _variant(data: PreparedData) -> dict[str, Any]:
    """Describe one variant: sizes, checks, and the trivial rankers of each split."""
    splits: dict[str, Any] = {}
    warned: list[str] = []
    for split in (split for split in SPLITS if split in data.splits):
        aucs = trivial_aucs(data, split)
        warned += [f"In {split} of '{data.name}', {sentence}" for sentence in named(aucs)]
        splits[split] = _sizes(data, split) | {"trivial": {name: auc._asdict() for name, auc in aucs.items()}}
    return {"fingerprint": data.fingerprint, "warnings": warned, "splits": splits, "sanity": asdict(check(data))}


def _sizes(data: PreparedData, split: str) -> dict[str, Any]:
    """Count a split, a file at a time; the history is as long as it was written."""
    people: set[str] = set()
    num = slots = empty = candidates = 0
    times: list[Any] = []
    for file in data.files(split):
        table = pq.read_table(file, columns=["user_id", "time", "history", "candidates"])
        lengths = pc.list_value_length(table["history"]).to_numpy()
        people.update(table["user_id"].unique().to_pylist())
        num, slots, empty = num + len(table), slots + int(lengths.sum()), empty + int((lengths == 0).sum())
        candidates += int(pc.sum(pc.list_value_length(table["candidates"])).as_py() or 0)
        times += pc.min_max(table["time"]).as_py().values()
    dated = [time for time in times if time is not None]
    return {
        "impressions": num,
        "people": len(people),
        "mean_history": round(slots / max(num, 1), 2),
        "empty_histories": empty,
        "mean_candidates": round(candidates / max(num, 1), 2),
        "first": str(min(dated).date()) if dated else None,
        "last": str(max(dated).date()) if dated else None,
    }
