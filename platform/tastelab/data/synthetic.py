"""The embedded default data set: a synthetic world whose best reachable AUC and rank of taste are known.

`prepare` writes it in chunks, so memory does not grow with the number of impressions. See `synthetic_world` for the
world and `synthetic_text` for its texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tastelab.data import synthetic_text as text
from tastelab.data.synthetic_world import WARM_UP, Floats, Ints, Sessions, World, WorldSize, WorldSpec
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

SIZES: dict[str, WorldSize] = {
    "smoke": WorldSize(num_items=400, num_users=300, num_train=500, num_dev=100),
    "default": WorldSize(num_items=1_600, num_users=1_200, num_train=2_400, num_dev=600),
    "small": WorldSize(num_items=65_000, num_users=94_000, num_train=157_000, num_dev=73_000),
    "large": WorldSize(num_items=161_000, num_users=876_000, num_train=2_200_000, num_dev=376_000),
}
"""Named sizes; `small` and `large` are those of the two MIND corpora."""

VERSION = 1
"""Raised when the same specification and seed give other tables, so that caches write theirs again."""
CHUNK = 2_048
"""Users whose sessions are computed at a time."""

Progress = Callable[[int, int], None]


def prepare(target: Path, size: str | WorldSpec, seed: int = 0, progress: Progress | None = None) -> PreparedData:
    """Write the synthetic world of a named size, or of a full specification, and open it.

    Args:
        target: Folder to write; it appears only when it is complete.
        size: A name of `SIZES` or a `WorldSpec`.
        seed: The same seed gives the same tables, byte for byte.
        progress: Called with (impressions written, impressions in all).

    `meta.json` holds `spec`, `seed` and `known`: `best_auc`, the mean AUC per split of the true click probabilities,
    which no ranker can beat in expectation, and `taste_rank`.

    Raises:
        ValueError: The size has no such name.
    """
    spec = named_spec(size) if isinstance(size, str) else size
    world = World(spec, seed)
    known: dict[str, Any] = {"taste_rank": spec.rank}
    extra = {"source": "synthetic", "seed": seed, "spec": dataclasses.asdict(spec), "known": known}
    sums: dict[str, Floats] = {}
    total, done = spec.size.num_train + spec.size.num_dev, 0
    with DatasetWriter(target, _name(spec), **extra) as writer:
        writer.write_items(items(world))
        for split, table, auc_P in impressions(world):
            writer.write_impressions(split, table)
            sums[split] = sums.get(split, 0.0) + np.array([np.nansum(auc_P), np.isfinite(auc_P).sum()])
            done += table.num_rows
            if progress:
                progress(done, total)
        known["best_auc"] = {split: float(total_auc / num_scored) for split, (total_auc, num_scored) in sums.items()}
    return open_prepared(target)


def named_spec(name: str, **options: Any) -> WorldSpec:
    """Return the `WorldSpec` of a named size, with other `options` where given."""
    if name not in SIZES:
        raise ValueError(f"There is no synthetic world of size '{name}': choose one of {', '.join(SIZES)}.")
    return WorldSpec(SIZES[name], **options)


def items(world: World) -> pa.Table:
    """Return the item table of a world, oldest item first."""
    num_items = world.spec.size.num_items
    draws_ND = world.uniform("words", np.arange(num_items)[:, None], np.arange(text.DRAWS))
    topics = [text.TOPICS[c][t] for c, t in zip(world.community_N.tolist(), world.topic_N.tolist(), strict=True)]
    styles = np.stack([world.axes_N2, world.sides_N2], axis=2).tolist()
    texts = [text.compose(*args) for args in zip(topics, styles, draws_ND.tolist(), strict=True)]
    titles, abstracts, entities = zip(*texts, strict=True)
    return pa.table(
        {
            "item_id": [f"S{row:07d}" for row in range(num_items)],
            "title": titles,
            "abstract": abstracts,
            "body": pa.repeat("", num_items),
            "category": [text.COMMUNITIES[community] for community in world.community_N.tolist()],
            "subcategory": topics,
            "entities": entities,
            "created": pa.array(world.created_N, pa.timestamp("s")),
            "has_text": pa.repeat(True, num_items),
        }
    )


def impressions(world: World) -> Iterator[tuple[str, pa.Table, Floats]]:
    """Yield (split, impressions, their best reachable AUC) in order of time, train before dev."""
    size, done = world.spec.size, 0
    for users, round_ in _log(world):
        for split, first, last in (
            ("train", 0, size.num_train),
            ("dev", size.num_train, size.num_train + size.num_dev),
        ):
            part = slice(max(0, first - done), max(0, last - done))
            if len(users[part]):
                yield split, *_impressions(world, users[part], round_, done + part.start)
        done += len(users)
        if done >= size.num_train + size.num_dev:
            return


def _log(world: World) -> Iterator[tuple[Ints, int]]:
    """Yield the active users of each logged round in chunks, in order of time, without end."""
    round_ = WARM_UP
    while True:
        for start in range(0, world.spec.size.num_users, CHUNK):
            users = world.users_of(round_, start, start + CHUNK)
            yield users[world.is_active(users, np.array([round_]))], round_
        round_ += 1


def _impressions(world: World, users_P: Ints, round_: int, first_id: int) -> tuple[pa.Table, Floats]:
    shown = world.sessions(users_P, np.full(len(users_P), round_))
    slots_PC = shown.candidates_PC >= 0
    table = pa.table(
        {
            "impression_id": [str(first_id + place) for place in range(len(users_P))],
            "user_id": [f"U{user:07d}" for user in users_P.tolist()],
            "time": pa.array(shown.times_P, pa.timestamp("s")),
            "history": _histories(world, users_P, round_),
            "feedback": pa.nulls(len(users_P), pa.list_(pa.int8())),
            "candidates": _lists(shown.candidates_PC[slots_PC].astype(np.int32), slots_PC.sum(axis=1)),
            "labels": _lists(shown.clicks_PC[slots_PC].astype(np.int8), slots_PC.sum(axis=1)),
        }
    )
    return table, best_auc(shown)


def _histories(world: World, users_P: Ints, round_: int) -> pa.ListArray:
    """Collect each user's clicks of all earlier rounds, oldest first."""
    active = world.is_active(users_P[:, None], np.arange(round_))
    owner, rounds = np.nonzero(active)
    past = world.sessions(users_P[owner], rounds)
    num_clicks = np.bincount(owner, weights=past.clicks_PC.sum(axis=1), minlength=len(users_P))
    return _lists(past.candidates_PC[past.clicks_PC].astype(np.int32), num_clicks.astype(np.int64))


def best_auc(sessions: Sessions) -> Floats:
    """Return `[P]` AUCs (Mann–Whitney, ties ½) of the true probabilities; NaN where all or none were clicked."""
    shown_PC, clicks_PC, scores_PC = sessions.candidates_PC >= 0, sessions.clicks_PC, sessions.probabilities_PC
    pairs_PCC = clicks_PC[:, :, None] & (shown_PC & ~clicks_PC)[:, None, :]
    wins_PCC = np.sign(scores_PC[:, :, None] - scores_PC[:, None, :]) / 2 + 0.5
    num_pairs_P = pairs_PCC.sum(axis=(1, 2))
    wins_P = np.where(pairs_PCC, wins_PCC, 0.0).sum(axis=(1, 2))
    return np.asarray(np.divide(wins_P, num_pairs_P, out=np.full(len(wins_P), np.nan), where=num_pairs_P > 0))


def _lists(values: Any, lengths: Ints) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values))


def _name(spec: WorldSpec) -> str:
    size = next((name for name, size in SIZES.items() if size == spec.size), "custom")
    suffixes = [] if size == "default" else [size]
    if spec != WorldSpec(spec.size):
        suffixes.append("custom")
    return "-".join(["synthetic", *dict.fromkeys(suffixes)])
