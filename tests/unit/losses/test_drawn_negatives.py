"""Full softmax, negative sampling and sampled softmax against slow loops, and what they ask for and refuse.

Shape letters: N examples, L draws, M items, D width.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.losses.contrast import Contrast, Sampled, Wants
from tastelab.losses.full_softmax import FullSoftmax
from tastelab.losses.negative_sampling import NegativeSampling
from tastelab.losses.sampled_softmax import SampledSoftmax

N, L, M, D = 3, 4, 6, 5
TEMPERATURE = 0.3


def contrast(shared: bool) -> Contrast:
    generator = torch.Generator().manual_seed(1)
    users_ND = normalize(torch.randn(N, D, generator=generator, dtype=torch.float64), dim=-1)
    items_MD = normalize(torch.randn(M, D, generator=generator, dtype=torch.float64), dim=-1)
    ids_N, draws = torch.tensor([0, 3, 3]), torch.tensor([[3, 3, 1, 5], [2, 4, 4, 0], [3, 0, 1, 2]])
    draws = draws[0] if shared else draws  # hits and duplicates among them
    log_p_M = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.06, 0.04], dtype=torch.float64).log()
    sampled = Sampled(draws, items_MD[draws], log_p_M[draws], log_p_M[ids_N])
    return Contrast(
        users_ND.unsqueeze(1), users_ND, items_MD[ids_N], ids_N, torch.tensor(TEMPERATURE), sampled, None, items_MD
    )


def logit(user_D: Tensor, item_D: Tensor) -> float:
    return sum(a * b for a, b in zip(user_D.tolist(), item_D.tolist(), strict=True)) / TEMPERATURE


def rows(given: Contrast) -> list[tuple[float, list[float], float, list[float]]]:
    """Of each example, by loops: its positive's logit, its negatives', and their log-probabilities."""
    assert given.sampled is not None
    found = []
    for n, user_D in enumerate(given.users_ND):
        drawn = given.sampled if given.sampled.ids.dim() == 1 else None
        vectors_LD = given.sampled.vectors if drawn else given.sampled.vectors[n]
        log_p_L = given.sampled.log_p if drawn else given.sampled.log_p[n]
        negatives = [logit(user_D, vector_D) for vector_D in vectors_LD]
        own = float(given.sampled.log_p_positive_N[n])
        found.append((logit(user_D, given.positives_ND[n]), negatives, own, log_p_L.tolist()))
    return found


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("shared", [False, True])
def test_negative_sampling_equals_a_slow_loop(shared: bool) -> None:
    terms = NegativeSampling(L, shared=shared)(contrast(shared))
    clicked = [-math.log(sigmoid(positive)) for positive, *_ in rows(contrast(shared))]
    drawn = [-sum(math.log(sigmoid(-value)) for value in values) / L for _, values, *_ in rows(contrast(shared))]
    assert terms.loss_N.tolist() == pytest.approx([a + b for a, b in zip(clicked, drawn, strict=True)])
    assert terms.parts["positive"].item() == pytest.approx(sum(clicked) / N)
    assert terms.parts["negative"].item() == pytest.approx(sum(drawn) / N)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("correct", [False, True])
def test_sampled_softmax_equals_a_slow_loop_with_hits_and_duplicates_kept(shared: bool, correct: bool) -> None:
    expected = []
    for positive, negatives, own, log_p in rows(contrast(shared)):
        top = math.exp(positive - own * correct)
        bottom = sum(math.exp(value - each * correct) for value, each in zip(negatives, log_p, strict=True))
        expected.append(-math.log(top / (top + bottom)))
    loss_N = SampledSoftmax(L, correct=correct, shared=shared)(contrast(shared)).loss_N
    assert loss_N.tolist() == pytest.approx(expected)


def test_full_softmax_equals_a_slow_loop() -> None:
    given = contrast(shared=True)
    assert given.catalogue_MD is not None
    expected = []
    for user_D, own in zip(given.users_ND, given.positive_ids_N.tolist(), strict=True):
        exps = [math.exp(logit(user_D, item_D)) for item_D in given.catalogue_MD]
        expected.append(-math.log(exps[own] / sum(exps)))
    assert FullSoftmax()(given).loss_N.tolist() == pytest.approx(expected)


def test_sampled_softmax_with_each_item_drawn_once_is_the_full_softmax_but_for_the_positive_counted_twice() -> None:
    given = contrast(shared=True)
    assert given.catalogue_MD is not None
    even_M = torch.full((M,), -math.log(M), dtype=torch.float64)
    sampled = Sampled(torch.arange(M), given.catalogue_MD, even_M, even_M[given.positive_ids_N])
    once_N = FullSoftmax()(given).loss_N
    twice_N = SampledSoftmax(M)(dataclasses.replace(given, sampled=sampled)).loss_N
    torch.testing.assert_close(twice_N, (once_N.exp() + 1).log())


@pytest.mark.parametrize("missing", [-math.inf, math.nan])
def test_a_positive_that_is_never_drawn_counts_nothing_and_spoils_no_gradient(missing: float) -> None:
    given = contrast(shared=True)
    assert given.sampled is not None
    log_p_N = given.sampled.log_p_positive_N.clone()
    log_p_N[1] = missing
    users_ND = given.users_ND.clone().requires_grad_()
    sampled = dataclasses.replace(given.sampled, log_p_positive_N=log_p_N)
    loss_N = SampledSoftmax(L)(dataclasses.replace(given, users_ND=users_ND, sampled=sampled)).loss_N
    loss_N.sum().backward()
    assert users_ND.grad is not None
    assert loss_N.tolist() == [
        SampledSoftmax(L)(given).loss_N[0].item(),
        0.0,
        SampledSoftmax(L)(given).loss_N[2].item(),
    ]
    assert users_ND.grad.isfinite().all()
    assert users_ND.grad.any(dim=1).tolist() == [True, False, True]


def test_what_they_ask_for() -> None:
    assert FullSoftmax().wants(10) == Wants(catalogue=True)
    assert NegativeSampling(7).wants(10) == Wants(sampled=7, shared=False, distribution="clicks", power=0.75)
    assert NegativeSampling(7, shared=True, power=1.0).wants(10) == Wants(sampled=7, shared=True)
    assert SampledSoftmax(7, distribution="logged").wants(10) == Wants(sampled=7, distribution="logged")
    truly = SampledSoftmax(7, correct=False, distribution="true", shared=False)
    assert truly.wants(10) == Wants(sampled=7, shared=False, distribution="true")


def test_what_they_refuse() -> None:
    FullSoftmax().check(200_000, 1)
    with pytest.raises(
        ValueError, match=r"at most 200,000, the catalogue has 200,001: choose sampled_softmax or clrec"
    ):
        FullSoftmax().check(200_001, 10**9)
    for negatives in (0, -1):
        with pytest.raises(ValueError, match=rf"negatives is {negatives}: choose 1 or more"):
            NegativeSampling(negatives)
        with pytest.raises(ValueError, match=rf"negatives is {negatives}: choose 1 or more"):
            SampledSoftmax(negatives)
    with pytest.raises(ValueError, match="'popular': choose one of uniform, clicks, logged, true"):
        SampledSoftmax(distribution="popular")
    with pytest.raises(ValueError, match="set shared to False"):
        SampledSoftmax(distribution="true")
