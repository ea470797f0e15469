"""The candidates of many impressions as one flat array of slots: checked, cut in chunks, sorted, grouped by tie.

Shape letters: N impressions, S slots (candidates of all impressions, end to end), G groups of tied slots.
Impression i owns the slots `offsets[i]:offsets[i + 1]`.

A group is all that a metric needs to know: how many slots and positives it has, and which ranks it takes. Without
ties every slot is a group of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK_SLOTS = 1 << 15  # sorts stay in the cache, and memory does not grow with the data
CHUNK_IMPRESSIONS = 1 << 16  # numbers of a chunk's impressions fit 16 bits, which numpy sorts by radix


@dataclass(frozen=True)
class Groups:
    """Groups of tied slots, by impression, then from the lowest score up."""

    num_impressions: int
    impression_G: Ints
    size_G: Ints
    positives_G: Ints
    last_rank_G: Ints  # the worst of the ranks that a group takes, 1 being the best
    negatives_below_G: Ints  # negatives of the same impression with a lower score

    def total(self, value_G: Floats | Ints) -> Floats:
        """Sum a value of the groups over each impression: N numbers, 0 where there is no slot."""
        sums_N = np.bincount(self.impression_G, weights=value_G, minlength=self.num_impressions)
        return sums_N.astype(np.float64, copy=False)


@dataclass(frozen=True)
class Chunk:
    """Consecutive impressions, small enough to work on at once."""

    rows: slice  # which impressions of the whole
    offsets_N1: Ints  # from 0
    scores_S: Floats
    labels_S: Ints

    def sorted(self, stable: bool) -> tuple[Ints, Ints]:
        """Sort slots by impression, then from the lowest score up.

        Returns the order of the slots and the impression of each sorted slot. Unless `stable`, tied slots come in
        any order, which is several times as fast.
        """
        impression_S = np.repeat(np.arange(len(self.offsets_N1) - 1, dtype=np.uint16), np.diff(self.offsets_N1))
        order_S = np.argsort(self.scores_S, kind="stable" if stable else None)
        order_S = order_S[np.argsort(impression_S[order_S], kind="stable")]
        return order_S, impression_S.astype(np.int64)  # already by impression: sorting leaves it as it is

    def groups(self, ties: str) -> tuple[Groups, Groups]:
        """Group the slots by equal score, and as the dialect `ties` ranks them: `official` leaves none tied."""
        order_S, impression_S = self.sorted(stable=ties == "official")
        scores_S = self.scores_S[order_S]
        new_S = np.ones(len(order_S), bool)
        new_S[1:] = (scores_S[1:] != scores_S[:-1]) | (impression_S[1:] != impression_S[:-1])
        tied = self._grouped(np.flatnonzero(new_S), order_S, impression_S)
        return tied, tied if ties == "expected" else self._grouped(np.arange(len(order_S)), order_S, impression_S)

    def _grouped(self, first_G: Ints, order_S: Ints, impression_S: Ints) -> Groups:
        """Describe the groups that start at the sorted slots `first_G`."""
        positives_before_S1 = np.concatenate([[0], np.cumsum(self.labels_S[order_S])])
        negatives_before_S1 = np.arange(len(order_S) + 1) - positives_before_S1
        impression_G = impression_S[first_G]
        begin_G, end_G = self.offsets_N1[impression_G], np.append(first_G[1:], len(order_S))
        return Groups(
            num_impressions=len(self.offsets_N1) - 1,
            impression_G=impression_G,
            size_G=end_G - first_G,
            positives_G=positives_before_S1[end_G] - positives_before_S1[first_G],
            last_rank_G=self.offsets_N1[impression_G + 1] - first_G,
            negatives_below_G=negatives_before_S1[first_G] - negatives_before_S1[begin_G],
        )


@dataclass(frozen=True)
class Slots:
    """Scores and labels of all impressions, as they were passed in; `chunks` converts and checks them."""

    scores_S: NDArray[Any]
    labels_S: NDArray[Any]
    offsets_N1: Ints

    @property
    def num_impressions(self) -> int:
        """Number of impressions, empty ones included."""
        return len(self.offsets_N1) - 1

    def chunks(self) -> Iterator[Chunk]:
        """Cut between impressions; `ValueError` names the first impression with a NaN score or a wrong label."""
        start = 0
        while start < self.num_impressions:
            limit = self.offsets_N1[start] + CHUNK_SLOTS
            fitting = int(np.searchsorted(self.offsets_N1, limit, side="right")) - 1
            stop = min(max(fitting, start + 1), start + CHUNK_IMPRESSIONS, self.num_impressions)
            offsets_N1 = self.offsets_N1[start : stop + 1]
            slots = slice(offsets_N1[0], offsets_N1[-1])
            scores_S, labels_S = self.scores_S[slots].astype(np.float64), self.labels_S[slots]
            self._refuse(slots, np.isnan(scores_S), "a score that is NaN: look for overflow in the model")
            self._refuse(slots, (labels_S != 0) & (labels_S != 1), "a label that is neither 0 nor 1")
            yield Chunk(slice(start, stop), offsets_N1 - offsets_N1[0], scores_S, labels_S.astype(np.int64))
            start = stop

    def _refuse(self, slots: slice, bad_S: NDArray[np.bool_], what: str) -> None:
        if bad_S.any():
            slot = slots.start + int(bad_S.argmax())
            impression = int(np.searchsorted(self.offsets_N1, slot, side="right")) - 1
            raise ValueError(f"Impression {impression} (counted from 0) has {what}.")


def as_slots(scores: ArrayLike, labels: ArrayLike, offsets: ArrayLike) -> Slots:
    """Take flat scores and labels with the offsets that cut them; `ValueError` where they do not fit together."""
    scores_S, labels_S, bounds = np.asarray(scores), np.asarray(labels), np.asarray(offsets)
    if scores_S.ndim != 1 or scores_S.shape != labels_S.shape:
        raise ValueError(
            f"Pass scores and labels as flat arrays of one length, not of shapes {scores_S.shape} and {labels_S.shape}."
        )
    if bounds.ndim != 1 or not bounds.size or bounds.dtype.kind not in "iu":
        raise ValueError("Pass offsets as a flat array of integers, one more than there are impressions.")
    offsets_N1 = bounds.astype(np.int64, copy=False)
    if (falls := np.flatnonzero(np.diff(offsets_N1) < 0)).size:
        raise ValueError(f"Offsets fall at impression {falls[0]} (counted from 0): pass offsets that never decrease.")
    if offsets_N1[0] != 0 or offsets_N1[-1] != len(scores_S):
        raise ValueError(
            f"Offsets run from {offsets_N1[0]} to {offsets_N1[-1]}: pass offsets from 0 to the {len(scores_S)} scores."
        )
    return Slots(scores_S, labels_S, offsets_N1)
