"""Pairwise losses over every pair of a positive and a negative of an impression [A §3.2, methods.md §4].

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tastelab.config import Loss
from tastelab.losses.base import RankingLoss


@Loss.register("margin")
@dataclass(frozen=True)
class Margin(RankingLoss):
    """`mean_{p, n} max(0, m − (s_p − s_n))` on the raw similarities; the temperature is not used."""

    margin: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a margin that asks for nothing."""
        if not 0.0 < self.margin < math.inf:
            raise ValueError(f"The margin is {self.margin}: choose a number above 0, such as 0.2.")

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B; see `pair_mean`."""
        return pair_mean(scores_BC, labels_BC, mask_BC, lambda lead: (self.margin - lead).clamp(min=0.0))


@Loss.register("ranknet")
@dataclass(frozen=True)
class RankNet(RankingLoss):
    """`mean_{p, n} −log σ(s_p − s_n)`, the positive preferred for certain; on the raw similarities as [A] has it."""

    scaled: bool = False
    """Whether the similarities are divided by the temperature, which is not used otherwise."""

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B; see `pair_mean`."""
        by = temperature if self.scaled else 1.0
        return pair_mean(scores_BC, labels_BC, mask_BC, lambda lead: softplus(-lead / by))


def pair_mean(scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, penalty: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean of `penalty(s_p − s_n)` over each row's pairs of valid slots, loss_B in float32 (or float64).

    Args:
        scores_BC: raw similarities.
        labels_BC: 1 for a positive, 0 else.
        mask_BC: True for a real slot; the others are in no pair, whatever their score.
        penalty: what a pair costs, elementwise, by the lead of its positive.

    A row without a pair (no positive, or no negative) is 0 and has a zero gradient.
    """
    scores_BC = scores_BC.to(torch.promote_types(scores_BC.dtype, torch.float32)).masked_fill(~mask_BC, 0.0)
    positives_BC = (labels_BC > 0) & mask_BC
    negatives_BC = (labels_BC <= 0) & mask_BC
    pairs_BCC = positives_BC.unsqueeze(2) & negatives_BC.unsqueeze(1)
    loss_BCC = penalty(scores_BC.unsqueeze(2) - scores_BC.unsqueeze(1)).masked_fill(~pairs_BCC, 0.0)
    return loss_BCC.sum(dim=(1, 2)) / pairs_BCC.sum(dim=(1, 2)).clamp(min=1)
