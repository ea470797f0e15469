"""Multi-CLRec: users with several intents, a queue for each intent beside the main one [B], methods.md §6.

Shape letters: N examples, H intents, Q places of the main queue, R of an intent's queue, C = N + Q, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Intents, Terms, Wants
from tastelab.losses.contrasting import check_count, check_queue, check_weight, in_blocks, similarities

STEEPEST = 30.0
"""Bound of the log of a gradient that reaches w, so that a norm of gradients is finite in float32. Two logits differ by
more only below a temperature of 1/15."""
FLAT = 1e-6
"""Difference of log-probabilities below which a routing prefers nothing."""
LEAST_SHARE = 1e-12
"""Share of clicks below which an intent is not pushed harder to take some."""


@CandidateLoss.register("multi_clrec")
@dataclass(frozen=True)
class MultiCLRec(ContrastiveLoss):
    """`−log Σ_h ẇ_h exp s_h(y_T) / Σ_{h'} Σ_{y' of N} exp s_{h'}(y')` and three auxiliary terms.

    `s_h(y) = cos(z_h, g(y)) / ρ` and N = {y_T} ∪ the batch's other positives ∪ Q_0 ∪ Q_{h+}, with h+ = argmax_h p_{h|T}
    the intent of the positive. ẇ is one-hot at the largest w_h; its gradient is w's. The propensity corrected for is
    `q(y | h+) + α q(y)`: α follows from how far the queues are filled, `filled |Q_0| / filled |Q_{h+}|`, and is a part
    for the log. A positive without a category has no intent: it meets Q_0 alone, and the first two auxiliary terms
    leave it out.
    """

    needs_intents: ClassVar[bool] = True
    queue: int = 2_560
    """Places of the main queue, Q_0."""
    intent_queue: int = 256
    """Places of each intent's queue, which what leaves the main queue enters."""
    cached: bool = False
    """Whether the queues hold vectors of earlier steps, without gradient, in place of IDs encoded anew."""
    aux1: float = 0.1
    """Weight of `−log p_{h+|T}`: an item belongs to one intent."""
    aux2: float = 0.1
    """Weight of the cross-entropy of s_h(y_T) at h+: the intent of the positive is nearest to it."""
    aux3: float = 0.1
    """Weight of `KL(uniform ‖ π)`, π the mean routing over the batch: all intents are used."""

    def __post_init__(self) -> None:
        """Refuse queues without places and weights below 0."""
        check_count(self.queue, "places of the queue", 1, 2_560)
        check_count(self.intent_queue, "places of an intent's queue", 1, 256)
        for what in ("aux1", "aux2", "aux3"):
            check_weight(getattr(self, what), what)

    def wants(self, num_items: int) -> Wants:
        """Ask for the queues."""
        return Wants(queue=self.queue, cached=self.cached, intent_queue=self.intent_queue)

    def check(self, num_items: int, num_clicks: int) -> None:
        """Refuse queues that are larger than the data."""
        check_queue(max(self.queue, self.intent_queue), num_clicks)

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example with its weighted auxiliary terms, loss_N; the third is the same for all.

        Parts: `contrast`, `aux1`, `aux2`, `aux3` without their weights, and `alpha`, the mean over the batch, an empty
        queue of an intent taken for one of a single place.
        """
        intents = contrast.intents
        assert intents is not None, "the user tower has no intents"
        log_routing_NH = intents.log_routing_NH
        intent_N, routed_N = log_routing_NH.argmax(dim=1), routed(log_routing_NH)
        logits_NH = (
            similarities(contrast.users_NKD, contrast.positives_ND.unsqueeze(1)).squeeze(2) / contrast.temperature
        )
        contrast_N = self._log_total(contrast, intent_N, routed_N) - chosen_logit(intents.weights_NH, logits_NH)
        aux1_N = -log_routing_NH.gather(1, intent_N.unsqueeze(1)).squeeze(1) * routed_N
        aux2_N = cross_entropy(logits_NH, intent_N, reduction="none") * routed_N
        aux3 = -intents.balance_H.clamp(min=LEAST_SHARE).log().mean() - math.log(len(intents.balance_H))
        loss_N = contrast_N + self.aux1 * aux1_N + self.aux2 * aux2_N + self.aux3 * aux3
        parts = {"contrast": contrast_N.mean(), "aux1": aux1_N.mean(), "aux2": aux2_N.mean(), "aux3": aux3}
        parts["alpha"] = smoothing(contrast, intents, intent_N)
        return Terms(loss_N, {name: part.detach() for name, part in parts.items()})

    def _log_total(self, contrast: Contrast, intent_N: Tensor, routed_N: Tensor) -> Tensor:
        """Return the log of the denominator, shape (N,): over the intents, the batch, the queue and the queue of h+."""
        assert contrast.queue is not None
        assert contrast.intents is not None
        main_QD, own_HRD = contrast.queue.vectors_QD, contrast.intents.queue_vectors_HRD
        main_QD = main_QD.detach() if self.cached else main_QD
        users_NHD, own_mask_HR = contrast.users_NKD, contrast.intents.queue_mask_HR
        vectors_CD = torch.cat([contrast.positives_ND, main_QD.to(contrast.positives_ND.dtype)])
        mask_C = torch.cat([torch.ones_like(intent_N, dtype=torch.bool), contrast.queue.mask_Q])

        def block(rows: slice) -> Tensor:
            main_BHC = similarities(users_NHD[rows], vectors_CD) / contrast.temperature
            own_BHR = similarities(users_NHD[rows], own_HRD[intent_N[rows]]) / contrast.temperature
            own_mask_B1R = (own_mask_HR[intent_N[rows]] & routed_N[rows].unsqueeze(1)).unsqueeze(1)
            main_B = main_BHC.masked_fill(~mask_C, -torch.inf).logsumexp(dim=(1, 2))
            return torch.logaddexp(main_B, own_BHR.masked_fill(~own_mask_B1R, -torch.inf).logsumexp(dim=(1, 2)))

        num_columns = len(vectors_CD) + own_HRD.shape[1]
        return in_blocks(block, len(users_NHD), users_NHD.shape[1] * num_columns)


def routed(log_routing_NH: Tensor) -> Tensor:
    """Tell which items have an intent, bool (N,): the routing of one without a category is flat."""
    if log_routing_NH.shape[1] == 1:
        return torch.ones_like(log_routing_NH[:, 0], dtype=torch.bool)
    return log_routing_NH.amax(dim=1) - log_routing_NH.amin(dim=1) > FLAT


def chosen_logit(weights_NH: Tensor, logits_NH: Tensor) -> Tensor:
    """Return `log Σ_h ẇ_h exp s_h`, shape (N,): forward s of the largest w, backward `exp(s_h − s_{h*})` to every w_h.

    The exponent is bounded by `STEEPEST`.
    """
    chosen_N1 = weights_NH.argmax(dim=1, keepdim=True)
    chosen_logit_N1 = logits_NH.gather(1, chosen_N1)
    slope_NH = (logits_NH - chosen_logit_N1).detach().clamp(max=STEEPEST).exp()
    nothing_N = ((weights_NH - weights_NH.detach()) * slope_NH).sum(dim=1)
    return chosen_logit_N1.squeeze(1) + nothing_N


def smoothing(contrast: Contrast, intents: Intents, intent_N: Tensor) -> Tensor:
    """Return α, the mean over examples of `filled |Q_0| / filled |Q_{h+}|`, a scalar."""
    assert contrast.queue is not None
    filled_H = intents.queue_mask_HR.sum(dim=1).clamp(min=1)
    return (contrast.queue.mask_Q.sum() / filled_H[intent_N]).mean()
