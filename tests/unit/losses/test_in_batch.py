"""The in-batch contrastive loss of users against a slow loop, and what must not count.

Shape letters: G groups, B impressions of a group, P clicks of a group, D width.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.config import Auxiliary
from tastelab.losses.in_batch import InBatch

OWNERS = [[0, 0, 2, 3], [1, 1, 1], [], [0, 2]]
"""Who clicked each item, group by group: a user with two clicks, one with three, a group without any."""


def unit(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def grouped(temper: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four groups of four users; the first user of the last group has no history; masked places hold `temper`."""
    users_GBD, clicks_GPD = unit(4, 4, 3), unit(4, 4, 3, seed=1)
    users_GBD[3, 0] = 0.0
    mask_GP = torch.tensor([[place < len(owners) for place in range(4)] for owners in OWNERS])
    user_of_GP = torch.tensor([owners + [0] * (4 - len(owners)) for owners in OWNERS])
    clicks_GPD[~mask_GP] = temper
    return users_GBD, clicks_GPD, user_of_GP, mask_GP


def slow_loss(users: Tensor, clicks: Tensor, owners: list[int], temperature: float) -> list[float]:
    """InfoNCE of each click against all clicks of the group, then the mean over each user's own."""
    found = []
    for b, user in enumerate(users):
        logits = [float(user @ click) / temperature for click in clicks[: len(owners)]]
        total = math.log(sum(math.exp(logit) for logit in logits)) if logits else 0.0
        own = [total - logit for logit, owner in zip(logits, owners, strict=True) if owner == b]
        found.append(sum(own) / len(own) if own and user.any() else 0.0)
    return found


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_equals_a_slow_loop(temperature: float) -> None:
    users_GBD, clicks_GPD, user_of_GP, mask_GP = grouped()
    loss_GB = InBatch(temperature=temperature).user_loss(users_GBD, clicks_GPD, user_of_GP, mask_GP)
    for g, owners in enumerate(OWNERS):
        expected = slow_loss(users_GBD[g], clicks_GPD[g], owners, temperature)
        assert loss_GB[g].tolist() == pytest.approx(expected, abs=1e-12)
    assert loss_GB.bool().tolist() == [
        [True, False, True, True],
        [False, True, False, False],
        [False] * 4,
        [False, False, True, False],
    ]


def test_an_item_that_two_clicked_enters_twice() -> None:
    """By hand: two users clicked the item that both equal, a third its opposite; nothing is masked, no log q."""
    item = torch.tensor([1.0, 0.0])
    clicks_GPD = torch.stack([item, item, -item])[None]
    own_GP = torch.tensor([[0, 1, 2]])
    loss_GB = InBatch(temperature=1.0).user_loss(clicks_GPD, clicks_GPD, own_GP, torch.ones(1, 3).bool())
    shared = math.log(2 * math.e + 1 / math.e) - 1
    assert loss_GB[0].tolist() == pytest.approx([shared, shared, math.log(math.e + 2 / math.e) - 1])


def test_the_optimum_is_that_of_inverse_propensity_weighting() -> None:
    """Methods.md §6: with p = q the negatives take popularity off, and the best scores are all the same."""
    popularity = torch.tensor([6, 3, 2, 1])
    clicks = torch.repeat_interleave(torch.arange(4), popularity)
    own_GP, mask_GP = torch.arange(12)[None], torch.ones(1, 12).bool()
    angles = torch.zeros(4, dtype=torch.float64)

    def loss(angles: Tensor) -> Tensor:
        items = torch.stack([angles.cos(), angles.sin()], dim=-1)
        user = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, 12, 2)
        return InBatch(temperature=1.0).user_loss(user, items[clicks][None], own_GP, mask_GP).sum()

    best = loss(angles).item()
    for item in range(4):
        moved = angles.clone()
        moved[item] = 0.5
        assert loss(moved).item() > best


def test_masked_clicks_change_nothing_and_have_no_gradient() -> None:
    users_GBD, clicks_GPD, user_of_GP, mask_GP = grouped(temper=1e3)
    users_GBD.requires_grad_()
    clicks_GPD.requires_grad_()
    loss_GB = InBatch().user_loss(users_GBD, clicks_GPD, user_of_GP, mask_GP)
    torch.testing.assert_close(loss_GB, InBatch().user_loss(*grouped()))
    loss_GB.sum().backward()
    assert users_GBD.grad is not None
    assert clicks_GPD.grad is not None
    assert users_GBD.grad.isfinite().all()
    assert clicks_GPD.grad.isfinite().all()
    assert not clicks_GPD.grad[~mask_GP].any()
    assert not users_GBD.grad[3, 0].any(), "an empty history is no example"
    assert clicks_GPD.grad[3, 0].any(), "its click is a negative of the others"


def test_gradients_equal_finite_differences() -> None:
    users_GBD, clicks_GPD, user_of_GP, mask_GP = grouped()

    def total(users: Tensor, clicks: Tensor) -> Tensor:
        return InBatch(temperature=0.3).user_loss(users, clicks, user_of_GP, mask_GP)

    users_GBD[3, 0] = unit(3, seed=4)  # beside zero the mask has no derivative
    assert torch.autograd.gradcheck(total, (users_GBD.requires_grad_(), clicks_GPD.requires_grad_()))


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The temperature is 0\.0: choose a number above 0"):
        Auxiliary.named("in_batch", temperature=0.0)
