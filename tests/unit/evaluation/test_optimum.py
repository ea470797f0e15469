"""Known optima: by hand, by enumeration, by minimising the expected losses, and what is said of a model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from tastelab.data.exposure_truth import Truth
from tastelab.data.exposure_world import ExposureSpec, ExposureWorld
from tastelab.evaluation.optimum import (
    by_popularity,
    contrasted,
    contrasted_by_intent,
    divergence,
    exact_kl,
    exact_optima,
    learned,
    mean_divergence,
    report,
)
from tastelab.losses.enumeration import exact_optimum, ipw_optimum

INTENTS = np.array([0, 0, 1, 1, -1, -1])


@pytest.fixture
def truth() -> Truth:
    """Two states and four items; two more, never shown, name the states."""
    q_SN = np.array([[0.6, 0.2, 0.15, 0.05, 0, 0], [0.3, 0.1, 0.2, 0.4, 0, 0]])
    click_SN = np.array([[0.1, 0.3, 0.5, 0.7, 0, 0], [0.2, 0.8, 0.2, 0.1, 0, 0]])
    return Truth(click_SN, q_SN, np.array([-1, -1, -1, -1, 0, 1]), np.array([0.25, 0.75]))


def minimised(loss: Callable[[torch.Tensor], torch.Tensor], num_items: int = 4) -> np.ndarray:
    """Return the softmax of the logits that an expected loss is least at."""
    logits = torch.zeros(num_items, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    for _ in range(4):
        optimiser.step(step)
    return torch.softmax(logits.detach(), 0).numpy()


def test_the_optimum_by_hand(truth: Truth) -> None:
    np.testing.assert_allclose(truth.optimum_SN[0], np.array([1, 3, 5, 7, 0, 0]) / 16)
    np.testing.assert_allclose(truth.data_SN[1], np.array([6, 8, 4, 4, 0, 0]) / 22)
    np.testing.assert_allclose(truth.q_N, np.array([0.375, 0.125, 0.1875, 0.3125, 0, 0]))


@pytest.mark.parametrize("state", [0, 1])
def test_both_sides_of_theorem_one_are_the_known_optimum(truth: Truth, state: int) -> None:
    p, q = truth.data_SN[state, :4], truth.q_SN[state, :4]
    for found in (ipw_optimum(p.tolist(), q.tolist()), exact_optimum(p.tolist(), q.tolist(), num_negatives=3)):
        np.testing.assert_allclose(found, truth.optimum_SN[state, :4], atol=1e-8)
    np.testing.assert_allclose(exact_optimum(p.tolist(), q.tolist(), 3, log_q=True), p, atol=1e-8)


def test_other_negatives_have_the_optimum_that_enumeration_finds(truth: Truth) -> None:
    found = contrasted(truth, truth.data_N)
    for state in (0, 1):
        oracle = exact_optimum(truth.data_SN[state, :4].tolist(), truth.data_N[:4].tolist(), num_negatives=3)
        np.testing.assert_allclose(found[state, :4], oracle, atol=1e-8)
    np.testing.assert_array_equal(found, exact_optima(truth)["clrec"])
    assert not np.allclose(found, truth.optimum_SN, atol=0.01)


@pytest.mark.parametrize(
    ("method", "weight"),
    [
        ("naive", lambda q, p: torch.ones_like(q)),
        ("ipw", lambda q, p: 1 / q),
        ("ipw_clipped", lambda q, p: (1 / (6 * q)).clamp(max=1.5)),
        ("bernoulli_ipw", lambda q, p: 1 / (1 - (1 - q) ** 5)),
        ("ipw_estimated", lambda q, p: 1 / p),
    ],
)
def test_weighted_losses_are_least_where_it_is_said(
    truth: Truth, method: str, weight: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    optimum_SN = exact_optima(truth, clip=1.5, recommendations=5)[method]
    marginal = torch.from_numpy(truth.data_N[:4])
    for state in (0, 1):
        p, q = (torch.from_numpy(values[state, :4].copy()) for values in (truth.data_SN, truth.q_SN))
        weights = p * weight(q, marginal)
        found = minimised(lambda logits, weights=weights: -(weights * torch.log_softmax(logits, 0)).sum())
        np.testing.assert_allclose(found, optimum_SN[state, :4], atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.2, 1.0])
def test_negatives_by_intent_are_least_where_it_is_said(truth: Truth, smoothing: float) -> None:
    clicks = truth.data_N[:4]
    within = np.array([clicks[:2] / clicks[:2].sum(), clicks[2:] / clicks[2:].sum()])
    noise_HN = np.zeros((2, 4))
    noise_HN[0, :2], noise_HN[1, 2:] = within
    noise_NN = torch.from_numpy(((noise_HN + smoothing * clicks) / (1 + smoothing))[INTENTS[:4]])
    found_SN = contrasted_by_intent(truth, INTENTS, smoothing)
    for state in (0, 1):
        p = torch.from_numpy(truth.data_SN[state, :4].copy())

        def loss(logits: torch.Tensor, p: torch.Tensor = p) -> torch.Tensor:
            return (p * (torch.logsumexp(noise_NN.log() + logits, dim=1) - logits)).sum()

        np.testing.assert_allclose(found_SN[state, :4], minimised(loss), atol=1e-6)
    assert not found_SN[:, 4:].any()


def test_one_intent_is_clrec(truth: Truth) -> None:
    found = contrasted_by_intent(truth, np.zeros(6, np.int64))
    np.testing.assert_allclose(found, contrasted(truth, truth.data_N), atol=1e-9)


def test_by_intent_is_nearer_than_without_where_the_policy_mixes_intents() -> None:
    world = ExposureWorld(ExposureSpec(1, 1))
    truth = world.truth()
    intents = np.concatenate([world.intent_N, np.full(8, -1)])
    naive, clrec, multi = (exact_kl(method, truth, intent_N=intents) for method in ("naive", "clrec", "multi_clrec"))
    assert 0.05 < multi < 0.5 * clrec < 0.25 * naive
    assert exact_kl("ipw", truth) == exact_kl("contrastive", truth) == pytest.approx(0, abs=1e-12)


def test_the_same_policy_for_all_leaves_the_clicks_of_an_item_alone() -> None:
    """With one state, negatives from p_data take away everything; from q, what the policy did."""
    truth = ExposureWorld(ExposureSpec(1, 1, num_states=1, num_intents=1)).truth()
    optima = exact_optima(truth)
    np.testing.assert_allclose(optima["clrec"][0, :200], 1 / 200)
    np.testing.assert_allclose(optima["contrastive_marginal"], truth.optimum_SN)


def test_divergences_are_those_of_scipy(truth: Truth) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    found = divergence(truth.optimum_SN, learned(truth, logits))
    for state in (0, 1):
        shown = np.exp(logits[state, :4].astype(np.float64))
        assert found[state] == pytest.approx(entropy(truth.optimum_SN[state, :4], shown / shown.sum()))
    with np.errstate(divide="ignore"):
        assert mean_divergence(truth, truth.data_SN) == pytest.approx(exact_kl("naive", truth))
    assert exact_kl("naive", truth) == pytest.approx(
        np.mean([entropy(truth.optimum_SN[s, :4], truth.data_SN[s, :4]) for s in (0, 1)])
    )


def test_what_is_never_shown_and_constants_do_not_matter(truth: Truth) -> None:
    logits = np.random.default_rng(1).normal(size=(2, 6))
    other = logits + np.array([[700.0], [-900.0]])
    other[:, 4:] = 1e6
    np.testing.assert_allclose(learned(truth, other), learned(truth, logits), atol=1e-9)
    assert np.isneginf(learned(truth, logits)[:, 4:]).all()


def test_a_report_says_how_far_a_model_is(truth: Truth) -> None:
    with np.errstate(divide="ignore"):
        perfect, naive = (report(truth, np.log(p_SN), INTENTS) for p_SN in (truth.optimum_SN, truth.data_SN))
    assert perfect["kl"]["mean"] == pytest.approx(0, abs=1e-12) and perfect["kl"]["n"] == 2
    assert naive["kl"]["mean"] == pytest.approx(naive["exact"]["naive"]) == np.mean(naive["kl_per_state"])
    assert naive["exact"] == {name: exact_kl(name, truth, intent_N=INTENTS) for name in naive["exact"]}
    assert "multi_clrec" in naive["exact"] and "multi_clrec" not in report(truth, np.zeros((2, 6)))["exact"]
    assert naive["learned"] == pytest.approx(naive["naive"]) and perfect["learned"] == pytest.approx(perfect["known"])
    json.dumps([perfect, naive], allow_nan=False)


def test_mass_is_summed_from_the_most_clicked_to_the_least(truth: Truth) -> None:
    order = (-truth.data_N[:4]).argsort()
    found = by_popularity(truth, {"known": truth.optimum_SN}, num_groups=2)
    assert found["bins"] == pytest.approx([truth.data_N[order[0]], truth.data_N[order[2]]])
    known_N = truth.share_S @ truth.optimum_SN
    assert found["known"] == pytest.approx([known_N[order[:2]].sum(), known_N[order[2:]].sum()])
    assert sum(by_popularity(truth, {"known": truth.optimum_SN})["known"]) == pytest.approx(1)
    assert all(a >= b for a, b in itertools.pairwise(found["bins"]))


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda truth: learned(truth, np.zeros((2, 4))), r"has \(2, 6\) states and items: give that many logits"),
        (lambda truth: learned(truth, np.full((2, 6), np.nan)), "not numbers: the model has diverged"),
        (lambda truth: exact_kl("magic", truth), "optimum is known of 'magic': choose one of naive, logq"),
        (lambda truth: exact_kl("multi_clrec", truth), "optimum is known of 'multi_clrec'"),
        (lambda truth: contrasted_by_intent(truth, INTENTS, 0.0), "smoothing of Multi-CLRec is above 0, not 0.0"),
    ],
)
def test_what_cannot_be_told_is_refused(act: Callable[[Truth], object], sentence: str, truth: Truth) -> None:
    with pytest.raises(ValueError, match=sentence):
        act(truth)
