"""Engagements of a bucket of people → impressions, without a loop over either.

An impression is a positive engagement in a run of items of its community that are consecutive in creation order, at a
uniformly drawn place, so that age says nothing of the label. What the person engaged with or posted is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.data.mix.engagements import Events
from tastelab.data.mix.hashing import drawn, seed_of
from tastelab.data.mix.timelines import Ints, Skips, Timelines

CHUNK_ROWS = 32_768
"""Impressions that are made at a time: with W = 16, about 30 MB of candidates."""

WINDOWS = pa.schema(
    [
        pa.field("person", pa.int32()),  # place among the people of the bucket
        pa.field("community", pa.int32()),
        pa.field("time", pa.int64()),
        pa.field("history", pa.list_(pa.int32())),
        pa.field("feedback", pa.list_(pa.int8())),
        pa.field("candidates", pa.list_(pa.int32())),
        pa.field("labels", pa.list_(pa.int8())),
    ]
)


@dataclass(frozen=True)
class Rules:
    """Options that shape impressions."""

    window: int
    min_history: int
    max_history: int
    own_posts: bool
    seed: int


@dataclass(frozen=True)
class Taste:
    """What the people of a bucket engaged with: each item once, in order of person, time and item."""

    persons: npt.NDArray[np.uint64]
    rows: Ints
    times: Ints
    signs: npt.NDArray[np.int8]
    kinds: npt.NDArray[np.uint16]
    people: Ints
    """Place of each one's person among the people of the bucket."""
    starts: Ints
    """First engagement of each one's person."""
    groups: Ints
    """Person and community of each, as a group of `skips`."""
    places: Ints
    """Where each is in `skips.rows`."""
    skips: Skips

    @property
    def num_people(self) -> int:
        """People with an engagement."""
        return int(self.people[-1]) + 1 if len(self.people) else 0


def taste(events: Events, timelines: Timelines, own_posts: bool) -> Taste:
    """Keep the first engagement of each person with each item, and order them.

    A person's own items are never shown as negatives; with `own_posts` posting counts as engaging with them.
    """
    names = ("sign", "kind", "time", "row", "person")
    events = events[np.lexsort([events[name] for name in names])]
    first = events[_changes(events["person"], events["row"])]
    # An item's posting is its first event, being its earliest and of the lowest kind.
    communities = np.asarray(timelines.communities[first["row"]])
    group_starts = np.flatnonzero(_changes(first["person"], communities))
    offsets = np.append(group_starts, len(first)).astype(np.int64)
    skips = Skips(first["row"].astype(np.int64), offsets, timelines.starts[communities[group_starts]])
    groups = np.repeat(np.arange(len(group_starts)), np.diff(offsets))
    places = np.arange(len(first)) if own_posts else np.flatnonzero(first["kind"] > 0)
    engaged = first[places]
    order = np.lexsort([timelines.hashes[engaged["row"]], engaged["time"], engaged["person"]])
    engaged, places = engaged[order], places[order]
    new = _changes(engaged["person"])
    people = np.cumsum(new) - 1
    return Taste(
        engaged["person"],
        engaged["row"].astype(np.int64),
        engaged["time"],
        engaged["sign"],
        engaged["kind"],
        people,
        np.flatnonzero(new)[people] if len(people) else people,
        groups[places],
        places,
        skips,
    )


def impressions(found: Taste, timelines: Timelines, rules: Rules, counts: Counter[str]) -> Iterator[pa.Table]:
    """Yield tables of `WINDOWS` in the order of person and click, and count what was shifted, short or dropped."""
    ranks = np.arange(len(found.rows)) - found.starts
    clicked = np.flatnonzero((found.signs > 0) & (ranks >= rules.min_history))
    for start in range(0, len(clicked), CHUNK_ROWS):
        yield _chunk(found, clicked[start : start + CHUNK_ROWS], timelines, rules, counts)


