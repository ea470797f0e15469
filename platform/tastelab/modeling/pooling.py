"""Item pooling: how the item vectors of a history become the user that a candidate is scored against [A §2.2].

Item vectors arrive L2-normalised and the pooled vector is normalised again. A history without items is a learned
vector inside the unit ball; it starts at zero, so that an untrained model scores every candidate 0, a tie
(methods.md §3). Masked slots never matter.

Shape letters: B impressions, H history slots, C candidate slots, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Pooling


class ItemPooling(Pooling):
    """What every pooling offers: `module(history_BHD, history_mask_BH, candidates_BCD, scorer) -> scores_BC`."""

    def check(self, width: int, max_history: int) -> None:
        """Raise `ValueError` if vectors of this width or histories of this length cannot be pooled."""

    def build(self, width: int) -> nn.Module:
        """Build the module for vectors of `width`."""
        raise NotImplementedError


@Pooling.register("mean")
@dataclass(frozen=True)
class Mean(ItemPooling):
    """The mean of the history's vectors."""

    def build(self, width: int) -> nn.Module:
        """Build the module."""
        return MeanPool(width)


@Pooling.register("top_k")
@dataclass(frozen=True)
class TopK(ItemPooling):
    """The mean of the k history vectors nearest the candidate (all of them in a shorter history)."""

    k: int = 5

    def __post_init__(self) -> None:
        """Refuse k below 1."""
        _check_k(self.k)

    def build(self, width: int) -> nn.Module:
        """Build the module."""
        return TopKPool(width, self.k)


@Pooling.register("mix")
@dataclass(frozen=True)
class Mix(ItemPooling):
    """`w · top-k score + (1 − w) · mean score`: domain-specific interest beside taste across domains [A §2.2]."""

    k: int = 5
    weight: float = 0.5
    """The weight w of the top-k score, or where it starts."""
    learnable: bool = True

    def __post_init__(self) -> None:
        """Refuse a weight that is no share, and a learnable one that no logit can express."""
        _check_k(self.k)
        if not 0.0 <= self.weight <= 1.0 or (self.learnable and self.weight in (0.0, 1.0)):
            raise ValueError(
                f"The mix weight is {self.weight}: choose 0 to 1, and strictly between if it is learnable."
            )

    def build(self, width: int) -> nn.Module:
        """Build the module."""
        return MixPool(width, self.k, self.weight, self.learnable)


class MeanPool(nn.Module):
    """Score against the mean of the history."""

    def __init__(self, width: int) -> None:
        """Start the empty history's vector at zero."""
        super().__init__()
        self.empty_D = nn.Parameter(torch.zeros(width))

    def forward(self, history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, scorer: nn.Module) -> Tensor:
        """Return scores_BC."""
        users_BD = mean_users(history_BHD, mask_BH)
        scores_BC: Tensor = scorer(or_empty(users_BD, self.empty_D, mask_BH).unsqueeze(1), candidates_BCD)
        return scores_BC


class TopKPool(nn.Module):
    """Score each candidate against the mean of its k nearest history vectors."""

    def __init__(self, width: int, k: int) -> None:
        """Start the empty history's vector at zero."""
        super().__init__()
        self.k = k
        self.empty_D = nn.Parameter(torch.zeros(width))

    def forward(self, history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, scorer: nn.Module) -> Tensor:
        """Return scores_BC."""
        users_BCD = top_k_users(history_BHD, mask_BH, candidates_BCD, self.k)
        scores_BC: Tensor = scorer(or_empty(users_BCD, self.empty_D, mask_BH), candidates_BCD)
        return scores_BC


class MixPool(nn.Module):
    """Mix the two scores by a weight, fixed or learned through its logit."""

    def __init__(self, width: int, k: int, weight: float, learnable: bool) -> None:
        """Start the weight at `weight` and the empty history's vector, which both scores share, at zero."""
        super().__init__()
        self.k = k
        self.empty_D = nn.Parameter(torch.zeros(width))
        self.fixed_weight = weight
        self.weight_logit = nn.Parameter(torch.tensor(math.log(weight / (1.0 - weight)))) if learnable else None

    @property
    def weight(self) -> Tensor | float:
        """The weight of the top-k score."""
        return self.fixed_weight if self.weight_logit is None else torch.sigmoid(self.weight_logit)

    def forward(self, history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, scorer: nn.Module) -> Tensor:
        """Return scores_BC."""
        mean_BD = mean_users(history_BHD, mask_BH)
        top_BCD = top_k_users(history_BHD, mask_BH, candidates_BCD, self.k)
        mean_BC = scorer(or_empty(mean_BD, self.empty_D, mask_BH).unsqueeze(1), candidates_BCD)
        top_BC = scorer(or_empty(top_BCD, self.empty_D, mask_BH), candidates_BCD)
        mixed_BC: Tensor = self.weight * top_BC + (1.0 - self.weight) * mean_BC
        return mixed_BC


def mean_users(history_BHD: Tensor, mask_BH: Tensor) -> Tensor:
    """Return the normalised mean over each history's real slots, users_BD; zero where there are none."""
    return normalize(torch.einsum("bh,bhd->bd", mask_BH.to(history_BHD.dtype), history_BHD), dim=-1)


def top_k_users(history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, k: int) -> Tensor:
    """Return the normalised mean of the k real history vectors nearest each candidate, users_BCD.

    The choice of the k carries no gradient; the chosen vectors do.
    """
    with torch.no_grad():
        nearness_BCH = torch.einsum("bcd,bhd->bch", candidates_BCD, history_BHD)
        nearness_BCH = nearness_BCH.masked_fill(~mask_BH.unsqueeze(1), -math.inf)
        nearest_BCk = nearness_BCH.topk(min(k, mask_BH.shape[1]), dim=-1).indices
        chosen_BCH = torch.zeros_like(nearness_BCH).scatter_(-1, nearest_BCk, 1.0) * mask_BH.unsqueeze(1)
    return normalize(torch.einsum("bch,bhd->bcd", chosen_BCH, history_BHD), dim=-1)


def or_empty(users: Tensor, empty_D: Tensor, mask_BH: Tensor) -> Tensor:
    """Put the empty history's vector, kept inside the unit ball, where a row of `users` (B, …, D) has no item."""
    inside_D = empty_D / torch.linalg.vector_norm(empty_D).clamp(min=1.0)
    some = mask_BH.any(dim=1).view(-1, *[1] * (users.dim() - 1))
    return torch.where(some, users, inside_D.to(users.dtype))


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"The number of nearest history items is {k}: choose k of 1 or more.")
