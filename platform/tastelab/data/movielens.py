"""MovieLens (GroupLens' or RecBole's files) → a prepared data set: liked films among films that others rated then.

Ratings are given in sessions, and the catalogue was there before: so a film's neighbours are those beside it in the
stream of all ratings, not those created beside it, and every candidate was visible at any time.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.data.mind_layout import RawFile
from tastelab.data.movielens_items import read_films
from tastelab.data.movielens_layout import HOLDS, find_release
from tastelab.data.movielens_ratings import Ratings, read_ratings
from tastelab.data.movielens_windows import Neighbours
from tastelab.data.progress import bar_of
from tastelab.data.quarantine import Quarantine
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

Ints = npt.NDArray[np.int64]

VERSION = 1
"""Raised when the same files give other tables, so that caches are written again."""
MAX_BAD_SHARE = 0.01
BLOCK = 4_096


@dataclass(frozen=True)
class Rule:
    """How ratings become impressions."""

    liked_from: float = 4.0
    """Stars from which a film is liked: a positive, and +1 in histories."""
    disliked_to: float = 2.0
    """Stars up to which a film is disliked: -1 in histories. What lies between is neither, and in no history."""
    window: int = 16
    """Films of an impression, the positive included."""
    max_history: int = 200
    """Most recent liked and disliked films that are kept; in large releases whole histories fill disks."""
    dev_share: float = 0.2
    """Share of the impressions, the last in time, that are dev."""
    impressions: Literal["all", "final"] = "all"
    """Every liked film, or the last one of each user in each split."""
    seed: int = 0
    """Of the place of the positive in its window."""

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to learn from."""
        if not self.disliked_to < self.liked_from:
            raise ValueError(
                f"Films are liked from {self.liked_from:g} and disliked up to {self.disliked_to:g} stars: "
                "choose a higher and a lower number."
            )
        if self.window < 2 or self.max_history < 1 or not 0 < self.dev_share < 1:
            raise ValueError(
                f"A window of {self.window} films, a history of {self.max_history} and a dev share of {self.dev_share} "
                "leave nothing to learn from: use at least 2, at least 1, and a share between 0 and 1."
            )
        if self.impressions not in ("all", "final"):
            raise ValueError(f"Impressions are 'all' or 'final', not '{self.impressions}'.")


def files(source: Path) -> list[RawFile]:
    """Return the files that `prepare` would read, none where `source` holds nothing of MovieLens."""
    found = find_release(source)
    return [found.items, found.ratings] if found else []


def prepare(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    rule: Rule | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    progress: bool = True,
) -> PreparedData:
    """Prepare a folder or zip of MovieLens.

    An impression is a film that its user liked, at a uniformly drawn place among the films that are nearest to it in
    the stream of all first ratings and that its user never rated. Its history is what the user liked and disliked at
    earlier seconds; a liked film without such a history makes no impression.

    Args:
        source: Folder or zip that holds the files, directly or in one folder.
        target: Folder to write; it appears only when it is complete.
        name: Label of the data set; the name of `source` unless given.
        rule: How ratings become impressions.
        max_bad_share: Share of a file's lines that may be malformed; they are listed in `quarantine.tsv`.
        progress: Show a bar.

    Raises:
        ValueError: The files are not there, empty or malformed, or no user liked a film after another.
    """
    rule, release = rule or Rule(), find_release(source)
    name = name or source.absolute().name.removesuffix(".zip")
    if release is None:
        raise ValueError(f"{source} holds no MovieLens files: it must hold {HOLDS}.")
    labels = [release.items.label, release.ratings.label]
    bad_lines = Quarantine(target.with_name(f"{target.name}.quarantine.tsv"), max_bad_share)
    num_bytes = release.items.size + release.ratings.size
    with bad_lines as quarantine, bar_of(num_bytes, f"preparing {name}", progress) as bar:
        items = read_films(release, quarantine, bar.update)
        ratings = read_ratings(release, items, rule.liked_from, rule.disliked_to, quarantine, bar.update)
        windows = _windows(ratings, rule, name)
        with DatasetWriter(target, name, source="movielens", layout=release.layout.name, files=labels) as writer:
            writer.write_items(items)
            for split, table in _impressions(ratings, windows, rule, items.num_rows):
                writer.write_impressions(split, table)
            writer.extra |= _facts(ratings, windows, rule) | {"quarantine": quarantine.summary()}
            quarantine.move_to(writer.file("quarantine.tsv"))
    return open_prepared(target)


@dataclass(frozen=True)
class _Windows:
    """The impressions to write, in order of time: P of them, of all splits."""

    events_P: Ints  # positions of the positives in the stream
    numbers_P: Ints  # among all windows, so that a window has one id in all variants
    places_P: Ints  # of the positive in its run
    in_dev_P: npt.NDArray[np.bool_]
    history_starts_P: Ints  # into `history_order`
    history_stops_P: Ints
    history_order: Ints  # positions of liked and disliked films, by user, then time
    cut: int  # the time at which dev starts
    num_without_history: int


