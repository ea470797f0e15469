"""Logits of items drawn for each user against the products of all, with their gradients.

Shape letters: N users, L items drawn for each, E items, D width.
"""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.losses.contrast import Contrast, ContrastiveLoss, Sampled
from tastelab.losses.drawn_logits import drawn_logits
from tastelab.losses.negative_sampling import NegativeSampling
from tastelab.losses.sampled_softmax import SampledSoftmax

N, L, E, D = 3, 4, 6, 5
PLACE_NL = torch.tensor([[5, 2, 2, 0], [3, 3, 3, 3], [0, 1, 5, 2]])  # unsorted, repeated; 4 is never drawn


def leaves() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    users_ND, items_ED = (torch.randn(rows, D, generator=generator, dtype=torch.float64) for rows in (N, E))
    return users_ND.requires_grad_(), items_ED.requires_grad_()


def test_they_are_those_of_all_products() -> None:
    users_ND, items_ED = leaves()
    weights_NL = torch.randn(N, L, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = drawn_logits(users_ND, items_ED, PLACE_NL)
    expected = (users_ND @ items_ED.T).gather(1, PLACE_NL)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad((found * weights_NL).sum(), (users_ND, items_ED))
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights_NL).sum(), (users_ND, items_ED)))
    assert not gradients[1][4].any()


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_may_be_wanted_of_one_alone_and_come_expanded(which: int) -> None:
    given = [leaf.detach().requires_grad_(number == which) for number, leaf in enumerate(leaves())]
    drawn_logits(given[0], given[1], PLACE_NL).sum().backward()  # the gradient of a sum is one number, expanded
    users_ND, items_ED = leaves()
    (users_ND @ items_ED.T).gather(1, PLACE_NL).sum().backward()
    torch.testing.assert_close(given[which].grad, (users_ND, items_ED)[which].grad)
    assert given[1 - which].grad is None


def test_nobody_asks() -> None:
    users_ND, items_ED = leaves()
    found = drawn_logits(users_ND[:0], items_ED, PLACE_NL[:0])
    assert found.shape == (0, L)
    found.sum().backward()
    assert items_ED.grad is not None and not items_ED.grad.any()


def test_it_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn_logits(*leaves(), PLACE_NL)


@pytest.mark.parametrize("loss", [NegativeSampling(L), SampledSoftmax(L, shared=False)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_loss_takes_vectors_of_every_draw_or_of_every_item(loss: ContrastiveLoss, dtype: torch.dtype) -> None:
    users_ND, items_ED = (normalize(leaf.detach(), dim=1).to(dtype) for leaf in leaves())
    log_p_E = torch.linspace(-3.0, -1.0, E, dtype=torch.float64)
    ids_N = PLACE_NL[:, 0]
    copied = Sampled(PLACE_NL, items_ED[PLACE_NL], log_p_E[PLACE_NL], log_p_E[ids_N])
    given = Contrast(users_ND[:, None], users_ND, items_ED[ids_N], ids_N, torch.tensor(0.1), copied)
    placed = dataclasses.replace(copied, vectors=items_ED, place_NL=PLACE_NL)
    found = loss(dataclasses.replace(given, sampled=placed)).loss_N
    torch.testing.assert_close(found, loss(given).loss_N)
