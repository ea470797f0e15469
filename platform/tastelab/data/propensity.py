"""Distributions over items: what negatives are drawn from, and how likely an item was to be shown [B], methods.md §6.

Shape letters: N items of the catalogue, S states of a user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.clicks import examples_of
from tastelab.data.exposure_truth import Truth, read_truth
from tastelab.data.ragged import flat
from tastelab.data.sequences import Sequences
from tastelab.data.tables import PreparedData
from tastelab.schema import UNKNOWN_TIME

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

KINDS = ("uniform", "clicks", "logged", "true")
CHUNK = 1_000_000


@dataclass(frozen=True)
class Distribution:
    """Log-probabilities of all items, -inf for what is never drawn; given the user's state where that is known."""

    kind: str
    log_p_N: npt.NDArray[np.float32]  # of an item for whoever asks
    floor: float | None = None
    """Log-probability of an item that was never counted, where one is asked for: as though counted once. None: such an
    item is an error."""
    log_q_SN: npt.NDArray[np.float32] | None = None  # of an item in each state of the user
    state_of_item_N: Ints | None = None  # state of a user by their last click, -1: none

    @property
    def num_items(self) -> int:
        """Items of the catalogue."""
        return len(self.log_p_N)


def distribution(data: PreparedData, sequences: Sequences, kind: str, fitting_rows: Ints) -> Distribution:
    """Build a distribution over the items of a data set.

    Args:
        data: the prepared data set.
        sequences: its clicks.
        kind: "uniform" over the catalogue; "clicks": counts of the fitting clicks; "logged": counts of what the train
            impressions show; "true": the policy of a world that knows its own.
        fitting_rows: the clicks that are fitted.

    Raises:
        ValueError: there is no such kind, nothing to count, or no known policy.
    """
    if kind == "uniform":
        return _counted(kind, np.ones(data.num_items))
    if kind == "clicks":
        return _counted(kind, _counts([sequences.items[fitting_rows]], data.num_items))
    if kind == "logged":
        return _counted(kind, _shown(data, int(sequences.times[fitting_rows].max(initial=UNKNOWN_TIME))))
    if kind == "true":
        return _true(read_truth(data), sequences, fitting_rows)
    raise ValueError(f"There is no distribution '{kind}': choose among {', '.join(KINDS)}.")


def _counted(kind: str, counts_N: Floats) -> Distribution:
    total = counts_N.sum()
    if not total:
        raise ValueError(f"The distribution '{kind}' counts nothing in these data: choose 'uniform'.")
    return Distribution(kind, _logs(counts_N / total), floor=-float(np.log(total)))


def _shown(data: PreparedData, until: int) -> Floats:
    """Count what train impressions show up to the last fitted click; what comes later is what choosing looks at."""
    if "train" not in data.splits:
        raise ValueError(f"'{data.name}' has no train split to count what was shown in: choose 'uniform'.")
    return _counts((_candidates(file, until) for file in data.files("train")), data.num_items)


def _candidates(file: Path, until: int) -> Ints:
    table = pq.read_table(file, columns=["candidates", "time"])
    if until != UNKNOWN_TIME:
        times = table["time"].cast(pa.timestamp("s")).cast(pa.int64())
        table = table.filter(pc.fill_null(pc.less_equal(times, until), True))
    return flat(table["candidates"])[0]


def _counts(parts: Iterable[npt.NDArray[np.integer]], num_items: int) -> Floats:
    counts_N = np.zeros(num_items)
    for items in parts:
        counts_N += np.bincount(items, minlength=num_items)
    return counts_N


def _true(truth: Truth, sequences: Sequences, fitting_rows: Ints) -> Distribution:
    """The policy per state, and on the whole as the states of the fitting clicks weigh it."""
    share_S, clicked_SN = np.zeros(truth.num_states), np.zeros(truth.q_SN.shape, np.bool_)
    clicked_N = np.zeros(truth.q_SN.shape[1], np.bool_)
    for start in range(0, len(fitting_rows), CHUNK):
        examples = examples_of(sequences, fitting_rows[start : start + CHUNK], 1)
        states, targets = truth.state_of_item_N[examples.history_NH[:, 0]], examples.targets_N
        share_S += np.bincount(states[states >= 0], minlength=truth.num_states)
        clicked_SN[states[states >= 0], targets[states >= 0]] = True
        clicked_N[targets[states < 0]] = True
    q_N = share_S / share_S.sum() @ truth.q_SN if share_S.any() else truth.q_N
    _check_shown((clicked_SN & (truth.q_SN == 0)).any(axis=0) | (clicked_N & (q_N == 0)))
    return Distribution("true", _logs(q_N), None, _logs(truth.q_SN), truth.state_of_item_N)


def _check_shown(never_N: npt.NDArray[np.bool_]) -> None:
    """Raise `ValueError` where items are clicked that the policy never shows: such clicks would have no weight."""
    if never_N.any():
        raise ValueError(
            f"The true policy gives {int(never_N.sum()):,} clicked items probability 0, the first is item row "
            f"{int(never_N.argmax())}, so their clicks have no weight: choose a distribution that covers every clicked "
            "item, such as 'clicks'."
        )


def _logs(p: Floats) -> npt.NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(p).astype(np.float32)
