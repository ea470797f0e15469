"""The losses at the exact optima of [B]'s theorem 1, fed with every case that can be drawn, weighted by its chance.

Vectors have one dimension, users are 1 and an item's vector is its logit, so that logits are free.

Shape letters: N examples, M items, L draws, S multisets of draws.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from tastelab.losses.clrec import CLRec
from tastelab.losses.contrast import Contrast, Intents, Queued, Sampled
from tastelab.losses.enumeration import exact_optimum, ipw_optimum
from tastelab.losses.full_softmax import FullSoftmax
from tastelab.losses.ipw import IPW, BernoulliIPW
from tastelab.losses.multi_clrec import MultiCLRec
from tastelab.losses.sampled_softmax import SampledSoftmax

P = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
M = len(P)


def examples(logits_M: Tensor, ids_N: Tensor, **more: object) -> Contrast:
    ones_N1 = torch.ones(len(ids_N), 1, dtype=logits_M.dtype)
    positives_N1 = logits_M[ids_N].unsqueeze(1)
    one = torch.ones((), dtype=logits_M.dtype)
    return Contrast(ones_N1.unsqueeze(1), ones_N1, positives_N1, ids_N, one, **more)  # type: ignore[arg-type]


def queued(logits_M: Tensor, ids: tuple[int, ...]) -> Queued:
    ids_Q = torch.tensor(ids)
    return Queued(ids_Q, logits_M[ids_Q].unsqueeze(1), torch.ones(len(ids)).bool())


def slope(loss: Tensor, logits_M: Tensor) -> Tensor:
    (gradient_M,) = torch.autograd.grad(loss, logits_M)
    return gradient_M


def is_optimum(loss: object, optimum_M: Tensor) -> bool:
    """Whether the gradient vanishes there, and does not a little beside."""
    assert callable(loss)
    at_M = optimum_M.log().requires_grad_()
    beside_M = (optimum_M.log() + torch.tensor([0.01, 0.0, 0.0, -0.01]).double()).requires_grad_()
    assert slope(loss(beside_M), beside_M).abs().max() > 1e-4
    return bool(slope(loss(at_M), at_M).abs().max() < 1e-12)


def every_draw(logits_M: Tensor, q_M: Tensor, num_draws: int) -> tuple[Contrast, Tensor]:
    """Every positive with every ordered draw of negatives, and the chance of each."""
    cases = list(itertools.product(range(M), repeat=1 + num_draws))
    ids_N, draws_NL = torch.tensor(cases).split([1, num_draws], dim=1)
    ids_N = ids_N.squeeze(1)
    sampled = Sampled(draws_NL, logits_M[draws_NL].unsqueeze(2), q_M.log()[draws_NL], q_M.log()[ids_N])
    return examples(logits_M, ids_N, sampled=sampled), P[ids_N] * q_M[draws_NL].prod(dim=1)


@pytest.mark.parametrize("q_M", [P, Q], ids=["q is p", "q is not p"])
def test_drawn_negatives_with_and_without_log_q(q_M: Tensor) -> None:
    def expected(logits_M: Tensor, correct: bool) -> Tensor:
        contrast, chance_N = every_draw(logits_M, q_M, 2)
        loss = SampledSoftmax(2, correct=correct, distribution="true", shared=False)
        return (loss(contrast).loss_N * chance_N).sum()

    assert is_optimum(lambda logits_M: expected(logits_M, correct=True), P)
    assert is_optimum(lambda logits_M: expected(logits_M, correct=False), ipw_optimum(P, q_M))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("mask_hits", "deduplicate"), [(False, False), (True, False), (True, True), (False, True)], ids=str
)
def test_clrec_with_every_queue_of_two(mask_hits: bool, deduplicate: bool, cached: bool) -> None:
    loss = CLRec(2, cached=cached, in_batch=False, mask_hits=mask_hits, deduplicate=deduplicate)

    def expected(logits_M: Tensor) -> Tensor:
        total = torch.zeros(())
        for pair in itertools.product(range(M), repeat=2):
            terms = loss(examples(logits_M, torch.arange(M), queue=queued(logits_M, pair)))
            total = total + P[list(pair)].prod() * (P * terms.loss_N).sum()
        return total

    optimum_M = exact_optimum(
        P, P, 2, hits="masked" if mask_hits else "kept", duplicates="weighted" if deduplicate else "kept"
    )
    if cached:  # what is queued has no gradient, so an expectation over the same logits is not stationary
        logits_M = optimum_M.log().requires_grad_()
        assert slope(expected(logits_M), logits_M).abs().max() > 0.01
    else:
        assert is_optimum(expected, optimum_M)


@pytest.mark.parametrize("mask_hits", [False, True])
@pytest.mark.parametrize("deduplicate", [False, True])
def test_clrec_with_every_batch_of_three_and_no_queue(mask_hits: bool, deduplicate: bool) -> None:
    """The other two positives are two draws from p: the same optimum, and the positive itself is counted once."""
    loss = CLRec(0, mask_hits=mask_hits, deduplicate=deduplicate)

    def expected(logits_M: Tensor) -> Tensor:
        batches = torch.tensor(list(itertools.product(range(M), repeat=3)))
        return sum((P[ids].prod() * loss(examples(logits_M, ids)).loss_N.mean() for ids in batches), torch.zeros(()))

    hits, duplicates = "masked" if mask_hits else "kept", "weighted" if deduplicate else "kept"
    assert is_optimum(expected, exact_optimum(P, P, 2, hits=hits, duplicates=duplicates))


def test_multi_clrec_with_one_intent_and_both_queues() -> None:
    loss = MultiCLRec(1, 1, aux1=0.0, aux2=0.0, aux3=0.0)

    def expected(logits_M: Tensor) -> Tensor:
        total = torch.zeros(())
        for case in itertools.product(range(M), repeat=3):
            positive, main, own = torch.tensor(case)
            intents = Intents(
                weights_NH=torch.ones(1, 1).double(),
                log_routing_NH=torch.zeros(1, 1).double(),
                balance_H=torch.ones(1).double(),
                queue_ids_HR=own.view(1, 1),
                queue_vectors_HRD=logits_M[own].view(1, 1, 1),
                queue_mask_HR=torch.ones(1, 1).bool(),
            )
            more = {"queue": queued(logits_M, (int(main),)), "intents": intents}
            terms = loss(examples(logits_M, positive.view(1), **more))
            total = total + P[positive] * Q[main] * Q[own] * terms.loss_N.sum()
        return total

    assert is_optimum(expected, ipw_optimum(P, Q))


def weighted(loss: IPW, logits_M: Tensor, q_M: Tensor) -> Tensor:
    ids_N = torch.arange(M)
    contrast = examples(logits_M, ids_N, catalogue_MD=logits_M.unsqueeze(1), log_q_N=q_M.log())
    return (P * loss(contrast).loss_N).sum()


def test_ipw_and_maximum_likelihood() -> None:
    assert is_optimum(lambda logits_M: weighted(IPW("true"), logits_M, Q), ipw_optimum(P, Q))
    assert is_optimum(lambda logits_M: weighted(IPW("true", clip=1e9), logits_M, Q), ipw_optimum(P, Q))
    assert is_optimum(lambda logits_M: weighted(IPW("uniform"), logits_M, torch.full((M,), 1 / M).double()), P)

    def likelihood(logits_M: Tensor) -> Tensor:
        contrast = examples(logits_M, torch.arange(M), catalogue_MD=logits_M.unsqueeze(1))
        return (P * FullSoftmax()(contrast).loss_N).sum()

    assert is_optimum(likelihood, P)


def test_clipping_moves_the_optimum_towards_popular_items() -> None:
    bound = 1.0  # 1 / (4 q) is 2.5, 1.25, .83 and .625
    clipped_M = P * (1 / (4 * Q)).clamp(max=bound)
    assert is_optimum(lambda logits_M: weighted(IPW("true", clip=bound), logits_M, Q), clipped_M / clipped_M.sum())


def test_the_bernoulli_variant_divides_by_the_chance_to_be_shown_at_all() -> None:
    shown_M = 1 - (1 - Q) ** 3
    loss = BernoulliIPW("true", recommendations=3)
    assert is_optimum(lambda logits_M: weighted(loss, logits_M, Q), _share(P / shown_M))
    alone = BernoulliIPW("true", recommendations=1)
    logits_M = torch.randn(M, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(weighted(alone, logits_M, Q), weighted(IPW("true"), logits_M, Q))


def _share(values_M: Tensor) -> Tensor:
    return values_M / values_M.sum()


def full_gradient(logits_M: Tensor, positive: int) -> Tensor:
    contrast = examples(logits_M, torch.tensor([positive]), catalogue_MD=logits_M.unsqueeze(1))
    return slope(FullSoftmax()(contrast).loss_N.sum(), logits_M)


def test_the_gradient_of_sampled_softmax_approaches_that_of_the_full_softmax() -> None:
    """In expectation over every multiset of draws; its error falls like 1/L."""
    logits_M, positive = torch.tensor([1.0, -0.5, 0.3, 2.0]).double().requires_grad_(), 1

    def error(num_draws: int) -> float:
        draws_SL = torch.tensor(list(itertools.combinations_with_replacement(range(M), num_draws)))
        counts_SM = torch.nn.functional.one_hot(draws_SL, M).sum(dim=1)
        log_orders_S = math.lgamma(num_draws + 1) - torch.lgamma(counts_SM.double() + 1).sum(dim=1)
        chance_S = (log_orders_S + counts_SM.double() @ Q.log()).exp()
        ids_S = torch.full((len(draws_SL),), positive)
        sampled = Sampled(draws_SL, logits_M[draws_SL].unsqueeze(2), Q.log()[draws_SL], Q.log()[ids_S])
        loss = SampledSoftmax(num_draws, distribution="true", shared=False)
        total = (chance_S * loss(examples(logits_M, ids_S, sampled=sampled)).loss_N).sum()
        return float((slope(total, logits_M) - full_gradient(logits_M, positive)).abs().max())

    errors = [error(num_draws) for num_draws in (1, 2, 4, 8, 16, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.55 * errors[-2] < 0.55 * 0.7 * errors[-3]
    assert errors[-1] < 0.03


@pytest.mark.parametrize("num_draws", [1, 3])
def test_the_plain_importance_estimator_equals_the_full_gradient_in_expectation(num_draws: int) -> None:
    logits_M, positive = torch.tensor([1.0, -0.5, 0.3, 2.0]).double().requires_grad_(), 2
    share_M = torch.softmax(logits_M.detach(), dim=0)
    mean_M = torch.zeros(M).double()
    for draws in itertools.product(range(M), repeat=num_draws):
        estimate_M = torch.zeros(M).double()
        for draw in draws:
            estimate_M[draw] += share_M[draw] / Q[draw] / num_draws
        estimate_M[positive] -= 1.0
        mean_M += Q[list(draws)].prod() * estimate_M
    torch.testing.assert_close(mean_M, full_gradient(logits_M, positive))
