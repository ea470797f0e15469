"""Inverse propensity weights by hand, clipped and normalised, exact and sampled.

Shape letters: N examples, M items, L draws.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tastelab.losses.contrast import Contrast, Sampled, Wants
from tastelab.losses.full_softmax import FullSoftmax
from tastelab.losses.ipw import IPW, MOST_EXACT, BernoulliIPW
from tastelab.losses.sampled_softmax import SampledSoftmax

Q_M = [0.5, 0.3, 0.15, 0.05]
IDS = [0, 3, 2, 0]
LOG_Q_M = torch.tensor(Q_M, dtype=torch.float64).log()
WEIGHTS = [0.5, 5.0, 1 / 0.6, 0.5]
"""1 / (4 q) of those items."""


def contrast() -> Contrast:
    generator = torch.Generator().manual_seed(4)
    users_ND = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    items_MD = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    ids_N = torch.tensor(IDS)
    one = torch.tensor(1.0, dtype=torch.float64)
    given = Contrast(users_ND.unsqueeze(1), users_ND, items_MD[ids_N], ids_N, one, catalogue_MD=items_MD)
    return dataclasses.replace(given, log_q_N=LOG_Q_M[ids_N])


def nll() -> list[float]:
    values: list[float] = FullSoftmax()(contrast()).loss_N.tolist()
    return values


def test_each_example_weighs_one_over_the_catalogue_and_its_propensity() -> None:
    terms = IPW()(contrast())
    assert terms.loss_N.tolist() == pytest.approx([w * each for w, each in zip(WEIGHTS, nll(), strict=True)])
    assert terms.parts["nll"].item() == pytest.approx(sum(nll()) / 4)
    assert terms.parts["weight_max"].item() == pytest.approx(5.0)
    assert terms.parts["effective"].item() == pytest.approx(sum(WEIGHTS) ** 2 / (4 * sum(w * w for w in WEIGHTS)))
    assert terms.parts["clipped"].item() == terms.parts["without_q"].item() == 0.0


def test_the_mean_weight_under_q_itself_is_1_whatever_q_is() -> None:
    log_q_N = torch.tensor([0.9, 0.09, 0.0099, 0.0001], dtype=torch.float64).log()
    assert float(log_q_N.exp() @ IPW().weights(log_q_N, 4)) == pytest.approx(1.0)


def test_a_clip_bounds_the_weight_and_says_how_often() -> None:
    terms = IPW(clip=1.0)(contrast())
    assert terms.loss_N.tolist() == pytest.approx([0.5 * nll()[0], nll()[1], nll()[2], 0.5 * nll()[3]])
    assert terms.parts["clipped"].item() == 0.5
    assert terms.parts["weight_max"].item() == 1.0


def test_self_normalised_weights_have_the_mean_1_and_keep_their_ratios() -> None:
    loss_N = IPW(self_normalise=True, clip=1.0)(contrast()).loss_N
    weights = [loss / each for loss, each in zip(loss_N.tolist(), nll(), strict=True)]
    assert weights == pytest.approx([2 / 3, 4 / 3, 4 / 3, 2 / 3])


def test_uniform_propensities_are_maximum_likelihood() -> None:
    even_N = torch.full((4,), -math.log(4.0), dtype=torch.float64)
    loss_N = IPW("uniform")(dataclasses.replace(contrast(), log_q_N=even_N)).loss_N
    assert loss_N.tolist() == pytest.approx(nll())


@pytest.mark.parametrize("missing", [-math.inf, math.nan])
@pytest.mark.parametrize("loss", [IPW(), IPW(self_normalise=True), BernoulliIPW()])
def test_a_click_without_a_propensity_counts_nothing_and_is_reported(loss: IPW, missing: float) -> None:
    given = contrast()
    assert given.log_q_N is not None
    users_ND = given.users_ND.clone().requires_grad_()
    log_q_N = torch.where(torch.arange(4) == 1, missing, given.log_q_N)
    terms = loss(dataclasses.replace(given, users_ND=users_ND, log_q_N=log_q_N))
    terms.loss_N.sum().backward()
    assert users_ND.grad is not None
    assert users_ND.grad.isfinite().all()
    assert users_ND.grad.any(dim=1).tolist() == [True, False, True, True]
    assert terms.loss_N[1].item() == 0.0
    assert terms.parts["without_q"].item() == 0.25
    if loss.self_normalise:
        weights = [terms.loss_N[n].item() / nll()[n] for n in (0, 2, 3)]
        assert sum(weights) == pytest.approx(3.0)


def test_nothing_known_at_all_is_0_and_not_nan() -> None:
    given = dataclasses.replace(contrast(), log_q_N=torch.full((4,), -math.inf))
    terms = IPW(self_normalise=True)(given)
    assert terms.loss_N.tolist() == [0.0] * 4
    assert all(part.isfinite() for part in terms.parts.values())


def test_bernoulli_weights_by_hand() -> None:
    loss_N = BernoulliIPW(recommendations=2)(contrast()).loss_N
    weights = [2 / (4 * (1 - (1 - Q_M[item]) ** 2)) for item in IDS]
    assert loss_N.tolist() == pytest.approx([w * each for w, each in zip(weights, nll(), strict=True)])


@pytest.mark.parametrize("q", [1e-12, 1e-30, 1.0])
def test_weights_stay_accurate_in_float32_for_a_rare_and_for_a_certain_item(q: float) -> None:
    log_q_N = torch.tensor([q]).log()
    many = BernoulliIPW(recommendations=10).weights(log_q_N, 1_000)
    assert many.item() == pytest.approx(0.01 if q == 1.0 else 1e-3 / q, rel=1e-4)
    assert IPW().weights(log_q_N, 1_000).item() == pytest.approx(1e-3 / q, rel=1e-4)


@pytest.mark.parametrize("propensity", ["clicks", "true"])
def test_a_large_catalogue_is_sampled_from_q_and_corrected_by_it(propensity: str) -> None:
    loss = IPW(propensity, negatives=5)
    assert loss.wants(MOST_EXACT) == Wants(catalogue=True, propensity=propensity)
    shared = propensity == "clicks"
    assert loss.wants(MOST_EXACT + 1) == Wants(5, shared, propensity, propensity=propensity)

    given = contrast()
    assert given.catalogue_MD is not None
    assert given.log_q_N is not None
    draws = torch.tensor([0, 1, 1, 3, 2])
    draws = draws if shared else draws.expand(4, -1)
    sampled = Sampled(draws, given.catalogue_MD[draws], LOG_Q_M[draws], given.log_q_N)
    large = dataclasses.replace(given, sampled=sampled, catalogue_MD=None, num_items=8)
    estimates = SampledSoftmax(5)(large).loss_N.tolist()
    assert loss(large).loss_N.tolist() == pytest.approx([w / 2 * n for w, n in zip(WEIGHTS, estimates, strict=True)])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="propensity is 'guessed': choose one of uniform, clicks, logged, true"):
        IPW("guessed")
    for clip in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=rf"clipped at {clip}: choose a number above 0"):
            IPW(clip=clip)
    with pytest.raises(ValueError, match="negatives is 0"):
        BernoulliIPW(negatives=0)
    with pytest.raises(ValueError, match="recommendations is 0: choose 1 or more"):
        BernoulliIPW(recommendations=0)
