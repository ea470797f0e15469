"""Clicks as examples: which are fitted, chosen by and reported, and the history that each is predicted from.

Every click with an earlier click of the same user is an example (methods.md §6, protocol). A click of train sees clicks
of train alone; one of dev sees train and dev. Shape letters: N examples, H history slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tastelab.config import DataConfig
from tastelab.data.domains import item_domains
from tastelab.data.merging import LEVELS, TRAIN
from tastelab.data.order import late_in_its_domain
from tastelab.data.sequences import Sequences
from tastelab.data.tables import open_prepared
from tastelab.schema import SPLITS, UNKNOWN_TIME

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_S = 86_400


@dataclass(frozen=True)
class Examples:
    """Clicks to predict, with at most H earlier clicks each: left-aligned, the oldest first."""

    rows_N: Ints
    users_N: Ints
    targets_N: Ints
    target_times_N: Ints
    history_NH: Ints  # item rows, 0 where masked
    mask_NH: Bools
    times_NH: Ints  # seconds, UNKNOWN_TIME where unknown or masked
    dwell_NH: npt.NDArray[np.float32] | None = None  # seconds, NaN where unknown or masked


def fitting_and_validation_clicks(sequences: Sequences, config: DataConfig, days: str = "all") -> tuple[Ints, Ints]:
    """Cut the clicks of train in time: rows to fit and the validation rows from its end, each sorted.

    A click without a time counts as made at the last dated one before it; data without any time are cut in the order of
    their files. A cap on training impressions takes fitting clicks evenly over time, the same for all seeds.

    Args:
        sequences: the clicks.
        config: `validation_share`, `train_impressions` (here: clicks).
        days: "all", or "weekdays" to fit clicks of Monday to Friday (UTC) alone; undated clicks are then left out.
            Validation holds all days.

    Raises:
        ValueError: domains are chosen, nobody has two clicks, a side is left empty, or no time tells the days apart.
    """
    if config.domains is not None:
        raise ValueError("data.domains does not work for candidate generation: leave it out.")
    if config.train_impressions is not None and config.train_impressions < 1:
        raise ValueError(f"train_impressions is {config.train_impressions}: use at least 1, or None for all.")
    if days == "weekdays" and not sequences.has_times:
        raise ValueError("The data date no click, so weekdays cannot be told apart: use days='all'.")
    rows = _with_history(sequences, TRAIN)
    if not len(rows):
        raise ValueError("No user of the train split has two clicks: there is no history to predict a click from.")
    rows = rows[np.argsort(_moments(sequences)[rows], kind="stable")]
    late = _late(sequences, rows, config.validation_share)
    fitting, validation = rows[~late], rows[late]
    if days == "weekdays":
        fitting = fitting[is_weekday(sequences.times[fitting])]
    if not len(fitting) or not len(validation):
        raise ValueError(
            f"validation_share {config.validation_share} of {len(rows)} train clicks with days='{days}' leaves "
            f"{len(fitting)} to fit and {len(validation)} to validate on: use a share that leaves some on both sides."
        )
    if config.train_impressions is not None and config.train_impressions < len(fitting):
        fitting = fitting[np.linspace(0, len(fitting) - 1, config.train_impressions).round().astype(np.int64)]
    return np.sort(fitting), np.sort(validation)


def reported_clicks(sequences: Sequences, split: str) -> Ints:
    """Return the rows of the clicks of a split with an earlier click of their user, sorted.

    Raises:
        ValueError: no such split, or none of its clicks has an earlier one.
    """
    if split not in SPLITS:
        raise ValueError(f"There is no split '{split}': choose among {', '.join(SPLITS)}.")
    rows = _with_history(sequences, SPLITS.index(split))
    if not len(rows):
        raise ValueError(
            f"No click of the {split} split has an earlier click of its user: there is nothing to measure."
        )
    return rows


def without_history(sequences: Sequences, split: str) -> int:
    """Count the clicks of a split that are the first of their user, so that nothing can predict them."""
    code = SPLITS.index(split)
    return int((sequences.splits == code).sum()) - len(_with_history(sequences, code))


def examples_of(sequences: Sequences, rows: Ints, max_history: int) -> Examples:
    """Gather what each of the clicks `rows` is predicted from: at most `max_history` earlier clicks that it may see."""
    users_N = sequences.users_of(rows)
    source_NH, mask_NH = np.zeros((len(rows), 0), np.int64), np.zeros((len(rows), 0), np.bool_)
    for level in np.unique(LEVELS[sequences.splits[rows]]).tolist():
        these = np.flatnonzero(LEVELS[sequences.splits[rows]] == level)
        source, mask = _history(sequences, rows[these], level, max_history)
        if (missing := source.shape[1] - source_NH.shape[1]) > 0:
            wider = ((0, 0), (0, missing))
            source_NH, mask_NH = np.pad(source_NH, wider), np.pad(mask_NH, wider)
        source_NH[these, : source.shape[1]], mask_NH[these, : source.shape[1]] = source, mask
    dwell = sequences.dwell
    return Examples(
        rows,
        users_N,
        sequences.items[rows].astype(np.int64),
        sequences.times[rows],
        np.where(mask_NH, sequences.items[source_NH], 0).astype(np.int64),
        mask_NH,
        np.where(mask_NH, sequences.times[source_NH], UNKNOWN_TIME),
        None if dwell is None else np.where(mask_NH, dwell[source_NH], np.float32(np.nan)),
    )


def is_weekday(times: Ints) -> Bools:
    """Tell which times, in seconds since 1970, fall on Monday to Friday (UTC); an unknown time does not."""
    weekday = (times // DAY_S + 3) % 7  # 1970 began on a Thursday
    return np.asarray((weekday < 5) & (times != UNKNOWN_TIME))


def _with_history(sequences: Sequences, split: int) -> Ints:
    rows = np.flatnonzero(sequences.splits == split)
    start, stop, _ = _bounds(sequences, rows, split)
    return rows[stop > start]


def _bounds(sequences: Sequences, rows: Ints, level: int) -> tuple[Ints, Ints, Ints | None]:
    """Places of each click's earlier clicks, from and to, among the rows that its split may see."""
    start, known = sequences.offsets[sequences.users_of(rows)], sequences.known(level)
    if known is None:
        return start, rows, None
    return np.searchsorted(known, start), np.searchsorted(known, rows), known


