"""Margin and RankNet against a slow loop over pairs, and what they refuse.

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tastelab.config import Loss
from tastelab.losses.base import RankingLoss
from tastelab.losses.pairwise import Margin, RankNet

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).float()
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
"""Two positives; padding; the positive masked; no positive; no negative."""


def scores() -> Tensor:
    return torch.rand(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1


def slow(row: list[float], labels: list[float], mask: list[bool], cost: Callable[[float, float], float]) -> float:
    slots = [(s, y) for s, y, valid in zip(row, labels, mask, strict=True) if valid]
    pairs = [(p, n) for p, y in slots if y == 1 for n, z in slots if z == 0]
    return sum(cost(p, n) for p, n in pairs) / len(pairs) if pairs else 0.0


@pytest.mark.parametrize(
    ("loss", "cost"),
    [
        (Margin(), lambda p, n: max(0.0, 0.2 - (p - n))),
        (Margin(0.9), lambda p, n: max(0.0, 0.9 - (p - n))),
        (RankNet(), lambda p, n: -math.log(1 / (1 + math.exp(-(p - n))))),
        (RankNet(scaled=True), lambda p, n: -math.log(1 / (1 + math.exp(-(p - n) / 0.05)))),
    ],
)
def test_the_loss_equals_a_slow_loop(loss: RankingLoss, cost: Callable[[float, float], float]) -> None:
    rows = zip(scores().tolist(), LABELS.tolist(), MASK.tolist(), strict=True)
    expected = [slow(*row, cost) for row in rows]
    assert loss(scores(), LABELS, MASK, 0.05).tolist() == pytest.approx(expected, abs=1e-12)
    assert min(expected[:2]) > 0
    assert expected[2:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("loss", [Margin(), RankNet(), RankNet(scaled=True)])
def test_rows_without_a_pair_have_a_zero_gradient(loss: RankingLoss) -> None:
    scores_BC = scores().requires_grad_()
    loss(scores_BC, LABELS, MASK, 0.05).sum().backward()
    assert scores_BC.grad is not None
    assert scores_BC.grad.isfinite().all()
    assert not scores_BC.grad[2:].any()
    assert scores_BC.grad[:2].abs().sum() > 0


def test_by_hand() -> None:
    shown = (torch.tensor([[0.5, 0.4, 0.9]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3).bool(), 0.05)
    assert Margin()(*shown).item() == pytest.approx((0.1 + 0.6) / 2)
    assert RankNet()(*shown).item() == pytest.approx((0.644397 + 0.913015) / 2, abs=1e-6)


def test_the_temperature_matters_only_where_it_is_asked_for() -> None:
    for loss, matters in ((Margin(), False), (RankNet(), False), (RankNet(scaled=True), True)):
        cold, warm = (loss(scores(), LABELS, MASK, temperature) for temperature in (0.05, 1.0))
        assert torch.equal(cold, warm) != matters
    torch.testing.assert_close(
        RankNet(scaled=True)(scores(), LABELS, MASK, 1.0), RankNet()(scores(), LABELS, MASK, 1.0)
    )


def test_scores_far_apart_stay_finite() -> None:
    loss_B = RankNet(scaled=True)(
        torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.ones(1, 2).bool(), 5e-3
    )
    assert loss_B.item() == pytest.approx(400.0)


@pytest.mark.parametrize("margin", [0.0, -0.2, math.nan, math.inf])
def test_a_margin_that_asks_for_nothing_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="choose a number above 0"):
        Loss.named("margin", margin=margin)
