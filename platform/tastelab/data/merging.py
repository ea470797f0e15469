"""From impressions to one sequence of clicks a user, in the order of time, every click once (methods.md §6).

Per user, over impressions in the order of time: the history of the first impression as it stands (times unknown); then,
for each impression, what its history holds that is not yet known (times unknown), then its positives with its time.
- A later history that repeats an item tells nothing new: it is the same click.
- A positive that stands among the last items that the impression's own history adds is that click, and dates it.
- A click that only histories know belongs to the first split that knows it, unless it is a positive already.

Shape letters: I impressions of the block, E events: slots of histories and positives, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tastelab.data.logged import Lists, Logged
from tastelab.schema import UNKNOWN_TIME

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK_SLOTS = 4_000_000  # bounds the memory of the sort, whatever the number of impressions

TRAIN, DEV, TEST, DEV_CONTEXT, TEST_CONTEXT = range(5)
"""Splits of clicks; the histories of dev and test alone know the contexts, which are nobody's targets."""
LEVELS = np.array([0, 1, 2, 1, 2], np.int8)
"""From which split on a click is known: 0 train, 1 dev, 2 test."""
CONTEXTS = np.array([TRAIN, DEV_CONTEXT, TEST_CONTEXT], np.int8)


@dataclass(frozen=True)
class Clicks:
    """Clicks of consecutive users, in order."""

    users: Ints
    items: npt.NDArray[np.int32]
    times: Ints
    splits: npt.NDArray[np.int8]
    impressions: npt.NDArray[np.int32]  # place, in file order over all splits; -1: known from a history


def merged(logged: Logged, num_items: int) -> Iterator[Clicks]:
    """Merge block by block of users."""
    order = _in_time(logged.users_I, logged.times_I)
    users_I = logged.users_I[order]
    slots_I = (logged.history.lengths + logged.positives.lengths)[order]
    starts_I = np.cumsum(slots_I) - slots_I
    first_I = np.flatnonzero(np.diff(users_I, prepend=-1))
    blocks = starts_I[first_I] // BLOCK_SLOTS
    cuts = [*first_I[np.flatnonzero(np.diff(blocks, prepend=-1))].tolist(), len(order)]
    for start, stop in pairwise(cuts):
        yield _merged(logged, order[start:stop], num_items)


def _in_time(users_I: Ints, times_I: Ints) -> Ints:
    """Order impressions by user, then time, then place; one without a time follows all of its user before it."""
    by_user = np.argsort(users_I, kind="stable")
    users, (ranks, num_ranks) = users_I[by_user], _ranks(times_I[by_user])
    latest = np.maximum.accumulate(users * num_ranks + ranks) - users * num_ranks
    ranks = np.where(times_I[by_user] == UNKNOWN_TIME, latest, ranks)
    return by_user[np.lexsort((ranks, users))]


def _ranks(times: Ints) -> tuple[Ints, int]:
    distinct, ranks = np.unique(times, return_inverse=True)
    return ranks.astype(np.int64), len(distinct)


def _merged(logged: Logged, rows_I: Ints, num_items: int) -> Clicks:
    """Merge impressions of whole users, already in order."""
    users_I, levels_I = logged.users_I[rows_I], logged.splits_I[rows_I]
    history, positives = logged.history.taken(rows_I), logged.positives.taken(rows_I)
    items_E, impression_E, positive_E = _events(history, positives)
    new_E, known_E = _first_and_known(users_I[impression_E] * num_items + items_E, levels_I[impression_E], positive_E)
    opening_I = np.diff(users_I, prepend=-1) != 0
    added_E = ~positive_E & (new_E | opening_I[impression_E])
    dated_E, same_E = _same_clicks(impression_E * num_items + items_E, impression_E, added_E, positive_E, len(rows_I))
    kept = np.flatnonzero(added_E | (positive_E & ~same_E))
    impression, dated = impression_E[kept], (positive_E | dated_E)[kept]
    return Clicks(
        users_I[impression],
        items_E[kept],
        np.where(dated, logged.times_I[rows_I][impression], UNKNOWN_TIME),
        np.where(dated, levels_I[impression], CONTEXTS[known_E[kept]]).astype(np.int8),
        np.where(dated, rows_I[impression], -1).astype(np.int32),
    )


def _events(history: Lists, positives: Lists) -> tuple[npt.NDArray[np.int32], Ints, Bools]:
    """Return item, impression and kind of each event: of each impression the history first, then the positives."""
    lengths_I = history.lengths + positives.lengths
    impression_E = np.repeat(np.arange(len(lengths_I)), lengths_I)
    slot_E = np.arange(len(impression_E)) - (np.cumsum(lengths_I) - lengths_I)[impression_E]
    positive_E = slot_E >= history.lengths[impression_E]
    items_E = np.empty(len(impression_E), np.int32)
    items_E[~positive_E], items_E[positive_E] = history.items, positives.items
    return items_E, impression_E, positive_E


def _first_and_known(keys_E: Ints, levels_E: npt.NDArray[np.int8], positive_E: Bools) -> tuple[Bools, Ints]:
    """Tell which events are the first of their user and item, and the first split whose histories hold them."""
    order = np.argsort(keys_E, kind="stable")
    starts = np.flatnonzero(np.diff(keys_E[order], prepend=-1))
    new_E = np.zeros(len(keys_E), np.bool_)
    new_E[order[starts]] = True
    known_E = np.where(positive_E, np.int8(2), levels_E).astype(np.int64)
    if len(starts):
        lowest = np.minimum.reduceat(known_E[order], starts)
        known_E[order] = np.repeat(lowest, np.diff(starts, append=len(order)))
    return new_E, known_E


def _same_clicks(
    keys_E: Ints, impression_E: Ints, added_E: Bools, positive_E: Bools, num_impressions: int
) -> tuple[Bools, Bools]:
    """Find positives at the tail of what their own history adds: which history events they date, and which they are."""
    num_positives_I = np.bincount(impression_E[positive_E], minlength=num_impressions)
    added = np.flatnonzero(added_E)
    of = impression_E[added]
    last_I = np.cumsum(np.bincount(of, minlength=num_impressions))
    tail = added[last_I[of] - np.arange(len(added)) <= num_positives_I[of]]
    tail = tail[np.argsort(keys_E[tail], kind="stable")]
    positives = np.flatnonzero(positive_E)
    found = np.searchsorted(keys_E[tail], keys_E[positives], side="right") - 1
    same = (found >= 0) & (keys_E[tail][np.maximum(found, 0)] == keys_E[positives]) if len(tail) else found >= 0
    dated_E, same_E = np.zeros(len(keys_E), np.bool_), np.zeros(len(keys_E), np.bool_)
    dated_E[tail[found[same]]] = True
    same_E[positives[same]] = True
    return dated_E, same_E
