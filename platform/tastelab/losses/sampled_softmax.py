"""Softmax over the positive and drawn negatives, with or without the correction for how they were drawn.

Corrected it estimates maximum likelihood; not corrected it is the contrastive loss of [B]'s theorem 1.

Shape letters: N examples, L sampled negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Terms, Wants
from tastelab.losses.contrasting import check_count, check_distribution, positive_logits
from tastelab.losses.negative_sampling import negative_logits


@CandidateLoss.register("sampled_softmax")
@dataclass(frozen=True)
class SampledSoftmax(ContrastiveLoss):
    """`−log [exp s(y) / (exp s(y) + Σ_i exp s(y_i))]`, `s = phi − log p_n` if corrected, else `s = phi` [B].

    Draws that hit the positive and draws of the same item are kept: the optimum is p_data (corrected) or p_data / p_n
    (not corrected) only then.
    """

    negatives: int = 2_560
    """L, of each example or of the batch."""
    correct: bool = True
    """Whether log p_n is taken off every logit, the positive's too."""
    distribution: str = "clicks"
    """What negatives are drawn from, p_n."""
    shared: bool = True
    """Whether one set of negatives serves the batch."""

    def __post_init__(self) -> None:
        """Refuse a loss without negatives, or negatives that cannot be shared."""
        check_count(self.negatives, "negatives", 1, 2_560)
        check_distribution(self.distribution, "distribution of negatives")
        if self.distribution == "true" and self.shared:
            raise ValueError(
                "The true policy depends on the state of a user, so its draws are no batch's: set shared to False."
            )

    def wants(self, num_items: int) -> Wants:
        """Ask for the draws."""
        return Wants(sampled=self.negatives, shared=self.shared, distribution=self.distribution)

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example, loss_N; see `sampled_loss`."""
        return Terms(sampled_loss(contrast, self.correct), {})


def sampled_loss(contrast: Contrast, correct: bool) -> Tensor:
    """Return `−log` of the positive's share of the softmax over it and the negatives drawn, loss_N.

    A corrected example whose positive is never drawn (p_n = 0) is 0 and has a zero gradient: nothing can be said of it.
    """
    positive_N, negative_NL = positive_logits(contrast), negative_logits(contrast)
    if not correct:
        return softplus(negative_NL.logsumexp(dim=1) - positive_N)
    assert contrast.sampled is not None
    log_p_N = contrast.sampled.log_p_positive_N
    known_N = log_p_N.isfinite()
    corrected_N = positive_N - torch.where(known_N, log_p_N, 0.0)
    loss_N = softplus((negative_NL - contrast.sampled.log_p).logsumexp(dim=1) - corrected_N)
    return torch.where(known_N, loss_N, 0.0)
