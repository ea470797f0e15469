"""Negative sampling: each pair is judged alone, clicked or drawn [B], methods.md §6.

Shape letters: N examples, L sampled negatives, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Terms, Wants
from tastelab.losses.contrasting import check_count, positive_logits, similarities
from tastelab.losses.drawn_logits import drawn_logits


@CandidateLoss.register("negative_sampling")
@dataclass(frozen=True)
class NegativeSampling(ContrastiveLoss):
    """`−log σ(phi(x, y)) − (1/L) Σ_i log σ(−phi(x, y_i))` with y_i drawn from `p_n ∝ count^power`.

    [B] prints the opposite sign.
    """

    negatives: int = 100
    """L, of each example or of the batch."""
    shared: bool = False
    """Whether one set of negatives serves the batch."""
    power: float = 0.75

    def __post_init__(self) -> None:
        """Refuse a loss without negatives."""
        check_count(self.negatives, "negatives", 1, 100)

    def wants(self, num_items: int) -> Wants:
        """Ask for draws by the clicks of training."""
        return Wants(sampled=self.negatives, shared=self.shared, distribution="clicks", power=self.power)

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example, loss_N; its parts are the two sums."""
        clicked_N = softplus(-positive_logits(contrast))
        drawn_N = softplus(negative_logits(contrast)).mean(dim=1)
        return Terms(clicked_N + drawn_N, {"positive": clicked_N.detach().mean(), "negative": drawn_N.detach().mean()})


def negative_logits(contrast: Contrast) -> Tensor:
    """Return `phi(x, y_i)` of the drawn negatives, shape (N, L), whether they are shared or not."""
    assert contrast.sampled is not None, "no negatives were drawn"
    vectors, place_NL = contrast.sampled.vectors, contrast.sampled.place_NL
    if place_NL is not None:
        users_ND = contrast.users_ND.to(torch.promote_types(contrast.users_ND.dtype, torch.float32))
        return drawn_logits(users_ND, vectors.to(users_ND.dtype), place_NL) / contrast.temperature
    if vectors.dim() == 2:
        return similarities(contrast.users_ND, vectors) / contrast.temperature
    return similarities(contrast.users_ND.unsqueeze(1), vectors).squeeze(1) / contrast.temperature
