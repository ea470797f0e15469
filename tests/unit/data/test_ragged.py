"""Ragged columns against plain Python lists."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.ragged import flat, last_slots, padded

LISTS = [[1, 2, 3], [], [4], None, [5, 6, 7, 8, 9]]
KIND = pa.list_(pa.int32())


def as_lists(values: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    return [values[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(LISTS, KIND),
        pa.chunked_array([pa.array(LISTS[:2], KIND), pa.array(LISTS[2:], KIND)]),
        pa.chunked_array([pa.array([[0, 0], *LISTS, [9]], KIND)]).slice(1, 5),
        pa.array(LISTS, pa.large_list(pa.int8())),
    ],
    ids=["array", "chunks", "slice", "large"],
)
def test_values_and_offsets_of_any_layout(column: pa.Array) -> None:
    values, offsets = flat(column)
    assert as_lists(values, offsets) == [items or [] for items in LISTS]
    assert values.dtype == offsets.dtype == np.int64
    assert offsets[0] == 0


@pytest.mark.parametrize("column", [pa.array([], KIND), pa.chunked_array([], KIND), pa.array(LISTS, KIND).slice(2, 0)])
def test_no_rows(column: pa.Array) -> None:
    values, offsets = flat(column)
    assert values.tolist() == []
    assert offsets.tolist() == [0]


def test_values_under_a_null_do_not_count() -> None:
    """Arrow may keep values that a null row hides."""
    hidden = pa.ListArray.from_arrays([0, 2, 3], pa.array([8, 9, 1], pa.int32()), mask=pa.array([True, False]))
    values, offsets = flat(hidden)
    assert as_lists(values, offsets) == [[], [1]]


@pytest.mark.parametrize("most", [1, 2, 4, 9])
def test_the_last_slots_are_kept_oldest_first(most: int) -> None:
    values, offsets = flat(pa.array(LISTS, KIND))
    values_BH, mask_BH = padded(values, offsets, most)
    assert [row[mask].tolist() for row, mask in zip(values_BH, mask_BH, strict=True)] == [
        (items or [])[-most:] for items in LISTS
    ]
    assert values_BH.shape[1] == min(most, 5)
    assert not values_BH[~mask_BH].any()
    assert (np.diff(mask_BH.astype(int), axis=1) <= 0).all(), "not left-aligned"
    position_BH, same_mask_BH = last_slots(offsets, most)
    assert np.array_equal(same_mask_BH, mask_BH)
    assert np.array_equal(values[position_BH][mask_BH], values_BH[mask_BH])


def test_empty_rows_alone_have_one_masked_slot() -> None:
    values_BH, mask_BH = padded(np.zeros(0, np.int64), np.array([0, 0, 0]), 5)
    assert values_BH.tolist() == [[0], [0]]
    assert not mask_BH.any()
