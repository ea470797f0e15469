"""Pointwise losses: every candidate of an impression is judged alone [A §3.2, methods.md §4].

Shape letters: B impressions, C candidate slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from tastelab.config import Loss
from tastelab.losses.base import RankingLoss


@Loss.register("bce")
@dataclass(frozen=True)
class BCE(RankingLoss):
    """`−mean_c [y log σ(z) + (1 − y) log(1 − σ(z))]` with the logit `z = s/τ + bias`; the bias is learned."""

    learned: ClassVar[Mapping[str, float]] = {"bias": 0.0}

    def __call__(
        self,
        scores_BC: Tensor,
        labels_BC: Tensor,
        mask_BC: Tensor,
        temperature: Tensor | float,
        bias: Tensor | float = 0.0,
    ) -> Tensor:
        """Return loss_B; `bias` is a scalar. See `slot_mean` for what counts."""
        logits_BC = _real(scores_BC, mask_BC) / temperature + bias
        targets_BC = (labels_BC > 0).to(logits_BC.dtype)
        loss_BC = binary_cross_entropy_with_logits(logits_BC, targets_BC, reduction="none")
        return slot_mean(loss_BC, labels_BC, mask_BC)


@Loss.register("cosine_embedding")
@dataclass(frozen=True)
class CosineEmbedding(RankingLoss):
    """`mean_c` of `1 − s` for a positive and `max(0, s − m)` for a negative; the temperature is not used.

    It is meant for scores within [-1, 1]: on a score without an upper bound, such as an MLP's, `1 − s` has no minimum.
    """

    margin: float = 0.0
    """The similarity m that a negative may have for free."""

    def __post_init__(self) -> None:
        """Refuse a margin that is no similarity."""
        if not -1.0 <= self.margin <= 1.0:
            raise ValueError(f"The margin is {self.margin}: choose a similarity from -1 to 1, such as 0.")

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B; see `slot_mean` for what counts."""
        scores_BC = _real(scores_BC, mask_BC)
        loss_BC = torch.where(labels_BC > 0, 1.0 - scores_BC, (scores_BC - self.margin).clamp(min=0.0))
        return slot_mean(loss_BC, labels_BC, mask_BC)


def slot_mean(loss_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor) -> Tensor:
    """Return the mean of `loss_BC` over each row's valid slots, loss_B.

    A row without a valid positive is 0 and has a zero gradient, as with the other losses: training masks such an
    impression. One without a negative counts.
    """
    some_B = ((labels_BC > 0) & mask_BC).any(dim=1)
    counted_BC = mask_BC & some_B.unsqueeze(1)
    return loss_BC.masked_fill(~counted_BC, 0.0).sum(dim=1) / mask_BC.sum(dim=1).clamp(min=1)


def _real(scores_BC: Tensor, mask_BC: Tensor) -> Tensor:
    """Return the scores in float32 or better, 0 in masked slots: a NaN there would spoil the gradient of the others."""
    return scores_BC.to(torch.promote_types(scores_BC.dtype, torch.float32)).masked_fill(~mask_BC, 0.0)
