"""Rows of `sequence_stream` → `SequenceBatch`: every distinct item once, slots as places among these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ray.data.collate_fn import ArrowBatchCollateFn

from tastelab.data.ragged import flat
from tastelab.schema import UNKNOWN_TIME

if TYPE_CHECKING:
    from tastelab.schema import SequenceBatch

Bools = npt.NDArray[np.bool_]


class SequenceCollate(ArrowBatchCollateFn):
    """Collate rows of one epoch; a batch of padding alone still runs, so that no rank waits for another."""

    def __init__(self, epoch: int) -> None:
        """Name the epoch, which the batches carry."""
        self.epoch = epoch

    def __call__(self, batch: pa.Table) -> SequenceBatch:
        """Turn rows of one step into a `SequenceBatch`."""
        # Imported here because it brings torch, which the read tasks of the pipeline never need to load.
        import torch

        from tastelab.schema import SequenceBatch

        items, offsets = flat(batch["clicks"])
        lengths_B = np.diff(offsets)
        mask_BS = np.arange(max(1, int(lengths_B.max(initial=0)))) < lengths_B[:, None]
        items_U, places = np.unique(items, return_inverse=True)
        if not len(items_U):
            items_U = np.zeros(1, np.int64)

        def slots(values: npt.NDArray[np.generic], empty: object) -> torch.Tensor:
            filled = np.full(mask_BS.shape, empty, values.dtype)
            filled[mask_BS] = values
            return torch.from_numpy(filled)

        times, dwell = _values(batch["times"]), _values(batch["dwell"])
        return SequenceBatch(
            item_ids_U=torch.from_numpy(items_U),
            clicks_BS=slots(places.astype(np.int64), 0),
            click_mask_BS=torch.from_numpy(mask_BS),
            target_mask_BS=slots(flat(batch["targets"])[0] == 1, False),
            rows_B=torch.from_numpy(batch["row"].to_numpy().copy()),
            users_B=torch.from_numpy(batch["user"].to_numpy().copy()),
            epoch=self.epoch,
            step=int(batch["step"][0].as_py()),
            times_BS=None if times is None else slots(times.astype(np.int64), UNKNOWN_TIME),
            dwell_BS=None if dwell is None else slots(dwell.astype(np.float32), np.nan),
        )


def _values(column: pa.ChunkedArray) -> npt.NDArray[np.generic] | None:
    """Values of all lists; None where the data have none, which every row of every batch then says alike."""
    if column.null_count == len(column):
        return None
    lists = pa.concat_arrays(column.chunks)
    values: npt.NDArray[np.generic] = lists.flatten().to_numpy(zero_copy_only=False)
    return values