def _history(sequences: Sequences, rows: Ints, level: int, max_history: int) -> tuple[Ints, Bools]:
    start, stop, known = _bounds(sequences, rows, level)
    lengths = np.minimum(stop - start, max_history)
    slots = np.arange(int(lengths.max(initial=0)))
    mask = slots < lengths[:, None]
    place = np.where(mask, (stop - lengths)[:, None] + slots, 0)
    return (place if known is None else known[place]), mask


def _moments(sequences: Sequences) -> Ints:
    """When each click was made, at the earliest: never less than for the click before it of the same user."""
    told, none = (
        (sequences.times, UNKNOWN_TIME) if sequences.has_times else (sequences.impressions.astype(np.int64), -1)
    )
    place = np.arange(len(told))
    last = np.maximum.accumulate(np.where(told != none, place, -1)) if len(told) else place
    begins = np.repeat(sequences.offsets[:-1], np.diff(sequences.offsets))
    return np.where(last >= begins, told[np.maximum(last, 0)], none)


def _late(sequences: Sequences, rows: Ints, share: float) -> Bools:
    """Tell which clicks, in the order of time, are the last of train; joined data are cut each at their own end."""
    data = sequences.path.parent
    if (data / "meta.json").exists() and (prepared := open_prepared(data)).meta.get("source") == "join":
        _, codes_N = item_domains(prepared)
        return late_in_its_domain(codes_N[sequences.items[rows]], share)
    return np.asarray(np.arange(len(rows)) >= len(rows) - round(len(rows) * share))
