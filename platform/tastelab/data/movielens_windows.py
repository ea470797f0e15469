"""Which films stand beside a liked one: those that others rated next to it in time and its user never rated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tastelab.data.movielens_ratings import Ratings

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

REACH = 32  # ratings on either side that are looked at first; doubled until they are enough
CELLS = 2**20  # of the rows × ratings that are looked at together


@dataclass(frozen=True)
class Runs:
    """Positions in the stream of ratings of each window's films, in order of time: flat, with offsets."""

    positions: Ints
    offsets_P: Ints


class Neighbours:
    """Find films near a rating in the stream; P windows, S ratings, N films."""

    def __init__(self, ratings: Ratings, num_items: int) -> None:
        """Remember who rated what."""
        self.ratings, self.num_items = ratings, num_items
        self.pairs = np.sort(ratings.users_S.astype(np.int64) * num_items + ratings.items_S)

    def runs(self, events_P: Ints, places_P: Ints, num: int) -> Runs:
        """Return the window around each event: the event and `num` distinct films that its user never rated.

        Film number `places_P` of a window is the event. The others are the nearest on its two sides. Where the stream
        ends on one side, more are taken on the other; a window is short where there are not enough films at all.
        """
        places_P, found = places_P.copy(), np.full((len(events_P), num), -1, np.int64)
        pending = np.arange(len(events_P))
        while len(pending):
            found[pending], num_before = self._chosen(events_P[pending], places_P[pending], num)
            missing = (found[pending] < 0).sum(axis=1)
            # What the stream's end withheld is taken before the event, if that can give more than it did.
            more = (missing > 0) & (places_P[pending] < num) & (num_before == places_P[pending])
            pending, missing = pending[more], missing[more]
            places_P[pending] = np.minimum(places_P[pending] + missing, num)
        positions = np.sort(np.concatenate([found, events_P[:, None]], axis=1), axis=1)
        offsets_P = np.concatenate([[0], np.cumsum((positions >= 0).sum(axis=1))])
        return Runs(positions[positions >= 0], offsets_P)

    def _chosen(self, events_P: Ints, places_P: Ints, num: int) -> tuple[Ints, Ints]:
        """Return `[P, num]` positions, -1 where there are no more, and how many of them precede the event."""
        found, before = np.full((len(events_P), num), -1, np.int64), np.zeros(len(events_P), np.int64)
        pending, reach = np.arange(len(events_P)), REACH
        while len(pending):
            rows = max(1, CELLS // (2 * reach))
            left = []
            for part in (pending[start : start + rows] for start in range(0, len(pending), rows)):
                done, found_part, before_part = self._within(events_P[part], places_P[part], num, reach)
                found[part[done]], before[part[done]] = found_part[done], before_part[done]
                left.append(part[~done])
            pending, reach = np.concatenate(left), 2 * reach
        return found, before

    def _within(self, events_P: Ints, places_P: Ints, num: int, reach: int) -> tuple[Bools, Ints, Ints]:
        """Choose among the `reach` ratings on either side; `done` where a larger reach would choose the same."""
        steps = np.arange(1, reach + 1)
        positions = events_P[:, None] + np.concatenate([-steps, steps])  # the nearest first, those before first
        inside = (positions >= 0) & (positions < len(self.ratings.items_S))
        items = self.ratings.items_S[np.where(inside, positions, 0)].astype(np.int64)
        usable = inside & ~self._is_rated(self.ratings.users_S[events_P], items)
        before, after = np.split(usable, 2, axis=1)
        before = _first_of_each(items[:, :reach], before)
        before &= np.cumsum(before, axis=1) <= places_P[:, None]
        chosen = _first_of_each(items, np.concatenate([before, after], axis=1))
        chosen &= np.cumsum(chosen, axis=1) <= num
        num_before = before.sum(axis=1)
        enough_before = (num_before == places_P) | (events_P <= reach)
        enough = (chosen.sum(axis=1) == num) | (events_P + reach >= len(self.ratings.items_S) - 1)
        found = np.full((len(events_P), num), -1, np.int64)
        row, column = np.nonzero(chosen)
        found[row, np.cumsum(chosen, axis=1)[row, column] - 1] = positions[row, column]
        return enough_before & enough, found, num_before

    def _is_rated(self, users_P: npt.NDArray[np.int32], items: Ints) -> Bools:
        wanted = users_P.astype(np.int64)[:, None] * self.num_items + items
        places = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        rated: Bools = self.pairs[places] == wanted
        return rated


def _first_of_each(values: Ints, usable: Bools) -> Bools:
    """Tell which usable cells are the first of their row with their value."""
    distinct = np.where(usable, values, -1 - np.arange(values.shape[1]))
    order = np.argsort(distinct, axis=1, kind="stable")
    ordered = np.take_along_axis(distinct, order, axis=1)
    repeated = np.zeros(values.shape, np.bool_)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return usable & ~repeated