def _windows(ratings: Ratings, rule: Rule, name: str) -> _Windows:
    order, starts_S, stops_S = _histories(ratings, rule.max_history)
    liked = np.flatnonzero(ratings.signs_S > 0)
    events = liked[stops_S[liked] > starts_S[liked]]
    if not len(events):
        raise ValueError(
            f"Nobody in '{name}' liked a film after having rated another ({len(ratings.times_S):,} ratings, liked from "
            f"{rule.liked_from:g} stars): there is nothing to learn from."
        )
    times = ratings.times_S[events]
    cut = int(times[min(int(len(events) * (1 - rule.dev_share)), len(events) - 1)])
    places = np.random.default_rng(rule.seed).integers(0, rule.window, len(events))
    in_dev = times >= cut
    kept = np.arange(len(events))
    if rule.impressions == "final":
        last = {split: _last_of_each(ratings.users_S[events], in_dev == split) for split in (False, True)}
        kept = np.sort(np.concatenate(list(last.values())))
    chosen = events[kept]
    bounds = starts_S[chosen], stops_S[chosen]
    return _Windows(chosen, kept, places[kept], in_dev[kept], *bounds, order, cut, len(liked) - len(events))


def _histories(ratings: Ratings, max_history: int) -> tuple[Ints, Ints, Ints]:
    """Return the signed ratings by user and time, and for every rating the range of those before it.

    Only earlier seconds count: what was rated on one page has one time, and no order that means anything.
    """
    span = int(ratings.times_S[-1] - ratings.times_S[0]) + 1 if len(ratings.times_S) else 1
    keys_S = ratings.users_S.astype(np.int64) * span + (ratings.times_S - ratings.times_S[:1])
    signed = np.flatnonzero(ratings.signs_S)
    order = signed[np.argsort(keys_S[signed], kind="stable")]
    stops_S = np.searchsorted(keys_S[order], keys_S)
    starts_S = np.searchsorted(keys_S[order], ratings.users_S.astype(np.int64) * span)
    return order, np.maximum(starts_S, stops_S - max_history), stops_S


def _last_of_each(users_P: npt.NDArray[np.int32], taking_part_P: npt.NDArray[np.bool_]) -> Ints:
    rows = np.flatnonzero(taking_part_P)[::-1]
    _, first = np.unique(users_P[rows], return_index=True)
    return rows[first]


def _impressions(ratings: Ratings, windows: _Windows, rule: Rule, num_items: int) -> Iterator[tuple[str, pa.Table]]:
    neighbours = Neighbours(ratings, num_items)
    user_ids = pa.array(ratings.user_ids, pa.string())
    for split, in_split in (("train", ~windows.in_dev_P), ("dev", windows.in_dev_P)):
        rows = np.flatnonzero(in_split)
        for start in range(0, max(len(rows), 1), BLOCK):
            yield split, _table(ratings, windows, rows[start : start + BLOCK], neighbours, user_ids, rule)


def _table(
    ratings: Ratings, windows: _Windows, rows: Ints, neighbours: Neighbours, user_ids: pa.Array, rule: Rule
) -> pa.Table:
    events = windows.events_P[rows]
    runs = neighbours.runs(events, windows.places_P[rows], rule.window - 1)
    lengths = windows.history_stops_P[rows] - windows.history_starts_P[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - windows.history_starts_P[rows], lengths)
    past = windows.history_order[within]
    signs, owner = ratings.signs_S[past], np.repeat(np.arange(len(rows)), lengths)
    all_liked = np.bincount(owner, signs < 0, len(rows)) == 0
    is_click = np.repeat(events, np.diff(runs.offsets_P)) == runs.positions
    return pa.table(
        {
            "impression_id": pa.array(windows.numbers_P[rows] + 1).cast(pa.string()),
            "user_id": user_ids.take(pa.array(ratings.users_S[events])),
            "time": pa.array(ratings.times_S[events], pa.timestamp("s")),
            "history": _lists(ratings.items_S[past], offsets),
            "feedback": _lists(signs, offsets, all_liked),
            "candidates": _lists(ratings.items_S[runs.positions], runs.offsets_P),
            "labels": _lists(is_click.astype(np.int8), runs.offsets_P),
        }
    )


def _lists(values: npt.NDArray[np.generic], offsets: Ints, nulls: npt.NDArray[np.bool_] | None = None) -> pa.ListArray:
    mask = None if nulls is None else pa.array(nulls)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=mask)


def _facts(ratings: Ratings, windows: _Windows, rule: Rule) -> dict[str, object]:
    cut = datetime.datetime.fromtimestamp(windows.cut, datetime.UTC).replace(tzinfo=None).isoformat()
    return {
        "rule": vars(rule),
        "cut": cut,
        "num_ratings": len(ratings.times_S),
        "num_repeated_ratings": ratings.num_lines - len(ratings.times_S),
        "num_disliked": int((ratings.signs_S < 0).sum()),
        "num_without_history": windows.num_without_history,
    }
