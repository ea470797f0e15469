"""InfoNCE and MINCE against a slow loop, and the rows and slots that must not count.

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tastelab.config import Loss
from tastelab.losses.base import RankingLoss
from tastelab.losses.ranking import MINCE, InfoNCE

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).float()
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
"""Two positives; padding; the positive masked; no positive; all masked."""


def scores() -> Tensor:
    return torch.rand(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1


def slow_mince(row: list[float], labels: list[float], mask: list[bool], temperature: float) -> float:
    """The definition, term by term."""
    valid = [math.exp(s / temperature) for s, m in zip(row, mask, strict=True) if m]
    positives = [s for s, y, m in zip(row, labels, mask, strict=True) if y and m]
    terms = [-math.log(math.exp(s / temperature) / sum(valid)) for s in positives]
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("loss", [MINCE(), InfoNCE()])
def test_the_loss_equals_a_slow_loop(loss: RankingLoss, temperature: float) -> None:
    loss_B = loss(scores(), LABELS, MASK, temperature)
    rows = zip(scores().tolist(), LABELS.tolist(), MASK.tolist(), strict=True)
    assert loss_B.tolist() == pytest.approx([slow_mince(*row, temperature) for row in rows], abs=1e-10)


def test_one_positive_is_cross_entropy() -> None:
    scores_BC = scores()
    target_B = torch.tensor([2, 0, 4, 1, 3])
    labels_BC = torch.nn.functional.one_hot(target_B, 5).float()
    expected_B = torch.nn.functional.cross_entropy(scores_BC / 0.05, target_B, reduction="none")
    torch.testing.assert_close(InfoNCE()(scores_BC, labels_BC, torch.ones(5, 5).bool(), 0.05), expected_B)


def test_the_denominator_holds_the_other_positives() -> None:
    loss_B = MINCE()(torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.ones(1, 4).bool(), 0.05)
    assert loss_B.item() == pytest.approx(math.log(4))


def test_a_masked_slot_changes_nothing() -> None:
    disturbed_BC = scores().masked_fill(~MASK, 50.0)
    disturbed = MINCE()(disturbed_BC, torch.where(MASK, LABELS, 1.0 - LABELS), MASK, 0.05)
    torch.testing.assert_close(disturbed, MINCE()(scores(), LABELS, MASK, 0.05))


def test_rows_without_a_positive_are_zero_with_a_zero_gradient() -> None:
    scores_BC = scores().requires_grad_()
    loss_B = MINCE()(scores_BC, LABELS, MASK, 0.05)
    assert loss_B[2:].tolist() == [0.0, 0.0, 0.0]
    loss_B.sum().backward()
    assert scores_BC.grad is not None
    assert scores_BC.grad.isfinite().all()
    assert not scores_BC.grad[2:].any()
    assert not scores_BC.grad[~MASK].any()
    assert scores_BC.grad[:2].abs().sum() > 0


def test_gradients_equal_finite_differences() -> None:
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, t: MINCE()(s, LABELS, MASK, t), (scores().requires_grad_(), temperature), atol=1e-6
    )


def test_half_precision_scores_are_raised_to_float32() -> None:
    loss_B = MINCE()(scores().bfloat16(), LABELS, MASK, 0.05)
    assert loss_B.dtype is torch.float32
    torch.testing.assert_close(loss_B, MINCE()(scores().bfloat16().float(), LABELS, MASK, 0.05))


def test_extreme_scores_stay_finite() -> None:
    loss_B = MINCE()(torch.tensor([[-1.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.ones(1, 2).bool(), 0.005)
    assert loss_B.item() == pytest.approx(400.0)


def test_names_and_what_the_sampler_is_told() -> None:
    assert Loss.named("infonce") == InfoNCE()
    assert Loss.named("mince") == MINCE()
    assert (InfoNCE.single_positive, MINCE.single_positive) == (True, False)
    with pytest.raises(ValueError, match="bce, cosine_embedding, infonce, margin, mince, ranknet"):
        Loss.named("mine")
