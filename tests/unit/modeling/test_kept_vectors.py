"""Kept vectors: computed once per item, within the memory that is given, and never outside of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tastelab.modeling.kept_vectors import KeptVectors

WIDTH = 2**18
"""A float32 vector of this width takes one MB."""


class Computing:
    """Computes the vector `[id, …]` and remembers for which ids it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def of(self, ids_U: Tensor, width: int = WIDTH) -> Callable[[Tensor], Tensor]:
        def compute(chosen: Tensor) -> Tensor:
            self.asked.append(ids_U[chosen].tolist())
            return ids_U[chosen].float()[:, None].expand(-1, width).clone()

        return compute


@pytest.mark.parametrize(
    ("megabytes", "asked"),
    [
        (100, [[4, 0, -1], [2, -1]]),
        (3, [[4, 0, -1], [2, -1]]),
        (2, [[4, 0, -1], [2, -1], [2]]),
        (1, [[4, 0, -1], [0, 2, -1], [2, 0]]),
        (0, [[4, 0, -1], [0, 2, -1, 4], [2, 0]]),
    ],
)
def test_each_vector_is_computed_once_while_there_is_room(megabytes: int, asked: list[list[int]]) -> None:
    kept, computing = KeptVectors(5, WIDTH, megabytes), Computing()
    for ids in ([4, 0, -1], [0, 2, -1, 4], [2, 0]):
        ids_U = torch.tensor(ids)
        vectors_UD = kept(ids_U, computing.of(ids_U))
        assert vectors_UD[:, 0].tolist() == vectors_UD[:, -1].tolist() == ids
    assert computing.asked == asked


def test_what_is_returned_is_no_view_of_what_is_kept() -> None:
    kept, computing, ids_U = KeptVectors(5, 2, 1), Computing(), torch.tensor([3, 1])
    kept(ids_U, computing.of(ids_U, 2)).zero_()
    kept(ids_U, computing.of(ids_U, 2)).zero_()
    assert kept(ids_U, computing.of(ids_U, 2))[:, 0].tolist() == [3.0, 1.0]


def test_nothing_that_is_kept_has_a_gradient_or_was_made_in_inference_mode() -> None:
    kept, computing, ids_U = KeptVectors(5, 2, 1), Computing(), torch.tensor([3, 1])
    weight = torch.ones(1, requires_grad=True)
    with torch.inference_mode():
        kept(ids_U, computing.of(ids_U, 2))
        assert kept.num_kept == 0
    compute = computing.of(ids_U, 2)
    vectors_UD = kept(ids_U, lambda chosen: compute(chosen) * weight)
    assert kept.num_kept == 2
    assert not vectors_UD.requires_grad
    assert not vectors_UD.is_inference()
    (kept(ids_U, compute) * weight).sum().backward()
    with torch.inference_mode():
        kept(ids_U, compute)
    assert computing.asked == [[3, 1], [3, 1], [3, 1]], "inference mode computes anew, training does not"
