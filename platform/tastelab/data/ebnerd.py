"""EB-NeRD (Ekstra Bladet's news logs, parquet) → a prepared data set.

Behaviors are read in blocks and written in file order, so memory does not grow with their number; the histories of one
split are held, because every impression of a user has the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from tastelab.data.ebnerd_layout import HOLDS, RawEbnerd, find_bundle, on_disk
from tastelab.data.ebnerd_tables import ArticleRows, read_articles, read_behaviors, read_histories
from tastelab.data.mind_layout import RawFile
from tastelab.data.progress import bar_of
from tastelab.data.quarantine import Quarantine
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.schema import ITEMS

VERSION = 1
"""Raised when the same files give other tables, so that caches are written again."""
MAX_BAD_SHARE = 0.01
MAX_UNKNOWN_SHARE = 0.01


def files(source: Path) -> list[RawFile]:
    """Return the files that `prepare` would read, none where `source` holds nothing of EB-NeRD."""
    found = find_bundle(source)
    return found.files if found else []


def prepare(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    max_unknown_share: float = MAX_UNKNOWN_SHARE,
    progress: bool = True,
) -> PreparedData:
    """Prepare a bundle of EB-NeRD: train, validation (→ dev) and, if there, test, whose labels are not published.

    Args:
        source: Folder or zip that holds `articles.parquet` and a folder per split, directly or in one folder. Members
            of a zip are unpacked beside `target` while they are read.
        target: Folder to write; it appears only when it is complete.
        name: Label of the data set; the name of `source` unless given.
        max_bad_share: Share of a split's impressions that cannot be right; they are listed in `quarantine.tsv`.
        max_unknown_share: Share of the distinct articles named that may be in no file; they become items without text.
        progress: Show a bar.

    The history of an impression is its user's fixed history, whole: the clicks of the three weeks before the split.

    Raises:
        ValueError: The layout is incomplete, a file is empty or damaged, or a share is exceeded.
    """
    if not 0 <= max_unknown_share <= 1:
        raise ValueError(f"The share of unknown items that is tolerated lies in 0..1, not {max_unknown_share}.")
    name, bundle = name or source.absolute().name.removesuffix(".zip"), find_bundle(source)
    if bundle is None:
        raise ValueError(f"{source} holds no EB-NeRD files: it must hold {HOLDS}.")
    bad_rows = Quarantine(target.with_name(f"{target.name}.quarantine.tsv"), max_bad_share)
    labels = [file.label for file in bundle.files]
    with bad_rows as quarantine, DatasetWriter(target, name, source="ebnerd", files=labels) as writer:
        with on_disk(bundle.articles, target.parent) as path:
            items = read_articles(path, bundle.articles.label)
        articles = ArticleRows(items["item_id"].to_numpy(zero_copy_only=False).astype(np.int64))
        for split in bundle.splits:
            _write_split(split, bundle, articles, writer, quarantine, f"preparing {name} {split}" if progress else None)
        articles.check(max_unknown_share)
        writer.write_items(pa.concat_tables([items, _without_text(list(articles.unknown))]))
        writer.extra |= {"num_items_named": articles.num_named, "num_items_unknown": len(articles.unknown)}
        writer.extra |= {"quarantine": quarantine.summary()}
        quarantine.move_to(writer.file("quarantine.tsv"))
    return open_prepared(target)


def _write_split(
    split: str,
    bundle: RawEbnerd,
    articles: ArticleRows,
    writer: DatasetWriter,
    quarantine: Quarantine,
    shown: str | None,
) -> None:
    behaviors, history = bundle.splits[split]
    num_rows = num_bad = 0
    with on_disk(history, writer.path.parent) as path:
        histories = read_histories(path, history.label, articles)
    with (
        on_disk(behaviors, writer.path.parent) as path,
        bar_of(None, shown or "", shown is not None, unit=" impressions") as bar,
    ):
        for num, table, bad in read_behaviors(path, behaviors.label, histories, articles, bar.update):
            num_rows += num
            num_bad += quarantine.add(split, behaviors.label, bad)
            writer.write_impressions(split, table)
    quarantine.check(behaviors.label, num_rows, num_bad)


def _without_text(ids: list[int]) -> pa.Table:
    """Return items for the articles that only logs name."""
    nothing = [""] * len(ids)
    columns = {field.name: nothing for field in ITEMS if field.name not in ("item_id", "created", "has_text")}
    named = {"item_id": [str(article) for article in ids], "created": [None] * len(ids), "has_text": [False] * len(ids)}
    return pa.table(columns | named, schema=None).select(ITEMS.names).cast(ITEMS)
