"""BCE and cosine embedding against slow loops over slots, and what they refuse.

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tastelab.config import Loss
from tastelab.losses.pointwise import BCE, CosineEmbedding

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]).float()
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 0, 1, 1, 0]]).bool()
"""Two positives; padding; no negative; no positive; the positive masked."""


def scores() -> Tensor:
    return torch.rand(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1


def valid_slots() -> list[list[tuple[float, bool]]]:
    """(score, whether positive) of each row's valid slots; none where no positive is among them."""
    rows = zip(scores().tolist(), LABELS.tolist(), MASK.tolist(), strict=True)
    slots = [[(s, y == 1) for s, y, valid in zip(*row, strict=True) if valid] for row in rows]
    return [row if any(positive for _, positive in row) else [] for row in slots]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@pytest.mark.parametrize(("temperature", "bias"), [(0.05, 0.0), (0.3, -1.5)])
def test_bce_equals_a_slow_loop(temperature: float, bias: float) -> None:
    def probability(score: float) -> float:
        return 1 / (1 + math.exp(-(score / temperature + bias)))

    expected = [mean([-math.log(probability(s) if y else 1 - probability(s)) for s, y in row]) for row in valid_slots()]
    loss_B = BCE()(scores(), LABELS, MASK, temperature, bias=bias)
    assert loss_B.tolist() == pytest.approx(expected, abs=1e-9)
    assert min(expected[:3]) > 0
    assert expected[3:] == [0.0, 0.0]


def test_the_bias_of_bce_is_learned_and_starts_at_0() -> None:
    assert dict(BCE.learned) == {"bias": 0.0}
    bias = torch.zeros((), requires_grad=True)
    loss_B = BCE()(scores().float(), LABELS, MASK, 0.05, bias=bias)
    assert torch.equal(loss_B, BCE()(scores().float(), LABELS, MASK, 0.05))
    loss_B.sum().backward()
    assert bias.grad is not None
    residuals = [[1 / (1 + math.exp(-s / 0.05)) - y for s, y in row] for row in valid_slots()]
    assert bias.grad.item() == pytest.approx(sum(map(mean, residuals)), abs=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.3, -0.5])
def test_cosine_embedding_equals_a_slow_loop(margin: float) -> None:
    expected = [mean([1 - s if y else max(0.0, s - margin) for s, y in row]) for row in valid_slots()]
    loss_B = CosineEmbedding(margin)(scores(), LABELS, MASK, 0.05)
    assert loss_B.tolist() == pytest.approx(expected, abs=1e-12)
    assert min(expected[:3]) > 0
    assert expected[3:] == [0.0, 0.0]


def test_cosine_embedding_equals_torch_on_vectors() -> None:
    generator = torch.Generator().manual_seed(1)
    users_ND, items_ND = (torch.randn(8, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    labels_N = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    expected = torch.nn.functional.cosine_embedding_loss(users_ND, items_ND, 2 * labels_N - 1, margin=0.0)
    scores_BC = torch.cosine_similarity(users_ND, items_ND)[None]
    loss_B = CosineEmbedding()(scores_BC, labels_N[None], torch.ones(1, 8).bool(), 0.05)
    torch.testing.assert_close(loss_B[0], expected)


@pytest.mark.parametrize("margin", [1.5, -1.01, math.nan])
def test_a_margin_that_is_no_similarity_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="choose a similarity from -1 to 1"):
        Loss.named("cosine_embedding", margin=margin)
