"""Inner products of users with items drawn for each of them, which copy no item's vector.

Shape letters: N users, L items drawn for each, E items, D width.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, embedding_bag


def drawn_logits(users_ND: Tensor, vectors_ED: Tensor, place_NL: Tensor) -> Tensor:
    """Return `<users[n], vectors[place[n, i]]>`, shape (N, L); both are of one kind of float.

    Args:
        users_ND: what is multiplied with each of its items.
        vectors_ED: the distinct items.
        place_NL: int64 rows of `vectors_ED`; they may repeat.
    """
    if users_ND.device.type == "cpu" and place_NL.numel():
        products_NL: Tensor = _OnCPU.apply(users_ND, vectors_ED, place_NL)  # type: ignore[no-untyped-call]
        return products_NL
    return (embedding(place_NL, vectors_ED) @ users_ND.unsqueeze(2)).squeeze(2)


class _OnCPU(torch.autograd.Function):
    """The same without the N · L vectors, whose copying takes a CPU ten times as long as multiplying them."""

    @staticmethod
    def forward(ctx: Any, users_ND: Tensor, vectors_ED: Tensor, place_NL: Tensor) -> Tensor:
        """Compute the products alone that are asked for, of all N · E."""
        ctx.save_for_backward(users_ND, vectors_ED, place_NL)
        zeros_NE = _sparse(torch.zeros(place_NL.numel(), dtype=users_ND.dtype), place_NL, len(vectors_ED))
        products_NE = torch.sparse.sampled_addmm(zeros_NE, users_ND, vectors_ED.T, beta=0.0)
        products_NL: Tensor = products_NE.values().view(place_NL.shape)
        return products_NL

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NL: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Sum vectors weighted by the gradient: of each user's items, and of each item's users."""
        users_ND, vectors_ED, place_NL = ctx.saved_tensors
        users_grad = vectors_grad = None
        if ctx.needs_input_grad[0]:
            users_grad = embedding_bag(place_NL, vectors_ED, per_sample_weights=grad_NL.contiguous(), mode="sum")
        if ctx.needs_input_grad[1]:
            flat, num_drawn = place_NL.flatten(), place_NL.shape[1]
            order = flat.argsort(stable=True)
            ends_E = torch.bincount(flat, minlength=len(vectors_ED)).cumsum(0)
            offsets_E = torch.cat([ends_E.new_zeros(1), ends_E[:-1]])
            weights = grad_NL.flatten()[order]
            vectors_grad = embedding_bag(
                order // num_drawn, users_ND, offsets_E, per_sample_weights=weights, mode="sum"
            )
        return users_grad, vectors_grad, None


def _sparse(values: Tensor, place_NL: Tensor, num_items: int) -> Tensor:
    """Return a sparse (N, E) matrix with `values` at the places, row after row."""
    num_users, num_drawn = place_NL.shape
    starts = torch.arange(0, num_users * num_drawn + 1, num_drawn)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            starts, place_NL.flatten(), values, (num_users, num_items), check_invariants=False
        )
