"""Additive attention against a slow loop, and where it starts.

Shape letters: B impressions, H history slots, C candidate slots, D width, Q width of the query.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.config import Pooling
from tastelab.modeling.attention import AdditiveAttention, Attention, AttentionPool
from tastelab.modeling.pooling import Mean
from tastelab.modeling.scorers import Cosine

D, Q = 6, 4
HISTORY = (5, 3, 0, 1)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    history_BHD = normalize(torch.randn(4, 5, D, generator=generator, dtype=torch.float64), dim=-1)
    candidates_BCD = normalize(torch.randn(4, 3, D, generator=generator, dtype=torch.float64), dim=-1)
    return history_BHD, torch.arange(5) < torch.tensor(HISTORY)[:, None], candidates_BCD


def trained() -> AttentionPool:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Attention(query_width=Q).build(D).double()
        assert isinstance(module, AttentionPool)
        module.attention.query_Q.data.normal_()
    return module


def slow_weights(vectors: list[list[float]], attention: AdditiveAttention) -> list[float]:
    """`softmax(qᵀ tanh(W h + b))`, number by number."""
    matrix, shift, query = attention.hidden.weight.tolist(), attention.hidden.bias.tolist(), attention.query_Q.tolist()
    logits = []
    for vector in vectors:
        hidden = [
            sum(w * h for w, h in zip(row, vector, strict=True)) + b for row, b in zip(matrix, shift, strict=True)
        ]
        logits.append(sum(q * math.tanh(value) for q, value in zip(query, hidden, strict=True)))
    total = sum(map(math.exp, logits))
    return [math.exp(logit) / total for logit in logits]


def test_scores_equal_a_slow_loop() -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    module = trained()
    scores = module(history_BHD, mask_BH, candidates_BCD, Cosine().build(D)).tolist()
    for b, length in enumerate(HISTORY):
        past = history_BHD[b, :length]
        weights = slow_weights((past * math.sqrt(D)).tolist(), module.attention)
        user_D = sum((w * vector for w, vector in zip(weights, past, strict=True)), torch.zeros(D).double())
        for c in range(3):
            expected = float(torch.cosine_similarity(user_D, candidates_BCD[b, c], dim=0)) if length else 0.0
            assert scores[b][c] == pytest.approx(expected, abs=1e-12)


def test_weights_sum_to_1_over_real_slots_and_to_0_over_none() -> None:
    history_BHD, mask_BH, _ = inputs()
    weights_BH = trained().attention.weights(history_BHD, mask_BH)
    torch.testing.assert_close(weights_BH.sum(dim=1), torch.tensor([1.0, 1.0, 0.0, 1.0]).double())
    assert not weights_BH[~mask_BH].any()
    assert weights_BH[0].max() - weights_BH[0].min() > 0.1


def test_it_starts_as_the_mean() -> None:
    scores_BC = Attention().build(D).double()(*inputs(), Cosine().build(D))
    torch.testing.assert_close(scores_BC, Mean().build(D).double()(*inputs(), Cosine().build(D)))


def test_the_query_learns_from_the_start() -> None:
    module = Attention().build(D).double()
    module(*inputs(), Cosine().build(D)).sum().backward()
    assert module.get_parameter("attention.query_Q").grad.abs().sum() > 1e-3


def test_its_name_and_the_width_of_its_query() -> None:
    pooling = Pooling.named("attention")
    assert pooling == Attention(query_width=200)
    assert Attention(query_width=7).build(D).get_parameter("attention.hidden.weight").shape == (7, D)
