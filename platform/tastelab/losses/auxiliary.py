"""Auxiliary terms: uniformity of the candidates' vectors and a penalty on repeats of the history [A §3.3].

Shape letters: B impressions, H history slots, C candidate slots, G groups of impressions, U distinct items, D width.
All vectors arrive L2-normalised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tastelab.config import Auxiliary
from tastelab.losses.base import AuxiliaryLoss


@Auxiliary.register("uniformity")
@dataclass(frozen=True)
class Uniformity(AuxiliaryLoss):
    """`log mean_{i,j} exp(-2 |z_i - z_j|²)` over the distinct candidates of a group, the diagonal included."""

    coupled: ClassVar[bool] = True
    weight: float = 0.1

    def group_loss(self, vectors_GUD: Tensor, mask_GU: Tensor) -> Tensor:
        """Return loss_G, in [-8, 0]; 0 for a group without items.

        Args:
            vectors_GUD: unit vectors, each distinct item of the group once.
            mask_GU: True for a real item.
        """
        with torch.autocast(vectors_GUD.device.type, enabled=False):
            gram_GUU = torch.einsum("gud,gvd->guv", vectors_GUD, vectors_GUD)
        # For unit vectors |a - b|² = 2 - 2 a·b.
        exponents_GUU = 4.0 * gram_GUU - 4.0
        pairs_GUU = mask_GU.unsqueeze(2) & mask_GU.unsqueeze(1)
        num_G = mask_GU.sum(dim=1)
        log_total_G = exponents_GUU.masked_fill(~pairs_GUU, -math.inf).flatten(1).logsumexp(dim=1)
        return torch.where(num_G > 0, log_total_G - 2.0 * num_G.clamp(min=1).to(log_total_G.dtype).log(), 0.0)


@Auxiliary.register("redundancy")
@dataclass(frozen=True)
class Redundancy(AuxiliaryLoss):
    """`mean_c max(0, max_u sim(u, n_c) - threshold)` over all candidates: a near repeat of the history scores less."""

    weight: float = 0.1
    threshold: float = 0.9

    def impression_loss(
        self, history_BHD: Tensor, history_mask_BH: Tensor, candidates_BCD: Tensor, candidate_mask_BC: Tensor
    ) -> Tensor:
        """Return loss_B; 0 where the history is empty or no candidate is real."""
        if not history_mask_BH.shape[1]:
            return (candidates_BCD * 0.0).sum(dim=(1, 2))
        with torch.autocast(history_BHD.device.type, enabled=False):
            similarity_BCH = torch.einsum("bcd,bhd->bch", candidates_BCD, history_BHD)
        # Below every threshold: a masked slot is never the nearest, and an empty history is near nothing.
        nearest_BC = similarity_BCH.masked_fill(~history_mask_BH.unsqueeze(1), -2.0).amax(dim=-1)
        excess_BC = (nearest_BC - self.threshold).clamp(min=0.0) * candidate_mask_BC
        return excess_BC.sum(dim=1) / candidate_mask_BC.sum(dim=1).clamp(min=1)
