"""Retrieval beside ranking: a user's vector against everything that the users of a batch clicked [B].

Shape letters: B impressions, G groups of impressions, P clicks of a group, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tastelab.config import Auxiliary
from tastelab.losses.base import AuxiliaryLoss
from tastelab.losses.objective import check_temperature


@Auxiliary.register("in_batch")
@dataclass(frozen=True)
class InBatch(AuxiliaryLoss):
    """`-log exp(u·v⁺/τ) / Σ_p exp(u·v_p/τ)`, the mean over an impression's clicks; p runs over all clicks of its group.

    CLRec's contrastive loss without a queue ([B], methods.md §6): no log q is taken off, and an item that several users
    clicked enters as often as it was clicked, a user's own other clicks included. Negatives thus follow the
    distribution of clicks, and the optimum is that of inverse propensity weighting.
    """

    coupled: ClassVar[bool] = True
    of_users: ClassVar[bool] = True
    weight: float = 1.0
    temperature: float = 0.07

    def __post_init__(self) -> None:
        """Refuse a temperature that no loss can divide by."""
        check_temperature(self.temperature)

    def user_loss(self, users_GBD: Tensor, clicks_GPD: Tensor, user_of_GP: Tensor, mask_GP: Tensor) -> Tensor:
        """Return loss_GB; see `AuxiliaryLoss.user_loss`."""
        with torch.autocast(users_GBD.device.type, enabled=False):
            logits_GBP = torch.einsum("gbd,gpd->gbp", users_GBD, clicks_GPD) / self.temperature
        places_B1 = torch.arange(users_GBD.shape[1], device=user_of_GP.device)[:, None]
        own_GBP = (user_of_GP[:, None, :] == places_B1) & mask_GP[:, None, :]
        num_GB = own_GBP.sum(dim=2)
        log_total_GB = logits_GBP.masked_fill(~mask_GP[:, None, :], -math.inf).logsumexp(dim=2)
        mean_own_GB = logits_GBP.masked_fill(~own_GBP, 0.0).sum(dim=2) / num_GB.clamp(min=1)
        # The mean of no items retrieves nothing: such an impression is no example, though its clicks are negatives.
        counted_GB = (num_GB > 0) & users_GBD.detach().any(dim=2)
        return torch.where(counted_GB, log_total_GB - mean_own_GB, 0.0)
