"""Rows of the stream as `SequenceBatch`, by hand."""

from __future__ import annotations

import pickle

import pyarrow as pa
import torch

from tastelab.data.sequence_collate import SequenceCollate
from tastelab.schema import UNKNOWN_TIME


def table(clicks: list[list[int]], times: list[list[int]] | None, dwell: list[list[float]] | None) -> pa.Table:
    return pa.table(
        {
            "row": pa.array([10 + b if slots else -1 for b, slots in enumerate(clicks)], pa.int64()),
            "user": pa.array([b if slots else -1 for b, slots in enumerate(clicks)], pa.int64()),
            "step": pa.array([7] * len(clicks), pa.int64()),
            "clicks": pa.array(clicks, pa.list_(pa.int32())),
            "targets": pa.array([[0] * (len(s) - 1) + [1] * bool(s) for s in clicks], pa.list_(pa.int8())),
            "times": pa.array(times or [None] * len(clicks), pa.list_(pa.int64())),
            "dwell": pa.array(dwell or [None] * len(clicks), pa.list_(pa.float32())),
        }
    )


def test_distinct_items_stand_once_and_slots_point_at_them() -> None:
    batch = SequenceCollate(epoch=2)(table([[9, 4, 9], [4, 30], []], [[1, UNKNOWN_TIME, 3], [4, 5], []], None))
    assert batch.item_ids_U.tolist() == [4, 9, 30]
    assert batch.clicks_BS.tolist() == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert batch.click_mask_BS.tolist() == [[True] * 3, [True, True, False], [False] * 3]
    assert batch.target_mask_BS.tolist() == [[False, False, True], [False, True, False], [False] * 3]
    assert batch.rows_B.tolist() == [10, 11, -1] and batch.users_B.tolist() == [0, 1, -1]
    assert (batch.epoch, batch.step) == (2, 7)
    assert batch.times_BS is not None and batch.dwell_BS is None
    assert batch.times_BS.tolist() == [[1, UNKNOWN_TIME, 3], [4, 5, UNKNOWN_TIME], [UNKNOWN_TIME] * 3]
    assert batch.clicks_BS.dtype == batch.item_ids_U.dtype == batch.times_BS.dtype == torch.int64


def test_dwell_times_are_nan_where_masked_and_absent_times_are_none() -> None:
    batch = SequenceCollate(0)(table([[1, 2], [3]], None, [[0.5, float("nan")], [2.0]]))
    assert batch.times_BS is None and batch.dwell_BS is not None
    torch.testing.assert_close(
        batch.dwell_BS, torch.tensor([[0.5, torch.nan], [2.0, torch.nan]]), equal_nan=True, rtol=0, atol=0
    )


def test_padding_alone_still_makes_a_batch_with_times() -> None:
    batch = SequenceCollate(0)(table([[], []], [[], []], None))
    assert batch.item_ids_U.tolist() == [0] and batch.clicks_BS.tolist() == [[0], [0]]
    assert not batch.click_mask_BS.any() and not batch.target_mask_BS.any()
    assert batch.times_BS is not None and batch.times_BS.tolist() == [[UNKNOWN_TIME]] * 2


def test_slices_and_chunks_collate_as_what_they_hold() -> None:
    whole = table([[9, 4, 9], [4, 30], [5]], [[1, 2, 3], [4, 5], [6]], [[1.0, 2.0, 3.0], [4.0, 5.0], [6.0]])
    parts = pa.concat_tables([whole.slice(1, 1), whole.slice(2, 1)])
    ours, theirs = SequenceCollate(0)(parts), SequenceCollate(0)(whole.slice(1))
    for name, value in vars(theirs).items():
        torch.testing.assert_close(getattr(ours, name), value, rtol=0, atol=0, equal_nan=True, msg=name)
    assert ours.item_ids_U.tolist() == [4, 5, 30] and ours.times_BS is not None
    assert ours.times_BS.tolist() == [[4, 5], [6, UNKNOWN_TIME]]


def test_it_travels_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(SequenceCollate(5))).epoch == 5
