"""Ragged Arrow columns as flat numpy values with offsets, and back to padded slots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def flat(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.int64], Ints]:
    """Return a list column's values and its offsets from 0, whatever its chunks and slices; a null list is empty."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # zero chunks stay chunked
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return array.flatten().to_numpy(zero_copy_only=False).astype(np.int64), offsets


def last_slots(offsets: Ints, max_slots: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Positions of the last `max_slots` values of each row, oldest first, left-aligned.

    Returns:
        `position_BH` into the flat values (0 where masked) and `mask_BH`; H is the longest row, at most `max_slots`.
    """
    lengths_B = np.minimum(np.diff(offsets), max_slots)
    slots_H = np.arange(int(lengths_B.max(initial=1)) or 1)
    mask_BH = slots_H < lengths_B[:, None]
    return np.where(mask_BH, (offsets[1:] - lengths_B)[:, None] + slots_H, 0), mask_BH


def padded(values: npt.NDArray[np.int64], offsets: Ints, max_slots: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Pad the last `max_slots` values of each row with 0: `values_BH` and `mask_BH`."""
    position_BH, mask_BH = last_slots(offsets, max_slots)
    source = values if len(values) else np.zeros(1, np.int64)
    return np.where(mask_BH, source[position_BH], 0), mask_BH
