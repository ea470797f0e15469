"""Tables: the gradient names the rows that were used, and nothing else."""

from __future__ import annotations

import torch
from torch import nn

from tastelab.modeling.item_table import Table, named_tables


def test_the_gradient_is_that_of_a_dense_lookup() -> None:
    rows_ND = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    table, dense = Table(rows_ND.clone()), rows_ND.clone().requires_grad_()
    rows = torch.tensor([[5, 2], [5, 0]])
    weights = torch.arange(12.0).view(2, 2, 3)
    (table(rows) * weights).sum().backward()
    (dense[rows] * weights).sum().backward()
    assert torch.equal(table(rows), rows_ND[rows])
    assert table.rows_ND.grad is not None
    assert table.rows_ND.grad.is_sparse
    assert table.rows_ND.grad.coalesce().indices().tolist() == [[0, 2, 5]]
    assert dense.grad is not None
    assert torch.equal(table.rows_ND.grad.to_dense(), dense.grad)


def test_tables_are_found_by_name_at_any_depth() -> None:
    inner = nn.ModuleDict({"words": Table.zeros(4, 2), "other": nn.Linear(2, 2)})
    module = nn.Sequential(Table.zeros(3, 2), inner)
    found = named_tables(module)
    assert list(found) == ["0.rows_ND", "1.words.rows_ND"]
    assert [tuple(rows.shape) for rows in found.values()] == [(3, 2), (4, 2)]
    assert named_tables(nn.Linear(2, 2)) == {}
