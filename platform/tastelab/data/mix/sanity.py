"""What must hold of every mix, checked on the tables as they were written (methods.md §7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.ragged import Ints, flat
from tastelab.data.tables import PreparedData
from tastelab.schema import SPLITS

HASHED = re.compile(r"[a-z]?[0-9a-f]{16,64}")
"""Form of a user id: a salted hash in hexadecimal digits, behind a letter that tells what it names."""
Mask = npt.NDArray[np.bool_]
NEVER = np.iinfo(np.int64).min
CHECKS = {
    "rows": "every history and every impression names rows of the item table",
    "one_positive": "every impression has two or more distinct candidates, exactly one of them clicked",
    "own_history": "no click is in its own history",
    "no_engaged_negative": "no negative is in the history",
    "visible": "every candidate was there at its impression's time",
    "one_community": "all candidates of an impression are of one community",
    "feedback": "feedback, where there is any, is as long as its history and holds +1 and -1 only",
    "hashed": "every user id has the form of a hash, and no person has two (checked while they are written)",
    "in_time": "the splits of a community follow each other in time",
}
"""Name of a check → what it has found to hold."""


@dataclass
class Sanity:
    """What was looked at: counts over all splits."""

    impressions: int = 0
    candidates: int = 0
    history_slots: int = 0
    disliked_slots: int = 0
    empty_histories: int = 0
    users: int = 0
    checks: list[str] = field(default_factory=lambda: list(CHECKS.values()))


def check(data: PreparedData) -> Sanity:
    """Check the invariants of a mix, a file at a time, and count what was looked at.

    Raises:
        ValueError: one does not hold; the sentence names it, the split and the first impression at fault.
    """
    items = data.items(["created", *(["community"] if data.has_item_column("community") else [])])
    created_M = _seconds(items["created"])
    community_M = _codes(items["community"]) if "community" in items.column_names else np.zeros(len(items), np.int64)
    found, users, span = Sanity(), set[str](), _Spans(int(community_M.max(initial=0)) + 1)
    for split in (split for split in SPLITS if split in data.splits):
        for file in data.files(split):
            part = _Part(split, pq.read_table(file), created_M, community_M)
            part.check()
            part.count(found)
            users.update(part.table["user_id"].unique().to_pylist())
            span.add(part)
        span.close(data.name)
    found.users = len(users)
    return found


@dataclass
class _Part:
    """One file of a split. Letters: N impressions, S candidate slots, H history slots, both end to end; M items."""

    split: str
    table: pa.Table
    created_M: Ints
    community_M: Ints

    def __post_init__(self) -> None:
        self.candidates_S, self.offsets = flat(self.table["candidates"])
        self.history_H, self.history_offsets = flat(self.table["history"])
        self.lengths_N = np.diff(self.offsets)
        self.impression_S = np.repeat(np.arange(len(self.lengths_N)), self.lengths_N)
        self.impression_H = np.repeat(np.arange(len(self.lengths_N)), np.diff(self.history_offsets))
        self.time_N = _seconds(self.table["time"])

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        self.require("rows", self._of(self.impression_S, self._unknown(self.candidates_S)))
        self.require("rows", self._of(self.impression_H, self._unknown(self.history_H)))
        self.require("one_positive", self._not_one_positive())
        engaged_S = self._in_history()
        self.require("own_history", self._of(self.impression_S, engaged_S & self.clicked_S))
        self.require("no_engaged_negative", self._of(self.impression_S, engaged_S))
        created_S, time_S = self.created_M[self.candidates_S], self.time_N[self.impression_S]
        unseen_S = (created_S > time_S) | (created_S == NEVER) | (time_S == NEVER)
        self.require("visible", self._of(self.impression_S, unseen_S))
        other_S = self.community_M[self.candidates_S] != self.community_N[self.impression_S]
        self.require("one_community", self._of(self.impression_S, other_S))
        self.require("feedback", self._bad_feedback())
        hashed = pc.match_substring_regex(self.table["user_id"], f"^{HASHED.pattern}$")
        self.require("hashed", ~hashed.to_numpy())

    def count(self, found: Sanity) -> None:
        """Add what this file holds."""
        found.impressions += len(self.lengths_N)
        found.candidates += len(self.candidates_S)
        found.history_slots += len(self.history_H)
        found.disliked_slots += int((flat(self.table["feedback"])[0] < 0).sum())
        found.empty_histories += int((np.diff(self.history_offsets) == 0).sum())

    def require(self, name: str, broken_N: Mask) -> None:
        """Raise `ValueError` if any impression breaks a check."""
        if broken_N.any():
            row = int(np.argmax(broken_N))
            raise ValueError(
                f"It does not hold that {CHECKS[name]}: see impression {self.table['impression_id'][row].as_py()} of "
                f"{self.split} ({int(broken_N.sum()):,} in the same file); this is a defect of the builder, report it."
            )

    @property
    def clicked_S(self) -> Mask:
        """Which candidate slots were clicked."""
        return flat(self.table["labels"])[0] > 0

    @property
    def community_N(self) -> Ints:
        """Community of each impression: that of its first candidate."""
        return self.community_M[self.candidates_S[self.offsets[:-1]]]

    def _of(self, impression: Ints, broken: Mask) -> Mask:
        """Which impressions have a slot that is broken."""
        return np.asarray(np.bincount(impression[broken], minlength=len(self.lengths_N)) > 0)

    def _unknown(self, rows: Ints) -> Mask:
        return np.asarray((rows < 0) | (rows >= len(self.created_M)))

    def _not_one_positive(self) -> Mask:
        labels, offsets = flat(self.table["labels"])
        if not np.array_equal(offsets, self.offsets):
            return np.asarray(np.diff(offsets) != self.lengths_N)
        positives_N = np.bincount(self.impression_S, labels > 0, len(self.lengths_N))
        slots = np.unique(self._keys(self.impression_S, self.candidates_S))
        distinct_N = np.bincount(slots // len(self.created_M), minlength=len(self.lengths_N))
        return np.asarray((self.lengths_N < 2) | (positives_N != 1) | (distinct_N != self.lengths_N))

    def _in_history(self) -> Mask:
        """Which candidate slots hold an item of their impression's history."""
        history = self._keys(self.impression_H, self.history_H)
        return np.isin(self._keys(self.impression_S, self.candidates_S), history)

    def _keys(self, impression: Ints, items: Ints) -> Ints:
        """Impression and item in one number."""
        return impression * len(self.created_M) + items

    def _bad_feedback(self) -> Mask:
        signs, offsets = flat(self.table["feedback"])
        present_N = pc.is_valid(self.table["feedback"]).to_numpy()
        other_N = present_N & (np.diff(offsets) != np.diff(self.history_offsets))
        impression = np.repeat(np.arange(len(present_N)), np.diff(offsets))
        return np.asarray(other_N | self._of(impression, np.abs(signs) != 1))


