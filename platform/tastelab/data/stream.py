"""The Ray Data pipeline: impression files → shuffled, sampled impressions → batches of one worker.

A `Datasource` turns every window of the epoch's order into one read task, so Ray reads, shuffles and samples ahead
while the worker trains. The order is exact for any number of workers, which `streaming_split` does not offer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.data.collate_fn import ArrowBatchCollateFn

from tastelab.data.order import RowGroup, Share, Window, epoch_windows, within_window
from tastelab.data.ragged import flat, last_slots
from tastelab.data.sampling import ImpressionSampler

if TYPE_CHECKING:
    from tastelab.data.tokens import TokenStore
    from tastelab.schema import Batch

COLUMNS = ["row", "history", "feedback", "candidates", "labels"]
BLOCK_ROWS = 1_024


@dataclass(frozen=True)
class Pipeline:
    """What turns rows of the train split into sampled impressions, the same on every worker."""

    groups: tuple[RowGroup, ...]
    sampler: ImpressionSampler
    max_history: int
    seed: int
    max_positives: int | None = None

    @property
    def num_rows(self) -> int:
        """Impressions of one epoch."""
        return sum(len(group.rows) for group in self.groups)

    def dataset(self, epoch: int, share: Share) -> ray.data.Dataset:
        """Build the Ray dataset of one worker's rows of one epoch, in order."""
        source = ImpressionDatasource(self, epoch, share)
        blocks = max(1, len(source.windows))
        dataset = ray.data.read_datasource(source, override_num_blocks=blocks)
        dataset.context.execution_options.preserve_order = True
        return dataset

    def sampled(self, window: Window, epoch: int, share: Share, padding: int = 0) -> Iterator[pa.Table]:
        """Read one window and yield this worker's rows of it, sampled, in blocks; then `padding` empty rows."""
        table = _read(window.groups)
        order = within_window(window, self.seed, epoch)
        positions = window.start + np.arange(len(order))
        mine = table.take(pa.array(order[share.mine(positions)]))
        for start in range(0, len(mine), BLOCK_ROWS):
            yield self._sample(mine.slice(start, BLOCK_ROWS), epoch)
        if padding:
            yield self._sample(_padding_rows(table.schema, padding), epoch)

    def padding(self, share: Share) -> int:
        """Rows that fill this worker's part of the last global batch, so that all ranks take equally many steps."""
        positions = np.arange(self.num_rows, -(-self.num_rows // share.global_batch) * share.global_batch)
        return int(share.mine(positions).sum())

    def _sample(self, table: pa.Table, epoch: int) -> pa.Table:
        rows_B = table["row"].to_numpy()
        items, offsets = flat(table["candidates"])
        labels, _ = flat(table["labels"])
        draw = self.sampler.draw(rows_B, items, labels, offsets, self.seed, epoch, self.max_positives)
        num_slots = draw.items_BC.shape[1]
        return pa.table(
            {
                "row": table["row"],
                "history": _cap(table["history"], self.max_history, pa.int32()),
                "feedback": _cap(table["feedback"], self.max_history, pa.int8()),
                "candidates": _fixed(draw.items_BC, num_slots, pa.int32()),
                "labels": _fixed(draw.labels_BC, num_slots, pa.int8()),
                "mask": _fixed(draw.mask_BC, num_slots, pa.int8()),
            }
        )


class ImpressionDatasource(Datasource):
    """One read task per window of the epoch's order."""

    def __init__(self, pipeline: Pipeline, epoch: int, share: Share) -> None:
        """Plan the epoch for one worker."""
        super().__init__()
        self.pipeline, self.epoch, self.share = pipeline, epoch, share
        self.windows = epoch_windows(list(pipeline.groups), pipeline.seed, epoch)

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of the sampled rows, roughly: history and candidates at four bytes a slot."""
        slots = self.pipeline.max_history + 2 * self.pipeline.sampler.num_candidates
        return 4 * slots * self.pipeline.num_rows // self.share.workers

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


class Collate(ArrowBatchCollateFn):
    """Collate sampled rows with the token store, which every process maps instead of copying."""

    def __init__(self, store: Path) -> None:
        """Name the store; it is opened where batches are made."""
        self.path = store
        self._store: TokenStore | None = None

    def __call__(self, batch: pa.Table) -> Batch:
        """Turn sampled rows into a `Batch`."""
        # Imported here because it brings torch, which the read tasks of this module never need to load.
        from tastelab.data.collate import collate_sampled
        from tastelab.data.tokens import open_store

        self._store = self._store or open_store(self.path)
        return collate_sampled(self._store, batch)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped store behind: it is opened again on the other side."""
        return {"path": self.path, "_store": None}


def _read(groups: tuple[RowGroup, ...]) -> pa.Table:
    tables = []
    for group in groups:
        with pq.ParquetFile(group.file) as file:
            tables.append(file.read_row_group(group.index, COLUMNS, use_threads=False).take(pa.array(group.rows)))
    return pa.concat_tables(tables).combine_chunks()


def _padding_rows(schema: pa.Schema, num_rows: int) -> pa.Table:
    empty = {"row": [-1] * num_rows, "feedback": [None] * num_rows}
    return pa.table({name: empty.get(name, [[]] * num_rows) for name in schema.names}, schema=schema)


def _cap(column: pa.ChunkedArray, max_slots: int, kind: pa.DataType) -> pa.ListArray:
    values, offsets = flat(column)
    position_BH, mask_BH = last_slots(offsets, max_slots)
    kept = np.concatenate([[0], np.cumsum(mask_BH.sum(axis=1))]).astype(np.int32)
    flat_values = values[position_BH[mask_BH]].astype(kind.to_pandas_dtype())
    nulls = pa.array(column.is_null()) if column.null_count else None
    mask = nulls.combine_chunks() if isinstance(nulls, pa.ChunkedArray) else nulls
    return pa.ListArray.from_arrays(pa.array(kept), pa.array(flat_values), mask=mask)


def _fixed(values: Any, size: int, kind: pa.DataType) -> pa.ListArray:
    offsets = np.arange(0, values.size + 1, size, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel().astype(kind.to_pandas_dtype())))
