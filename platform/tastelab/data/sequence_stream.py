"""The Ray Data pipeline of candidate generation: files of clicks → shuffled examples → batches of one worker.

What `data.stream` does for impressions, for clicks: one read task for each window of the epoch's order, so that any
number of workers sees the same global batches. A row of the epoch is a click with its history (`targets="each"`), or
the last click of a window of consecutive clicks of one user, each predicted from those before it (`targets="window"`).

Shape letters: C clicks of a window's row groups, N rows, S slots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from tastelab.config.retrieval import TARGETS
from tastelab.data.merging import TRAIN
from tastelab.data.order import RowGroup, Share, Window, epoch_windows, within_window
from tastelab.data.sequences import Sequences

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BLOCK_ROWS = 1_024


@dataclass(frozen=True)
class ClickGroup(RowGroup):
    """A row group of users' clicks: `rows` are the clicks that end an example, `targets` all that are predicted."""

    targets: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class SequencePipeline:
    """What turns clicks of the train split into examples, the same on every worker."""

    path: Path
    groups: tuple[ClickGroup, ...]
    max_history: int
    seed: int
    window: bool = False

    @property
    def num_rows(self) -> int:
        """Rows of one epoch: clicks, or windows of clicks."""
        return sum(len(group.rows) for group in self.groups)

    @property
    def num_targets(self) -> int:
        """Clicks that are predicted in one epoch."""
        return sum(len(group.targets) for group in self.groups)

    def dataset(self, epoch: int, share: Share) -> ray.data.Dataset:
        """Build the Ray dataset of one worker's rows of one epoch, in order."""
        source = SequenceDatasource(self, epoch, share)
        dataset = ray.data.read_datasource(source, override_num_blocks=max(1, len(source.windows)))
        dataset.context.execution_options.preserve_order = True
        return dataset

    def sampled(self, window: Window, epoch: int, share: Share, padding: int = 0) -> Iterator[pa.Table]:
        """Read one window and yield this worker's rows of it in blocks; then `padding` rows without clicks.

        Columns: row (place of the last click among all clicks), user (row), step (of the epoch), and lists over the
        slots: clicks (item rows, the oldest first), targets (1: to be predicted), times (seconds; null where the data
        have none), dwell (seconds; null where the data have none).
        """
        clicks = _read(window.groups)
        order = within_window(window, self.seed, epoch)
        positions = window.start + np.arange(len(order))
        mine = share.mine(positions)
        last_N, step_N = clicks.rows[order[mine]], positions[mine] // share.global_batch
        for start in range(0, len(last_N), BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            yield self._expanded(clicks, last_N[start:stop], step_N[start:stop])
        if padding:
            final = (window.start + len(order) - 1) // share.global_batch
            yield self._expanded(clicks, np.full(padding, -1), np.full(padding, final))

    def padding(self, share: Share) -> int:
        """Rows that fill this worker's part of the last global batch, so that all ranks take equally many steps."""
        positions = np.arange(self.num_rows, -(-self.num_rows // share.global_batch) * share.global_batch)
        return int(share.mine(positions).sum())

    def _expanded(self, clicks: _Clicks, last_N: Ints, step_N: Ints) -> pa.Table:
        """Gather the slots of N rows that end at the clicks `last_N`; -1 is padding."""
        ends_N = np.maximum(last_N, 0)
        start_N = np.maximum(clicks.begins_C[ends_N], ends_N - self.max_history)
        if self.window:
            start_N = _window_starts(ends_N, clicks.begins_C[ends_N], self.max_history)
        lengths_N = np.where(last_N >= 0, ends_N - start_N + 1, 0)
        offsets_N = np.concatenate([[0], np.cumsum(lengths_N)]).astype(np.int32)
        source = np.arange(offsets_N[-1]) + np.repeat(start_N - offsets_N[:-1], lengths_N)
        targets = np.zeros(len(source), np.int8)
        targets[offsets_N[1:][lengths_N > 0] - 1] = 1
        if self.window:
            opening = np.zeros(len(source), np.bool_)
            opening[offsets_N[:-1][lengths_N > 0]] = True  # predicted at the end of the window before, or never
            targets = (clicks.target_C[source] & ~opening).astype(np.int8)
        real_N, table, listed = last_N >= 0, clicks.table, pa.array(offsets_N)
        columns = {
            "row": np.where(real_N, table["row"].to_numpy()[ends_N], -1),
            "user": np.where(real_N, table["user"].to_numpy()[ends_N], -1),
            "step": step_N.astype(np.int64),
            "clicks": _lists(listed, table["item"].to_numpy()[source]),
            "targets": _lists(listed, targets),
        }
        for name, column, kind in (("times", "time", pa.int64()), ("dwell", "dwell", pa.float32())):
            there = column in table.column_names
            absent = pa.nulls(len(last_N), pa.list_(kind))
            columns[name] = _lists(listed, table[column].to_numpy()[source]) if there else absent
        return pa.table(columns)


class SequenceDatasource(Datasource):
    """One read task per window of the epoch's order."""

    def __init__(self, pipeline: SequencePipeline, epoch: int, share: Share) -> None:
        """Plan the epoch for one worker."""
        super().__init__()
        self.pipeline, self.epoch, self.share = pipeline, epoch, share
        self.windows = epoch_windows(list(pipeline.groups), pipeline.seed, epoch)

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the examples, roughly: item, time and flag of each slot."""
        return 13 * (self.pipeline.max_history + 1) * self.pipeline.num_rows // self.share.workers

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """Return the windows in order; their number does not depend on `parallelism`."""
        last = len(self.windows) - 1
        return [self._task(window, window.number == last) for window in self.windows]

    def _task(self, window: Window, last: bool) -> ReadTask:
        # Only what the window needs travels with the task: not the plan of the whole epoch.
        slim = dataclasses.replace(self.pipeline, groups=())
        padding = self.pipeline.padding(self.share) if last else 0
        epoch, share = self.epoch, self.share
        files = tuple(sorted({group.file for group in window.groups}))
        metadata = BlockMetadata(None, None, input_files=files, exec_stats=None)
        return ReadTask(lambda: slim.sampled(window, epoch, share, padding), metadata)


def sequence_pipeline(
    sequences: Sequences, rows: Ints, max_history: int, seed: int, targets: str = "each"
) -> SequencePipeline:
    """Build the pipeline of an epoch over clicks of train.

    Args:
        sequences: the prepared sequences.
        rows: sorted clicks of train to predict, as `fitting_and_validation_clicks` returns them.
        max_history: the most earlier clicks that a click is predicted from; also the most targets of a window.
        seed: seed of the run.
        targets: "each": a row for every click; "window": a row for each stretch of at most `max_history` clicks that
            holds a target. Stretches share no target; a stretch ends with its last target, and begins with the click
            before its first slot to be predicted. What is not among `rows` is context there.

    Raises:
        ValueError: `targets` is neither, no row is given, or there is no room for a history.
    """
    if targets not in TARGETS:
        raise ValueError(f"There are no targets '{targets}': choose among {', '.join(TARGETS)}.")
    if not len(rows):
        raise ValueError("No click is left to train on: each needs an earlier click of the same user.")
    if max_history < 1:
        raise ValueError(f"max_history is {max_history}: a click is predicted from at least 1 earlier click.")
    groups: list[ClickGroup] = []
    train = np.flatnonzero(sequences.splits == TRAIN)
    places = np.searchsorted(train, rows)
    users = sequences.users_of(train)
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    begins_of = np.repeat(begins, np.diff(begins, append=len(train)))[places]
    ends = places if targets == "each" else _window_ends(places, begins_of, max_history)
    start = 0
    for file in sorted((sequences.path / "train").glob("part-*.parquet")):
        metadata = pq.read_metadata(file)
        for index in range(metadata.num_row_groups):
            stop = start + metadata.row_group(index).num_rows
            chosen, wanted = (each[slice(*np.searchsorted(each, [start, stop]))] - start for each in (ends, places))
            if len(chosen):
                groups.append(ClickGroup(str(file), index, chosen, wanted))
            start = stop
    return SequencePipeline(sequences.path, tuple(groups), max_history, seed, targets == "window")


@dataclass(frozen=True)
class _Clicks:
    """Clicks of a window's row groups, one after the other."""

    table: pa.Table
    begins_C: Ints  # place of the first click of the click's user
    rows: Ints  # places that end an example, in the order of the window's rows
    target_C: Bools


def _read(groups: tuple[RowGroup, ...]) -> _Clicks:
    tables, rows, targets, start = [], [], [], 0
    for group in groups:
        assert isinstance(group, ClickGroup)
        with pq.ParquetFile(group.file) as file:
            tables.append(file.read_row_group(group.index, use_threads=False))
        rows.append(group.rows + start)
        targets.append(group.targets + start)
        start += len(tables[-1])
    table = pa.concat_tables(tables).combine_chunks()
    begins = np.flatnonzero(np.diff(table["user"].to_numpy(), prepend=-1))
    target_C = np.zeros(start, np.bool_)
    target_C[np.concatenate(targets)] = True
    return _Clicks(table, np.repeat(begins, np.diff(begins, append=start)), np.concatenate(rows), target_C)


def _window_starts(places: Ints, begins: Ints, max_history: int) -> Ints:
    """First slot of the stretch that holds each target: the click before the stretch's first possible target."""
    return begins + (places - begins - 1) // max_history * max_history


def _window_ends(places: Ints, begins: Ints, max_history: int) -> Ints:
    """Last target of each stretch; targets are sorted, and a stretch belongs to one user."""
    starts = _window_starts(places, begins, max_history)
    return places[np.flatnonzero(np.diff(starts, append=-1))]


def _lists(offsets: pa.Array, values: npt.NDArray[np.generic]) -> pa.ListArray:
    return pa.ListArray.from_arrays(offsets, pa.array(values))
