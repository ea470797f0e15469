"""Vectors by code: means over the codes there are, what stands in for none, whose gradient is sparse.

Shape letters: E items, M codes, N rows, C width.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tastelab.modeling import item_codes
from tastelab.modeling.item_codes import CodeVectors, OwnVectors, uniform
from tastelab.modeling.item_table import Table, named_tables


def rows_of(codes: CodeVectors) -> Tensor:
    (rows,) = codes.table.parameters()
    return rows.detach()


def test_codes_are_averaged_and_absent_ones_left_out() -> None:
    codes = CodeVectors(4, 3)
    found = codes(torch.tensor([[0, 2, -1], [3, -1, -1], [-1, -1, -1], [1, 1, 2]]))
    rows = rows_of(codes)
    expected = torch.stack([(rows[0] + rows[2]) / 2, rows[3], torch.zeros(3), (2 * rows[1] + rows[2]) / 3])
    torch.testing.assert_close(found, expected)


def test_a_learned_vector_stands_where_there_is_no_code() -> None:
    codes, codes_EM = CodeVectors(4, 3), torch.tensor([[-1, 1], [-1, -1]])
    filled = codes.filled(codes(codes_EM), codes_EM)
    assert codes.absent_C is not None
    torch.testing.assert_close(filled, torch.stack([rows_of(codes)[1], codes.absent_C]))
    assert CodeVectors(4, 3, fills=False).absent_C is None


def test_a_large_vocabulary_has_a_sparse_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_codes, "LARGE", 4)
    small, large = CodeVectors(4, 3), CodeVectors(5, 3)
    assert not named_tables(small) and isinstance(large.table, Table)
    large(torch.tensor([[1, 4], [-1, -1]])).sum().backward()
    (rows,) = large.table.parameters()
    assert rows.grad is not None and rows.grad.is_sparse
    assert rows.grad.to_dense().any(dim=1).tolist() == [False, True, False, False, True]


def test_own_vectors_and_the_shared_one() -> None:
    own = OwnVectors(5, 3, dropout=0.0)
    found = own(torch.tensor([4, -1, 0, -1]))
    torch.testing.assert_close(found[[0, 2]], own.table.rows_ND[[4, 0]])
    torch.testing.assert_close(found[[1, 3]], own.unknown_C.expand(2, 3))


def test_only_rows_that_were_asked_for_have_a_gradient() -> None:
    own = OwnVectors(1_000, 3, dropout=0.0)
    own(torch.tensor([7, -1, 900])).sum().backward()
    grad = own.table.rows_ND.grad
    assert grad is not None and grad.is_sparse and grad._nnz() <= 3
    assert grad.to_dense().any(dim=1).nonzero().squeeze(1).tolist() == [7, 900]
    assert own.unknown_C.grad is not None and torch.equal(own.unknown_C.grad, torch.ones(3))


def test_a_share_of_a_training_batch_trains_the_shared_vector() -> None:
    own, ids_E = OwnVectors(20_000, 2, dropout=0.25), torch.arange(20_000)

    def dropped(*draw: int) -> Tensor:
        own.draw = draw
        shared: Tensor = (own(ids_E) == own.unknown_C).all(dim=1)
        return shared

    first = dropped(7, 0, 0)
    for draw in ((7, 0, 0), (7, 0, 1), (7, 1, 0), (8, 0, 0)):
        shared = dropped(*draw)
        assert abs(shared.float().mean().item() - 0.25) < 0.02
        both = (shared & first).float().mean().item()
        assert abs(both - (0.25 if draw == (7, 0, 0) else 0.0625)) < 0.02  # drawn anew in each step
    own.eval()
    assert not dropped(7, 0, 0).any()


def test_what_is_dropped_is_the_same_on_any_worker() -> None:
    ids_E, keys = torch.randperm(1_000), (3, 1, 4)
    whole = uniform(ids_E, keys)
    assert (whole >= 0).all() and (whole < 1).all() and whole.dtype == torch.float32
    assert torch.equal(uniform(ids_E[100:300].flip(0), keys), whole[100:300].flip(0))
    assert len(whole.unique()) > 990
