"""Batches: every distinct item once, longest first; index maps give the ids back; masked rows cost nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tastelab.data.collate import collate, collate_sampled
from tastelab.data.sampling import Draw
from tastelab.data.tokens import TokenStore
from tastelab.schema import Batch

LENGTHS = np.array([4, 2, 7, 3, 7, 5, 2, 6, 3, 9])


@pytest.fixture
def store() -> TokenStore:
    """Ten items; item i's tokens count up from 100 i."""
    tokens = np.concatenate([100 * i + np.arange(n) for i, n in enumerate(LENGTHS)]).astype(np.int32)
    return TokenStore(tokens, np.concatenate([[0], np.cumsum(LENGTHS)]), Path("nowhere"))


HISTORY_BH = np.array([[2, 5, 2], [7, 0, 0], [0, 0, 0], [9, 8, 0], [1, 0, 0]])
HISTORY_MASK_BH = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
DRAW = Draw(
    items_BC=np.array([[5, 4, 2], [0, 3, 0], [4, 6, 0], [8, 9, 1], [1, 9, 8]]),
    labels_BC=np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], np.float32),
    mask_BC=np.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]], bool),
)
ROWS_B = np.array([30, 31, 32, 33, -1])  # 33 has no positive, the last row is padding
VALID_B = np.array([True, True, True, False, False])


@pytest.fixture
def batch(store: TokenStore) -> Batch:
    return collate(store, ROWS_B, HISTORY_BH, HISTORY_MASK_BH, DRAW)


def test_every_distinct_item_of_valid_impressions_stands_once_longest_first(batch: Batch) -> None:
    ids = batch.item_ids_U.tolist()
    assert sorted(ids) == [0, 2, 3, 4, 5, 6, 7]  # 1, 8 and 9 are named by masked rows only
    assert [LENGTHS[i] for i in ids] == sorted(LENGTHS[ids], reverse=True)
    for place, item in enumerate(ids):
        expected = [100 * item + t for t in range(LENGTHS[item])]
        assert batch.item_tokens_UT[place][batch.item_mask_UT[place]].tolist() == expected
    assert batch.item_tokens_UT.shape[1] == 7


def test_index_maps_give_the_ids_back(batch: Batch) -> None:
    for index, mask, ids in (
        (batch.history_index_BH, batch.history_mask_BH, HISTORY_BH),
        (batch.candidate_index_BC, batch.candidate_mask_BC, DRAW.items_BC),
    ):
        assert np.array_equal(batch.item_ids_U[index][mask], ids[mask.numpy()])
        assert not index[~mask].any()
    assert np.array_equal(batch.history_mask_BH, HISTORY_MASK_BH & VALID_B[:, None])
    assert np.array_equal(batch.candidate_mask_BC, DRAW.mask_BC & VALID_B[:, None])


def test_rows_without_a_positive_and_padding_are_masked(batch: Batch) -> None:
    assert batch.impression_mask_B.tolist() == VALID_B.tolist()
    assert batch.rows_B.tolist() == [30, 31, 32, -1, -1]
    assert batch.labels_BC.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert batch.feedback_BH is None


def test_types_are_those_of_the_contract(batch: Batch) -> None:
    kinds = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    for name in ("item_ids_U", "item_tokens_UT", "history_index_BH", "candidate_index_BC", "rows_B"):
        assert kinds[name].dtype is torch.int64, name
    for name in ("item_mask_UT", "history_mask_BH", "candidate_mask_BC", "impression_mask_B"):
        assert kinds[name].dtype is torch.bool, name
    assert batch.labels_BC.dtype is torch.float32


def test_a_batch_of_masked_rows_alone_still_has_an_item(store: TokenStore) -> None:
    chosen = slice(3, 5)
    draw = Draw(DRAW.items_BC[chosen], DRAW.labels_BC[chosen], DRAW.mask_BC[chosen])
    batch = collate(store, ROWS_B[chosen], HISTORY_BH[chosen], HISTORY_MASK_BH[chosen], draw)
    assert batch.item_ids_U.tolist() == [0]
    assert batch.item_tokens_UT.shape == (1, LENGTHS[0])
    for mask in (batch.impression_mask_B, batch.history_mask_BH, batch.candidate_mask_BC, batch.labels_BC):
        assert not mask.any()
    assert not batch.history_index_BH.any()
    assert not batch.candidate_index_BC.any()


def test_feedback_follows_the_history_and_is_zero_where_masked(store: TokenStore) -> None:
    signs = np.array([[1, -1, 1], [-1, 1, 1], [1, 1, 1], [1, -1, 1], [1, 1, 1]])
    batch = collate(store, ROWS_B, HISTORY_BH, HISTORY_MASK_BH, DRAW, signs)
    assert batch.feedback_BH is not None
    assert batch.feedback_BH.dtype is torch.float32
    assert batch.feedback_BH.tolist() == [[1, -1, 1], [-1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def sampled(feedback: list[list[int] | None]) -> pa.Table:
    """The rows above as the pipeline hands them over, in two chunks."""
    histories = [row[mask].tolist() for row, mask in zip(HISTORY_BH, HISTORY_MASK_BH, strict=True)]
    columns = {
        "row": pa.array(ROWS_B),
        "history": pa.array(histories, pa.list_(pa.int32())),
        "feedback": pa.array(feedback, pa.list_(pa.int8())),
        "candidates": pa.array(DRAW.items_BC.tolist(), pa.list_(pa.int32())),
        "labels": pa.array(DRAW.labels_BC.astype(int).tolist(), pa.list_(pa.int8())),
        "mask": pa.array(DRAW.mask_BC.astype(int).tolist(), pa.list_(pa.int8())),
    }
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, 2), table.slice(2)])


def test_sampled_rows_become_the_same_batch(store: TokenStore, batch: Batch) -> None:
    made = collate_sampled(store, sampled([None] * 5))
    for field in dataclasses.fields(Batch):
        ours, theirs = getattr(made, field.name), getattr(batch, field.name)
        assert (ours is None and theirs is None) or torch.equal(ours, theirs), field.name


def test_an_impression_without_feedback_likes_all_its_clicks(store: TokenStore) -> None:
    """Beside one that has some; the longest history of the batch is the one without."""
    made = collate_sampled(store, sampled([None, [-1], [], None, None]))
    assert made.feedback_BH is not None
    assert made.feedback_BH.tolist() == [[1, 1, 1], [-1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
