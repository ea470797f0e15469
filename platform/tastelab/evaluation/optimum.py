"""The known optimum of a world whose policy and preferences are known, and how far a model is from it ([B], Theorem 1).

Theorem 1: the contrastive loss with negatives from q and the IPW loss with weights 1/q have one optimum,
r(y|x) ∝ p_data(y|x) / q(y|x). What other losses have in its place is known as well: in a world of few states and items
it is computed to the last digit.

Shape letters: S states, N items, H intents, B groups of items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tastelab.data.exposure_truth import Floats, Ints, Truth, normalised
from tastelab.metrics.intervals import bootstrap_mean

GROUPS = 10
TOLERANCE = 1e-10
MAX_ROUNDS = 20_000

Logits = npt.NDArray[np.floating[Any]]


def learned(truth: Truth, logits_SN: Logits) -> Floats:
    """Return log p_θ(y|x): the log-softmax of a model's logits over the items that the policy ever shows in a state.

    Of other items no loss can learn how well they are liked; they get −∞.

    Raises:
        ValueError: the logits are not one for each state and item, or not numbers.
    """
    if logits_SN.shape != truth.q_SN.shape:
        raise ValueError(f"The world has {truth.q_SN.shape} states and items: give that many logits.")
    if np.isnan(logits_SN).any():
        raise ValueError("Some logits are not numbers: the model has diverged, so lower its learning rate.")
    shown_SN = np.where(truth.shown_SN, logits_SN.astype(np.float64), -np.inf)
    top_S1 = shown_SN.max(axis=1, keepdims=True)
    return np.asarray(shown_SN - top_S1 - np.log(np.exp(shown_SN - top_S1).sum(axis=1, keepdims=True)))


def divergence(known_SN: Floats, log_p_SN: Floats) -> Floats:
    """Return KL(known ‖ p) of each state, in nats; items of known probability 0 count nothing."""
    possible_SN = known_SN > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms_SN = known_SN * (np.log(known_SN) - log_p_SN)
    return np.asarray(np.where(possible_SN, terms_SN, 0.0).sum(axis=1))


def report(truth: Truth, logits_SN: Logits, intent_N: Ints | None = None) -> dict[str, Any]:
    """Return all that a record says of a model and the known optimum.

    `kl`, the mean over states of KL(r ‖ p_θ), with its interval; `kl_per_state`; `exact`, the same for the exact
    optimum of each method (see `exact_optima`), of which `naive` is the reference; and, by tenths of the items from the
    most to the least clicked, `bins` (p_data(y) where each begins), `known`, `learned` and `naive`: the share of r, p_θ
    and p_data in each, over all states.

    Args:
        truth: what is known of the world.
        logits_SN: φ(x, y) of the model, a state's user against every item.
        intent_N: intents of the items, from 0, where Multi-CLRec's exact optimum is wanted; -1 none.
    """
    log_p_SN = learned(truth, logits_SN)
    values_S = divergence(truth.optimum_SN, log_p_SN)
    return {
        "kl": bootstrap_mean(values_S)._asdict(),
        "kl_per_state": values_S.tolist(),
        "exact": {name: mean_divergence(truth, p_SN) for name, p_SN in exact_optima(truth, intent_N).items()},
        **by_popularity(truth, {"known": truth.optimum_SN, "learned": np.exp(log_p_SN), "naive": truth.data_SN}),
    }


def by_popularity(truth: Truth, mass: Mapping[str, Floats], num_groups: int = GROUPS) -> dict[str, list[float]]:
    """Sum the mass of distributions (S, N) over groups of as many items each, from the most to the least clicked."""
    shown = np.flatnonzero(truth.shown_SN.any(axis=0))
    groups_B = np.array_split(shown[(-truth.data_N[shown]).argsort(kind="stable")], min(num_groups, len(shown)))
    sums = {name: [float((truth.share_S @ p_SN[:, group]).sum()) for group in groups_B] for name, p_SN in mass.items()}
    return {"bins": [float(truth.data_N[group[0]]) for group in groups_B], **sums}


def exact_optima(
    truth: Truth,
    intent_N: Ints | None = None,
    clip: float = 2.0,
    recommendations: int = 10,
    smoothing: float = 1.0,
) -> dict[str, Floats]:
    """Return the distribution (S, N) that the loss of each method is least at, by its name.

    | method | its loss is least at |
    | --- | --- |
    | naive, logq | p_data(y given x): full softmax; sampled softmax with logQ |
    | ipw, contrastive | r: weights 1/q(y given x); negatives from q(y given x), not corrected |
    | ipw_clipped | ∝ p_data · min(1/(N q), clip) |
    | bernoulli_ipw | ∝ p_data / (1 − (1 − q)^R) |
    | ipw_marginal, contrastive_marginal | ∝ p_data(y given x) / q(y): what was shown, whoever asked |
    | ipw_estimated, clrec | ∝ p_data(y given x) / p_data(y): q taken to be p_data(y), by weights or by the batch |
    | multi_clrec | see `contrasted_by_intent`; where intents are given |

    Weights that are divided by their mean over a batch have the optimum of those that are not, as batches grow.

    Args:
        truth: what is known of the world.
        intent_N: intents of the items, from 0; -1 none.
        clip: the largest weight, in units of 1/N, N all items of the catalogue.
        recommendations: R, items that a state is shown in the eyes of the Bernoulli variant.
        smoothing: α of [B], filled |Q_0| / filled |Q_h|, the batch's other positives counted with Q_0.
    """
    weights_SN = inverse(truth.q_SN) / truth.q_SN.shape[1]
    marginal_SN, estimated_SN = contrasted(truth, truth.q_N), contrasted(truth, truth.data_N)
    optima = {
        "naive": truth.data_SN,
        "logq": truth.data_SN,
        "ipw": truth.optimum_SN,
        "ipw_clipped": normalised(truth.data_SN * np.minimum(weights_SN, clip)),
        "bernoulli_ipw": normalised(truth.data_SN * inverse(-np.expm1(recommendations * np.log1p(-truth.q_SN)))),
        "ipw_marginal": marginal_SN,
        "ipw_estimated": estimated_SN,
        "contrastive": truth.optimum_SN,
        "contrastive_marginal": marginal_SN,
        "clrec": estimated_SN,
    }
    return optima | ({} if intent_N is None else {"multi_clrec": contrasted_by_intent(truth, intent_N, smoothing)})


def exact_kl(method: str, truth: Truth, **options: Any) -> float:
    """Return the mean over states of KL(r ‖ the exact optimum of a method).

    Args:
        method: a name of `exact_optima`.
        truth: what is known of the world.
        options: of `exact_optima`.

    Raises:
        ValueError: there is no such method, or it needs intents and none are given.
    """
    optima = exact_optima(truth, **options)
    if method not in optima:
        raise ValueError(f"No exact optimum is known of '{method}': choose one of {', '.join(optima)}.")
    return mean_divergence(truth, optima[method])


def mean_divergence(truth: Truth, p_SN: Floats) -> float:
    """Return the mean over states of KL(r ‖ p)."""
    with np.errstate(divide="ignore"):
        return float(divergence(truth.optimum_SN, np.log(p_SN)).mean())


def contrasted(truth: Truth, noise_N: Floats) -> Floats:
    """Return what a contrastive loss with negatives from one distribution is least at: ∝ p_data(y|x) / noise(y).

    [B]'s proof, with any distribution for q; it holds for any number of negatives, hits and duplicates kept.
    """
    return normalised(truth.data_SN * inverse(noise_N))


def contrasted_by_intent(truth: Truth, intent_N: Ints, smoothing: float = 1.0) -> Floats:
    """Return what Multi-CLRec's choice of negatives leads to, were the user one vector and the negatives many.

    A positive of intent h meets negatives of n_h(y) ∝ p_data(y|h) + α p_data(y), so the loss is
    −Σ_y p_data(y|x) [φ(y) − log Σ_y' n_{h(y)}(y') exp φ(y')], convex in φ. Its gradient is zero where
    exp φ(y) = p_data(y|x) / Σ_h p_data(h|x) n_h(y) / Z_h with Z_h = Σ_y n_h(y) exp φ(y), which is iterated to a fixed
    point.

    Args:
        truth: what is known of the world.
        intent_N: intents of the items, from 0; -1 none.
        smoothing: α, filled |Q_0| / filled |Q_h|, the batch's other positives counted with Q_0; above 0,
            or the scales of the intents are free.
    """
    if smoothing <= 0:
        raise ValueError(f"The smoothing of Multi-CLRec is above 0, not {smoothing}: intents alone share no scale.")
    members_HN = intent_N == np.arange(intent_N.max() + 1)[:, None]
    clicks_HN = members_HN * truth.data_N
    noise_HN = (clicks_HN * inverse(clicks_HN.sum(axis=1, keepdims=True)) + smoothing * truth.data_N) / (1 + smoothing)
    share_SH = truth.data_SN @ members_HN.T
    found_SN = contrasted(truth, truth.data_N)
    for _ in range(MAX_ROUNDS):
        before_SN = found_SN
        found_SN = normalised(truth.data_SN * inverse((share_SH * inverse(before_SN @ noise_HN.T)) @ noise_HN))
        if np.abs(found_SN - before_SN).max() < TOLERANCE:
            break
    return found_SN


def inverse(values: Floats) -> Floats:
    """Return 1 / values, 0 where a value is 0."""
    return np.asarray(np.divide(1.0, values, out=np.zeros_like(values), where=values > 0))
