"""What a simulated population was shown and clicked so far, and the batches that a system learns from it.

Shape letters: P users of a day, S slots of a slate, C all clicks so far, V users of the population, B windows, H slots
of a window, N items, G clicks of a global batch, U distinct items of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tastelab.data.order import Share
from tastelab.data.population import Response
from tastelab.data.ragged import last_slots
from tastelab.data.synthetic_world import Bools, Ints
from tastelab.schema import UNKNOWN_TIME, SequenceBatch

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clicks:
    """All clicks so far, user after user, each user's in the order of time; a click's row is its place in here."""

    users_C: Ints
    items_C: Ints
    times_C: Ints
    dwell_C: Reals
    offsets_V: Ints  # V + 1: the clicks of user v are rows offsets_V[v] … offsets_V[v + 1] - 1

    def rows_with_history(self) -> Ints:
        """Return the rows of clicks that have an earlier one of the same user: the examples to learn from."""
        rows_C = np.arange(len(self.users_C))
        return rows_C[rows_C > self.offsets_V[self.users_C]]


@dataclass(frozen=True)
class Windows:
    """The last clicks of B users at some moment, left-aligned, the oldest first; masked slots hold item 0."""

    items_BH: Ints
    mask_BH: Bools
    times_BH: Ints  # UNKNOWN_TIME where masked
    dwell_BH: Reals  # NaN where masked


class PopulationLog:
    """Collects what each day showed, in the order of the days."""

    def __init__(self, num_users: int, num_items: int) -> None:
        """Start empty."""
        self.num_users = num_users
        self.shown_N: Ints = np.zeros(num_items, np.int64)
        """How often each item was shown."""
        self.clicked_N: Ints = np.zeros(num_items, np.int64)
        """How often each item was clicked."""
        self._days: list[tuple[Ints, Ints, Ints, Reals]] = []

    def add(self, users_P: Ints, slates_PS: Ints, response: Response) -> None:
        """Add what users were shown on a day, and what they did."""
        clicked_PS, num_items = response.clicks_PS, len(self.shown_N)
        self.shown_N += np.bincount(slates_PS.ravel(), minlength=num_items)
        self.clicked_N += np.bincount(slates_PS[clicked_PS], minlength=num_items)
        users = np.broadcast_to(users_P[:, None], slates_PS.shape)[clicked_PS]
        clicked = slates_PS[clicked_PS], response.times_PS[clicked_PS], response.dwell_PS[clicked_PS]
        self._days.append((users, *clicked))

    def clicks(self) -> Clicks:
        """Return all clicks so far, sorted by user and time."""
        empty = np.zeros(0, np.int64)
        days = [(empty, empty, empty, np.zeros(0, np.float32)), *self._days]
        users, items, times, dwell = (np.concatenate(column) for column in zip(*days, strict=True))
        order = np.lexsort((times, users))
        counts_V = np.bincount(users, minlength=self.num_users)
        offsets_V = np.concatenate([[0], np.cumsum(counts_V)]).astype(np.int64)
        return Clicks(users[order], items[order], times[order], dwell[order], offsets_V)

    def click_shares(self) -> npt.NDArray[np.float64]:
        """Return p_data(y), the share of each item of all clicks so far, `[N]`; zeros while there are none."""
        return np.asarray(self.clicked_N / max(1, self.clicked_N.sum()), np.float64)

    def clicked_pairs(self, users_P: Ints) -> Bools:
        """Tell which items each user has clicked so far, `[P, N]`."""
        seen_VN = np.zeros((self.num_users, len(self.shown_N)), np.bool_)
        for users, items, _, _ in self._days:
            seen_VN[users, items] = True
        return seen_VN[users_P]


def histories(clicks: Clicks, users_B: Ints, max_history: int) -> Windows:
    """Return the last clicks of users, as they stand at the end of the log."""
    return _windows(clicks, clicks.offsets_V[users_B], clicks.offsets_V[users_B + 1], max_history)


def examples(clicks: Clicks, rows_B: Ints, max_history: int) -> Windows:
    """Return windows that end with the clicks `rows_B`, each after at most `max_history` earlier ones.

    A row of -1 is an empty window.
    """
    start_B = np.where(rows_B < 0, 0, clicks.offsets_V[clicks.users_C[rows_B]])
    return _windows(clicks, start_B, rows_B + 1, max_history + 1)


def steps(clicks: Clicks, share: Share, max_history: int, seed: int, epoch: int) -> Iterator[list[SequenceBatch]]:
    """Yield the micro-batches of each step of one pass over the log, as one worker sees them.

    The order is a pure function of (seed, epoch) and the log: any number of workers sees the same global batches. The
    last one is filled up with windows of no click.
    """
    rows = clicks.rows_with_history()
    order = rows[np.random.default_rng([seed, epoch]).permutation(len(rows))]
    for step, start in enumerate(range(0, len(order), share.global_batch)):
        rows_G = np.full(share.global_batch, -1)
        part = order[start : start + share.global_batch]
        rows_G[: len(part)] = part
        mine = rows_G[share.mine(np.arange(share.global_batch))].reshape(share.accumulation, share.micro_batch)
        yield [training_batch(clicks, rows_B, max_history, epoch, step) for rows_B in mine]


def training_batch(clicks: Clicks, rows_B: Ints, max_history: int, epoch: int, step: int) -> SequenceBatch:
    """Make the batch in which the clicks `rows_B` are each to be predicted from those before them; -1 pads."""
    windows = examples(clicks, rows_B, max_history)
    last_B1 = windows.mask_BH.sum(axis=1, keepdims=True) - 1
    target_BH = windows.mask_BH & (np.arange(windows.mask_BH.shape[1]) == last_B1)
    users_B = np.where(rows_B < 0, -1, clicks.users_C[rows_B])
    return _batch(windows, target_BH, rows_B, users_B, epoch, step)


def serving_batch(clicks: Clicks, users_B: Ints, max_history: int) -> SequenceBatch:
    """Make the batch in which users are asked for after their last click; nothing in it is to be predicted."""
    windows = histories(clicks, users_B, max_history)
    rows_B = clicks.offsets_V[users_B + 1] - 1
    return _batch(windows, np.zeros_like(windows.mask_BH), rows_B, users_B, epoch=0, step=0)


def _windows(clicks: Clicks, start_B: Ints, stop_B: Ints, most: int) -> Windows:
    length_B = np.minimum(stop_B - start_B, most)
    _, mask_BH = last_slots(np.concatenate([[0], np.cumsum(length_B)]), most)
    place_BH = np.where(mask_BH, (stop_B - length_B)[:, None] + np.arange(mask_BH.shape[1]), 0)
    if not len(clicks.items_C):
        blank = np.zeros_like(place_BH)
        return Windows(blank, mask_BH, blank + UNKNOWN_TIME, np.full(blank.shape, np.nan, np.float32))
    times_BH = np.where(mask_BH, clicks.times_C[place_BH], UNKNOWN_TIME)
    dwell_BH = np.where(mask_BH, clicks.dwell_C[place_BH], np.float32("nan"))
    return Windows(np.where(mask_BH, clicks.items_C[place_BH], 0), mask_BH, times_BH, dwell_BH)


def _batch(windows: Windows, target_BH: Bools, rows_B: Ints, users_B: Ints, epoch: int, step: int) -> SequenceBatch:
    items = windows.items_BH[windows.mask_BH]
    ids_U, inverse = np.unique(items, return_inverse=True)
    clicks_BH = np.zeros_like(windows.items_BH)
    clicks_BH[windows.mask_BH] = inverse
    return SequenceBatch(
        item_ids_U=torch.from_numpy(ids_U if len(ids_U) else np.zeros(1, np.int64)),
        clicks_BS=torch.from_numpy(clicks_BH),
        click_mask_BS=torch.from_numpy(windows.mask_BH),
        target_mask_BS=torch.from_numpy(target_BH),
        rows_B=torch.from_numpy(rows_B),
        users_B=torch.from_numpy(users_B),
        epoch=epoch,
        step=step,
        times_BS=torch.from_numpy(windows.times_BH),
        dwell_BS=torch.from_numpy(windows.dwell_BH),
    )