def _chunk(found: Taste, clicked_B: Ints, timelines: Timelines, rules: Rules, counts: Counter[str]) -> pa.Table:
    groups_B, before_B, sizes_B = _eligible(found, clicked_B, timelines)
    shown = sizes_B >= 2
    counts["engagement in a community without another item to show"] += int((~shown).sum())
    clicked_B, groups_B, before_B, sizes_B = (each[shown] for each in (clicked_B, groups_B, before_B, sizes_B))
    keys = found.persons[clicked_B], timelines.hashes[found.rows[clicked_B]]
    place_B = (drawn(rules.seed, *keys) % np.uint64(rules.window)).astype(np.int64)
    start_B = np.clip(before_B - place_B, 0, np.maximum(sizes_B - rules.window, 0))
    counts["impressions shifted at the end of a timeline"] += int(
        ((start_B != before_B - place_B) & (sizes_B >= rules.window)).sum()
    )
    counts["impressions with fewer candidates"] += int((sizes_B < rules.window).sum())
    rank_BC = start_B[:, None] + np.arange(rules.window)
    mask_BC = rank_BC < sizes_B[:, None]
    rank_BC = np.minimum(rank_BC, sizes_B[:, None] - 1)
    label_BC = rank_BC == before_B[:, None]
    others_BC = found.skips.row_of(groups_B[:, None], rank_BC - (rank_BC > before_B[:, None]))
    rows_BC = np.where(label_BC, found.rows[clicked_B][:, None], others_BC)
    time_B = np.maximum(found.times[clicked_B], np.where(mask_BC, timelines.created[rows_BC], 0).max(axis=1))
    order_BC = _shuffled(rows_BC, mask_BC, timelines, rules.seed, keys)
    taken_BC = np.take_along_axis(mask_BC, order_BC, axis=1)
    history, feedback = _history(found, clicked_B, rules.max_history)
    lengths_B = mask_BC.sum(axis=1)
    columns = {
        "person": pa.array(found.people[clicked_B], pa.int32()),
        "community": pa.array(timelines.communities[found.rows[clicked_B]], pa.int32()),
        "time": pa.array(time_B),
        "history": history,
        "feedback": feedback,
        "candidates": _lists(lengths_B, np.take_along_axis(rows_BC, order_BC, axis=1)[taken_BC].astype(np.int32)),
        "labels": _lists(lengths_B, np.take_along_axis(label_BC, order_BC, axis=1)[taken_BC].astype(np.int8)),
    }
    return pa.table(columns, schema=WINDOWS)


def _eligible(found: Taste, clicked_B: Ints, timelines: Timelines) -> tuple[Ints, Ints, Ints]:
    """Group of each click, eligible items created before it, and eligible items of its community with itself."""
    groups_B = found.groups[clicked_B]
    skips, rows_B = found.skips, found.rows[clicked_B]
    community_B = timelines.communities[rows_B]
    total_B = timelines.starts[community_B + 1] - timelines.starts[community_B]
    passed_B = skips.offsets[groups_B + 1] - skips.offsets[groups_B]
    return groups_B, skips.eligible_before(groups_B, found.places[clicked_B]), total_B - passed_B + 1


def _shuffled(
    rows_BC: Ints,
    mask_BC: npt.NDArray[np.bool_],
    timelines: Timelines,
    seed: int,
    keys: tuple[npt.NDArray[np.uint64], ...],
) -> Ints:
    """Draw the order of the candidates: that of creation would tell their age, and their ids'. Padding goes last."""
    draws = drawn(seed_of("order", str(seed)), *(key[:, None] for key in keys), timelines.hashes[rows_BC])
    draws = np.where(mask_BC, draws >> np.uint64(1), np.uint64(2**63))
    return np.argsort(draws, axis=1, kind="stable")


def _history(found: Taste, clicked_B: Ints, max_history: int) -> tuple[pa.Array, pa.Array]:
    """Engagements before each click, oldest first, and their signs where any is negative."""
    lengths_B = np.minimum(clicked_B - found.starts[clicked_B], max_history)
    offsets = np.concatenate([[0], np.cumsum(lengths_B)])
    flat = np.arange(offsets[-1]) + np.repeat(clicked_B - lengths_B - offsets[:-1], lengths_B)
    disliked = np.concatenate([[0], np.cumsum(found.signs[flat] < 0)])
    all_liked = disliked[offsets[1:]] == disliked[offsets[:-1]]
    history = _lists(lengths_B, found.rows[flat].astype(np.int32))
    return history, _lists(lengths_B, found.signs[flat], all_liked)


def _lists(lengths_B: Ints, values: npt.NDArray[np.generic], absent_B: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Cut flat values into lists; `absent_B` ones become null."""
    mask = None
    if absent_B is not None:
        values = values[~np.repeat(absent_B, lengths_B)]
        lengths_B, mask = np.where(absent_B, 0, lengths_B), pa.array(absent_B)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths_B)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values), mask=mask)


def _changes(*columns: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Tell where a row of sorted columns differs from the one before."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new
