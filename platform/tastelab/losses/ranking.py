"""Listwise contrastive losses over the candidates of an impression [A §3.1].

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tastelab.config import Loss
from tastelab.losses.base import RankingLoss


@Loss.register("infonce")
@dataclass(frozen=True)
class InfoNCE(RankingLoss):
    """`-log exp(s⁺/τ) / Σ_k exp(s_k/τ)` for the impression's one positive; k runs over all its valid candidates."""

    single_positive: ClassVar[bool] = True

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B; see `contrastive_loss`."""
        return contrastive_loss(scores_BC, labels_BC, mask_BC, temperature)


@Loss.register("mince")
@dataclass(frozen=True)
class MINCE(RankingLoss):
    """The mean of InfoNCE's term over the impression's positives; every denominator holds the other positives too."""

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B; see `contrastive_loss`."""
        return contrastive_loss(scores_BC, labels_BC, mask_BC, temperature)


def contrastive_loss(scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
    """Return the mean over each row's positives of `log Σ_k exp(s_k/τ) − s⁺/τ`, loss_B in float32 (or float64).

    Args:
        scores_BC: raw similarities.
        labels_BC: 1 for a positive, 0 else.
        mask_BC: True for a real slot; the others enter neither sum nor mean.
        temperature: τ, above 0.

    A row without a valid positive is 0 and has a zero gradient.
    """
    logits_BC = scores_BC.to(torch.promote_types(scores_BC.dtype, torch.float32)) / temperature
    positives_BC = (labels_BC > 0) & mask_BC
    num_B = positives_BC.sum(dim=1)
    log_total_B = logits_BC.masked_fill(~mask_BC, -math.inf).logsumexp(dim=1)
    mean_positive_B = logits_BC.masked_fill(~positives_BC, 0.0).sum(dim=1) / num_B.clamp(min=1)
    return torch.where(num_B > 0, log_total_B - mean_positive_B, 0.0)
