"""The order of training impressions: a pure function of (seed, epoch), computed in windows that stream.

The row groups of a split are permuted, consecutive ones form windows of about `WINDOW_ROWS` selected rows, and each
window is permuted within. Row p of that order belongs to step p // G of a global batch of G impressions; its place in
the batch decides the micro-step and the worker, so no number of workers changes what a step sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tastelab.config import DataConfig
from tastelab.data.domains import impression_domains, rows_of
from tastelab.data.tables import PreparedData

Ints = npt.NDArray[np.int64]

WINDOW_ROWS = 16_384


@dataclass(frozen=True)
class RowGroup:
    """A row group of an impression file and the rows of it that take part."""

    file: str
    index: int
    rows: Ints
    """Positions within the group."""


@dataclass(frozen=True)
class Window:
    """Row groups that are read and shuffled together; `start` is the place of its first row in the epoch."""

    start: int
    number: int
    groups: tuple[RowGroup, ...]

    @property
    def num_rows(self) -> int:
        """Rows of the window that take part."""
        return sum(len(group.rows) for group in self.groups)


@dataclass(frozen=True)
class Share:
    """Which rows of each global batch one worker sees, and in how many micro-steps."""

    global_batch: int
    workers: int = 1
    rank: int = 0
    accumulation: int = 1

    def __post_init__(self) -> None:
        """Refuse a batch that cannot be cut evenly."""
        parts = self.workers * self.accumulation
        if self.global_batch < 1 or self.global_batch % parts:
            nearest = max(parts, round(self.global_batch / parts) * parts)
            raise ValueError(
                f"A global batch of {self.global_batch} impressions cannot be cut evenly for {self.workers} worker(s) "
                f"× {self.accumulation} accumulation step(s): use a multiple of {parts}, such as {nearest}."
            )

    @property
    def micro_batch(self) -> int:
        """Impressions of one micro-step on one worker."""
        return self.global_batch // (self.workers * self.accumulation)

    def mine(self, positions: Ints) -> npt.NDArray[np.bool_]:
        """Tell which positions of the epoch fall to this worker."""
        within_step = positions % (self.global_batch // self.accumulation)
        mine: npt.NDArray[np.bool_] = within_step // self.micro_batch == self.rank
        return mine


def row_groups(data: PreparedData, split: str, rows: Ints) -> list[RowGroup]:
    """Cut sorted split rows by the row groups that hold them, in file order, leaving out groups without any."""
    groups, start = [], 0
    for file in data.files(split):
        metadata = pq.read_metadata(file)
        for index in range(metadata.num_row_groups):
            stop = start + metadata.row_group(index).num_rows
            low, high = np.searchsorted(rows, [start, stop])
            if high > low:
                groups.append(RowGroup(str(file), index, rows[low:high] - start))
            start = stop
    return groups


def epoch_windows(groups: list[RowGroup], seed: int, epoch: int) -> list[Window]:
    """Permute row groups and gather them in windows of at least `WINDOW_ROWS` rows (the last may be smaller)."""
    order = np.random.default_rng([seed, epoch]).permutation(len(groups))
    windows: list[Window] = []
    pending: list[RowGroup] = []
    start = num_pending = 0
    for i in order:
        pending.append(groups[i])
        num_pending += len(groups[i].rows)
        if num_pending >= WINDOW_ROWS:
            windows.append(Window(start, len(windows), tuple(pending)))
            start, pending, num_pending = start + num_pending, [], 0
    if pending:
        windows.append(Window(start, len(windows), tuple(pending)))
    return windows


def within_window(window: Window, seed: int, epoch: int) -> Ints:
    """Permutation of a window's rows."""
    return np.random.default_rng([seed, epoch, 1 + window.number]).permutation(window.num_rows)


def fitting_and_validation(data: PreparedData, config: DataConfig) -> tuple[Ints, Ints]:
    """Cut the train split in time: rows to fit and the validation rows from its end, each sorted.

    Rows without a time keep their place in the file. Rows of other domains than the configured ones take no part. A cap
    takes fitting rows evenly over time, the same for all seeds.

    Raises:
        ValueError: the train split has no labels, a domain is unknown, or the cut leaves one side empty.
    """
    if not data.has_labels("train"):
        raise ValueError(f"The train split of '{data.name}' has no labels: there is nothing to learn from.")
    if config.train_impressions is not None and config.train_impressions < 1:
        raise ValueError(f"train_impressions is {config.train_impressions}: use at least 1, or None for all.")
    rows = np.arange(data.num_impressions("train"))
    if config.domains is not None:
        rows = rows_of(data, "train", config.domains)
    total = len(rows)
    num_validation = round(total * config.validation_share)
    times = data.impressions("train", ["time"])["time"].cast("int64").fill_null(0).to_numpy()
    by_time = rows[np.argsort(times[rows], kind="stable")]
    late = np.arange(total) >= total - num_validation
    if data.meta.get("source") == "join":  # parts of different years: each is cut at its own end
        late = late_in_its_domain(impression_domains(data, "train")[by_time], config.validation_share)
    if not 0 < (num_validation := int(late.sum())) < total:
        of = "" if config.domains is None else f" of {', '.join(config.domains)}"
        raise ValueError(
            f"validation_share {config.validation_share} of {total} train impressions{of} leaves "
            f"{num_validation} to validate on: use a share that leaves some on both sides."
        )
    fitting, validation = by_time[~late], by_time[late]
    if config.train_impressions is not None and config.train_impressions < len(fitting):
        fitting = fitting[np.linspace(0, len(fitting) - 1, config.train_impressions).round().astype(np.int64)]
    return np.sort(fitting), np.sort(validation)


def late_in_its_domain(codes_N: Ints, share: float) -> npt.NDArray[np.bool_]:
    """Tell which rows, in the order of time, are among the last of their domain."""
    order_N = np.argsort(codes_N, kind="stable")
    _, first, counts = np.unique(codes_N[order_N], return_index=True, return_counts=True)
    place_N = np.arange(len(codes_N)) - np.repeat(first, counts)
    late_N = np.zeros(len(codes_N), np.bool_)
    late_N[order_N] = place_N >= np.repeat(counts - np.round(counts * share).astype(np.int64), counts)
    return late_N
