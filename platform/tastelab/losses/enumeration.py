"""Exact optima of the contrastive loss on small catalogues, by going through everything that can be drawn.

[B]'s theorem 1 says that the contrastive loss with negatives from q has the optimum p_data / q. Here its expectation is
minimised over one logit for each item, with whatever an implementation does to hits and duplicates (methods.md §6).

Shape letters: M items, S multisets of L draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_CASES = 2_000_000


def ipw_optimum(p_data: Sequence[float] | Tensor, q: Sequence[float] | Tensor) -> Tensor:
    """Return `p_data / q`, normalised, over the items that q recommends: the optimum of theorem 1, float64 (M,).

    Raises `ValueError` where an item is clicked that q never recommends.
    """
    p_M, q_M = _distributions(p_data, q)
    ratio_M = torch.where(q_M > 0, p_M / q_M.clamp(min=torch.finfo(q_M.dtype).tiny), 0.0)
    return ratio_M / ratio_M.sum()


def exact_optimum(
    p_data: Sequence[float] | Tensor,
    q: Sequence[float] | Tensor,
    num_negatives: int,
    log_q: bool = False,
    hits: str = "kept",
    duplicates: str = "kept",
) -> Tensor:
    """Return softmax(phi) at the minimum of the expected loss, positives from p_data and draws from q, float64 (M,).

    Args:
        p_data: the probability of each item to be the positive; above 0 for every item that q draws.
        q: the probability of each item to be drawn.
        num_negatives: L, independent draws.
        log_q: whether log q is taken off every logit.
        hits: kept, or masked: draws of the positive itself are left out.
        duplicates: kept, or weighted: an item drawn k times counts 1/k each time.

    Raises `ValueError` where there is no optimum, or too much to go through.
    """
    p_M, q_M = _distributions(p_data, q)
    _check(p_M, q_M, num_negatives, hits, duplicates)
    drawn_M = q_M > 0
    p_K, q_K = p_M[drawn_M], q_M[drawn_M]
    counts_SK, chance_S = _multisets(q_K, num_negatives)
    weights_SK = counts_SK.clamp(max=1.0) if duplicates == "weighted" else counts_SK
    own_KK = torch.eye(len(p_K), dtype=torch.float64)
    weights_KSK = weights_SK.expand(len(p_K), -1, -1)
    if hits == "masked":
        weights_KSK = weights_KSK * (1.0 - own_KK).unsqueeze(1)
    chance_KS = p_K.unsqueeze(1) * chance_S
    logits_K = _minimise((weights_KSK + own_KK.unsqueeze(1)).flatten(0, 1), chance_KS.flatten(), p_K)
    optimum_M = torch.zeros_like(p_M)
    optimum_M[drawn_M] = torch.softmax(logits_K + (q_K.log() if log_q else 0.0), dim=0)
    return optimum_M


def _multisets(q_K: Tensor, num_draws: int) -> tuple[Tensor, Tensor]:
    """Return how often each item is in each multiset of draws (S, K), and how likely the multiset is (S,)."""
    draws_SL = torch.tensor(list(itertools.combinations_with_replacement(range(len(q_K)), num_draws)))
    counts_SK = torch.nn.functional.one_hot(draws_SL, len(q_K)).sum(dim=1).double()
    log_orders_S = math.lgamma(num_draws + 1) - torch.lgamma(counts_SK + 1).sum(dim=1)
    return counts_SK, (log_orders_S + counts_SK @ q_K.log()).exp()


def _minimise(weights_AK: Tensor, chance_A: Tensor, p_K: Tensor) -> Tensor:
    """Minimise `Σ_a chance_a log Σ_k weights_ak exp z_k − Σ_k p_k z_k`, convex in z, by damped Newton steps."""

    def value(z_K: Tensor) -> float:
        return float((chance_A * (weights_AK.log() + z_K).logsumexp(dim=1)).sum() - p_K @ z_K)

    z_K = torch.zeros_like(p_K)
    for _ in range(200):
        share_AK = torch.softmax(weights_AK.log() + z_K, dim=1)
        mean_K = chance_A @ share_AK
        gradient_K = mean_K - p_K
        if float(gradient_K.abs().max()) < 1e-14:
            break
        # A constant added to all logits changes nothing: of all steps, the pseudo-inverse takes the one that adds none.
        hessian_KK = torch.diag(mean_K) - share_AK.T @ (chance_A.unsqueeze(1) * share_AK)
        step_K = torch.linalg.pinv(hessian_KK, hermitian=True) @ gradient_K
        size = 1.0
        while size > 1e-10 and value(z_K - size * step_K) > value(z_K) + 1e-15:
            size /= 2
        z_K = z_K - size * step_K
    return z_K


def _distributions(p_data: Sequence[float] | Tensor, q: Sequence[float] | Tensor) -> tuple[Tensor, Tensor]:
    p_M, q_M = torch.as_tensor(p_data, dtype=torch.float64), torch.as_tensor(q, dtype=torch.float64)
    if p_M.shape != q_M.shape or p_M.dim() != 1:
        raise ValueError(f"p_data has the shape {tuple(p_M.shape)} and q {tuple(q_M.shape)}: give one number an item.")
    for name, values_M in (("p_data", p_M), ("q", q_M)):
        if not (bool((values_M >= 0).all()) and math.isclose(float(values_M.sum()), 1.0, abs_tol=1e-6)):
            raise ValueError(f"{name} sums to {float(values_M.sum()):.6g}: give probabilities that sum to 1.")
    if bool(((p_M > 0) & (q_M == 0)).any()):
        raise ValueError("An item with q = 0 has clicks: there is no optimum, so take it out or give it a q above 0.")
    return p_M / p_M.sum(), q_M / q_M.sum()


def _check(p_M: Tensor, q_M: Tensor, num_negatives: int, hits: str, duplicates: str) -> None:
    if num_negatives < 1:
        raise ValueError(f"The number of negatives is {num_negatives}: choose 1 or more.")
    if hits not in ("kept", "masked") or duplicates not in ("kept", "weighted"):
        raise ValueError(
            f"hits is '{hits}', duplicates is '{duplicates}': choose kept or masked, and kept or weighted."
        )
    if bool(((q_M > 0) & (p_M == 0)).any()):
        raise ValueError("An item that q draws has no clicks: its best logit is -infinity, so give it some p_data.")
    num_items = int((q_M > 0).sum())
    cases = num_items * math.comb(num_items + num_negatives - 1, num_negatives)
    if cases > MOST_CASES:
        raise ValueError(
            f"{num_items} items and {num_negatives} negatives make {cases:,} cases to go through: take fewer, so that "
            f"there are at most {MOST_CASES:,}."
        )
