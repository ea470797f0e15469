"""Collective operations: the identity for one process, everything in rank order for two."""

from __future__ import annotations

from typing import Any

import torch

from tastelab.evaluation import collectives


def test_one_process_is_alone_with_its_values() -> None:
    values = torch.arange(6.0).reshape(3, 2).requires_grad_()
    assert (collectives.rank(), collectives.world_size()) == (0, 1)
    assert torch.equal(collectives.gather_equal(values), values)
    assert not collectives.gather_equal(values).requires_grad
    (part,) = collectives.gather_ragged(values)
    assert torch.equal(part, values)
    assert not part.requires_grad
    assert torch.equal(collectives.sum_over_ranks(torch.ones(2)), torch.ones(2))
    assert collectives.gather_objects({"a": 1}) == [{"a": 1}]


def test_two_processes_gather_in_rank_order(two_workers: Any) -> None:
    _, ranks = two_workers
    for rank, seen in enumerate(ranks):
        assert seen["collectives"] == {
            "place": (rank, 2),
            "sum": [10.0, 12.0, 14.0],
            "equal": [0.0, 1.0, 2.0, 10.0, 11.0, 12.0],
            "equal has gradient": False,
            "ragged": [[[0.0, 0.0]], [[1.0, 1.0]] * 3],
            "ragged with none": [[], [0]],
            "objects": [{"rank": 0}, {"rank": 1}],
        }
