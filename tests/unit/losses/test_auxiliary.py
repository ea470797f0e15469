"""Uniformity and redundancy against slow loops, and what must not count.

Shape letters: B impressions, H history slots, C candidate slots, G groups, U distinct items, D width.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.losses.auxiliary import Redundancy, Uniformity

GROUPS = (4, 1, 2, 0)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def group_mask() -> Tensor:
    return torch.arange(4) < torch.tensor(GROUPS)[:, None]


def slow_uniformity(vectors: list[Tensor]) -> float:
    pairs = [math.exp(-2 * float((a - b).square().sum())) for a in vectors for b in vectors]
    return math.log(sum(pairs) / len(pairs)) if pairs else 0.0


def test_uniformity_equals_a_slow_loop() -> None:
    vectors_GUD = unit(4, 4, 3)
    expected = [slow_uniformity(list(vectors_GUD[g, :size])) for g, size in enumerate(GROUPS)]
    assert Uniformity().group_loss(vectors_GUD, group_mask()).tolist() == pytest.approx(expected, abs=1e-12)
    assert expected[1] == 0.0


def test_uniformity_of_opposite_vectors_by_hand() -> None:
    vectors_GUD = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    loss_G = Uniformity().group_loss(vectors_GUD, torch.ones(1, 2).bool())
    assert loss_G.item() == pytest.approx(math.log((1 + math.exp(-8)) / 2))


def test_uniformity_is_best_where_vectors_are_spread() -> None:
    spread_GUD, narrow_GUD = torch.eye(4)[None], normalize(torch.eye(4) + 3.0, dim=-1)[None]
    mask_GU = torch.ones(1, 4).bool()
    assert Uniformity().group_loss(spread_GUD, mask_GU) < Uniformity().group_loss(narrow_GUD, mask_GU)


def test_masked_items_change_nothing_and_have_no_gradient() -> None:
    vectors_GUD = unit(4, 4, 3)
    other_GUD = torch.where(group_mask().unsqueeze(-1), vectors_GUD, unit(4, 4, 3, seed=5)).requires_grad_()
    loss_G = Uniformity().group_loss(other_GUD, group_mask())
    torch.testing.assert_close(loss_G, Uniformity().group_loss(vectors_GUD, group_mask()))
    loss_G.sum().backward()
    assert other_GUD.grad is not None
    assert other_GUD.grad.isfinite().all()
    assert not other_GUD.grad[~group_mask()].any()
    assert other_GUD.grad[0].abs().sum() > 0


def test_uniformity_is_computed_in_full_precision_under_autocast() -> None:
    vectors_GUD = unit(4, 4, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss_G = Uniformity().group_loss(vectors_GUD, group_mask())
    assert torch.equal(loss_G, Uniformity().group_loss(vectors_GUD, group_mask()))


def test_uniformity_gradients_equal_finite_differences() -> None:
    def loss(vectors: Tensor) -> Tensor:
        return Uniformity().group_loss(normalize(vectors, dim=-1), group_mask())

    assert torch.autograd.gradcheck(loss, (unit(4, 4, 3).requires_grad_(),))


def impressions() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four impressions: long history, one item, none, and one without a real candidate."""
    history_mask_BH = torch.arange(3) < torch.tensor([3, 1, 0, 2])[:, None]
    candidate_mask_BC = torch.arange(4) < torch.tensor([4, 3, 4, 0])[:, None]
    return unit(4, 3, 3), history_mask_BH, unit(4, 4, 3, seed=1), candidate_mask_BC


def slow_redundancy(history: list[Tensor], candidates: list[Tensor], threshold: float) -> float:
    excess = [max(0.0, max((float(u @ n) for u in history), default=-9.0) - threshold) for n in candidates]
    return sum(excess) / len(excess) if excess else 0.0


@pytest.mark.parametrize("threshold", [0.9, 0.2, -0.5])
def test_redundancy_equals_a_slow_loop(threshold: float) -> None:
    history_BHD, history_mask_BH, candidates_BCD, candidate_mask_BC = impressions()
    loss_B = Redundancy(threshold=threshold).impression_loss(*impressions())
    expected = [
        slow_redundancy(
            list(history_BHD[b, history_mask_BH[b]]), list(candidates_BCD[b, candidate_mask_BC[b]]), threshold
        )
        for b in range(4)
    ]
    assert loss_B.tolist() == pytest.approx(expected, abs=1e-12)
    assert expected[2:] == [0.0, 0.0]
    assert threshold == 0.9 or expected[0] > 0


def test_a_repeat_costs_what_exceeds_the_threshold() -> None:
    history_BHD, ones = torch.tensor([[[0.6, 0.8]]]), torch.ones(1, 1).bool()
    candidates_BCD = torch.tensor([[[0.6, 0.8], [0.8, 0.6]]])
    loss_B = Redundancy(threshold=0.9).impression_loss(history_BHD, ones, candidates_BCD, torch.ones(1, 2).bool())
    assert loss_B.item() == pytest.approx((0.1 + 0.06) / 2)


def test_redundancy_ignores_masked_slots_and_its_gradient_is_finite() -> None:
    history_BHD, history_mask_BH, candidates_BCD, candidate_mask_BC = impressions()
    other_BHD = torch.where(history_mask_BH.unsqueeze(-1), history_BHD, candidates_BCD[:, :1]).requires_grad_()
    loss_B = Redundancy(threshold=0.0).impression_loss(other_BHD, history_mask_BH, candidates_BCD, candidate_mask_BC)
    torch.testing.assert_close(loss_B, Redundancy(threshold=0.0).impression_loss(*impressions()))
    loss_B.sum().backward()
    assert other_BHD.grad is not None
    assert other_BHD.grad.isfinite().all()
    assert not other_BHD.grad[~history_mask_BH].any()


def test_redundancy_without_history_slots_is_zero_and_differentiable() -> None:
    history_BHD, history_mask_BH, candidates_BCD, candidate_mask_BC = impressions()
    candidates_BCD.requires_grad_()
    loss_B = Redundancy().impression_loss(history_BHD[:, :0], history_mask_BH[:, :0], candidates_BCD, candidate_mask_BC)
    loss_B.sum().backward()
    assert loss_B.tolist() == [0.0] * 4


def test_redundancy_gradients_equal_finite_differences() -> None:
    history_BHD, history_mask_BH, candidates_BCD, candidate_mask_BC = impressions()

    def loss(history: Tensor, candidates: Tensor) -> Tensor:
        return Redundancy(threshold=0.1).impression_loss(history, history_mask_BH, candidates, candidate_mask_BC)

    assert torch.autograd.gradcheck(loss, (history_BHD.requires_grad_(), candidates_BCD.requires_grad_()))


def test_which_terms_couple_impressions() -> None:
    assert (Uniformity.coupled, Redundancy.coupled) == (True, False)
