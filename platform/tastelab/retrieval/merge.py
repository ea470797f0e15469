"""Several lists of a user → one: scores merged by maximum, duplicates dropped, cut at k (methods.md §6).

Shape letters: N users, L candidates of a user, k retrieved ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tastelab.metrics.retrieval import NOTHING

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def merge(rows_NL: npt.NDArray[np.integer[Any]], scores_NL: npt.NDArray[Any], k: int) -> tuple[Rows, Scores]:
    """Keep each item once with its best score, and of these the k best; of equal scores the lower row comes first.

    Args:
        rows_NL: item rows, `NOTHING` in empty places.
        scores_NL: a score per place.
        k: length of the result.

    Returns:
        Rows and scores (N, k); `NOTHING` and −inf where there are fewer than k items.
    """
    scores = np.where(rows_NL == NOTHING, -np.inf, scores_NL).astype(np.float32)
    by_row = np.lexsort((-scores, rows_NL))
    rows, scores = np.take_along_axis(rows_NL, by_row, 1), np.take_along_axis(scores, by_row, 1)
    scores[:, 1:][rows[:, 1:] == rows[:, :-1]] = -np.inf
    best = np.lexsort((rows, -scores))[:, :k]
    rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
    return _padded(np.where(np.isneginf(scores), NOTHING, rows).astype(np.int64), scores, k)


def without(
    rows_NL: npt.NDArray[np.integer[Any]], scores_NL: npt.NDArray[Any], excluded: Excluded
) -> tuple[Rows, Scores]:
    """Empty the places that hold an item which is not to be retrieved for their user."""
    wide = int(max(rows_NL.max(initial=0), excluded.items.max(initial=0))) + 1
    keys_E = excluded.users() * wide + excluded.items
    keys_NL = np.arange(len(rows_NL))[:, None] * wide + rows_NL
    gone_NL = np.isin(keys_NL, keys_E) | (rows_NL == NOTHING)
    return np.where(gone_NL, NOTHING, rows_NL).astype(np.int64), np.where(gone_NL, -np.inf, scores_NL).astype(
        np.float32
    )


class Excluded:
    """Items that are not to be retrieved for each user, end to end: user n owns `items[offsets[n]:offsets[n + 1]]`."""

    def __init__(self, items: npt.ArrayLike, offsets: npt.ArrayLike) -> None:
        """Take flat item rows and their N + 1 offsets."""
        self.items = np.asarray(items, np.int64)
        self.offsets = np.asarray(offsets, np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, users: slice) -> Excluded:
        """Return those of consecutive users."""
        first, last, _ = users.indices(len(self))
        offsets = self.offsets[first : last + 1]
        return Excluded(self.items[offsets[0] : offsets[-1]], offsets - offsets[0])

    def users(self) -> Rows:
        """Return the user of each item."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def longest(self) -> int:
        """The most items that any user has."""
        return int(np.diff(self.offsets).max(initial=0))


def _padded(rows_Nk: Rows, scores_Nk: Scores, k: int) -> tuple[Rows, Scores]:
    missing = ((0, 0), (0, k - rows_Nk.shape[1]))
    return np.pad(rows_Nk, missing, constant_values=NOTHING), np.pad(scores_Nk, missing, constant_values=-np.inf)