class _Spans:
    """Times of the impressions of each community, a split after the other."""

    def __init__(self, num_communities: int) -> None:
        self.until = np.full(num_communities, NEVER)
        self.first, self.last = np.full(num_communities, np.iinfo(np.int64).max), self.until.copy()
        self.splits: list[str] = []

    def add(self, part: _Part) -> None:
        """Take in a file of the split that is being read."""
        self.splits += [] if self.splits[-1:] == [part.split] else [part.split]
        np.minimum.at(self.first, part.community_N, part.time_N)
        np.maximum.at(self.last, part.community_N, part.time_N)

    def close(self, name: str) -> None:
        """End a split; raise `ValueError` if it begins before the one before it ended."""
        if (self.first < self.until).any():
            raise ValueError(
                f"It does not hold that {CHECKS['in_time']}: {self.splits[-1]} of '{name}' begins in some community "
                f"before the split in front of it ends; this is a defect of the builder, report it."
            )
        self.until = np.maximum(self.until, self.last)
        self.first = np.full_like(self.first, np.iinfo(np.int64).max)


def _seconds(times: pa.ChunkedArray) -> Ints:
    return np.asarray(times.cast(pa.int64()).fill_null(NEVER).to_numpy(), dtype=np.int64)


def _codes(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.combine_chunks().dictionary_encode().indices.to_numpy(), dtype=np.int64)
