"""Inverse propensity weighting: what was recommended seldom and clicked weighs more [B], methods.md §6.

Shape letters: N examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Terms, Wants
from tastelab.losses.contrasting import check_count, check_distribution, log_likelihood
from tastelab.losses.sampled_softmax import sampled_loss

MOST_EXACT = 100_000
"""Items up to which log p is exact."""


@CandidateLoss.register("ipw")
@dataclass(frozen=True)
class IPW(ContrastiveLoss):
    """`−log p(y|x) / (M q(y|x))` over a catalogue of M items; its optimum is p_data / q, normalised [B, eq. 4].

    The constant factor 1/M keeps numbers near 1 and the optimum where it is: were clicks distributed like q, the mean
    weight would be 1, since `Σ_y q(y) / q(y) = M`. Above `MOST_EXACT` items log p is estimated by the sampled softmax,
    its negatives drawn from q and corrected by log q.

    A click whose propensity is 0 or unknown has no weight: it counts 0, and the part `without_q` is their share.
    """

    propensity: str = "clicks"
    """Where q comes from, one of `DISTRIBUTIONS`; uniform is maximum likelihood."""
    clip: float | None = None
    """The most that an example may weigh, in units of that mean weight (`1 / (M q)` is at most this); None: no bound. A
    bound moves the optimum back towards popular items."""
    self_normalise: bool = False
    """Whether the weights are divided by their mean over the batch, after clipping: less variance for some bias."""
    negatives: int = 2_560
    """Draws where the catalogue is too large for exact log p: one set for the batch, or each example's if q is true."""

    def __post_init__(self) -> None:
        """Refuse weights that are none."""
        check_distribution(self.propensity, "propensity")
        check_count(self.negatives, "negatives", 1, 2_560)
        if self.clip is not None and not self.clip > 0.0:
            raise ValueError(f"Weights are clipped at {self.clip}: choose a number above 0, such as 10, or none.")

    def wants(self, num_items: int) -> Wants:
        """Ask for the propensities, and for the catalogue or draws from q."""
        if num_items <= MOST_EXACT:
            return Wants(catalogue=True, propensity=self.propensity)
        shared = self.propensity != "true"
        return Wants(self.negatives, shared, distribution=self.propensity, propensity=self.propensity)

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the weighted loss of each example, loss_N.

        Parts: `nll` without weights, `weight_max`, `effective`, which is `(Σ w)² / (N Σ w²)`, the share of the batch
        that would be worth as much at equal weights, `clipped` and `without_q`, shares of the batch.
        """
        assert contrast.log_q_N is not None, "the propensities were not looked up"
        known_N = contrast.log_q_N.isfinite()
        if contrast.catalogue_MD is not None:
            nll_N, num_items = -log_likelihood(contrast), len(contrast.catalogue_MD)
        else:
            nll_N, num_items = sampled_loss(contrast, correct=True), contrast.num_items
        assert num_items > 0, "the size of the catalogue is not said"
        full_N = self.weights(torch.where(known_N, contrast.log_q_N, 0.0), num_items) * known_N
        weights_N = full_N if self.clip is None else full_N.clamp(max=self.clip)
        if self.self_normalise:
            weights_N = weights_N * (known_N.sum() / weights_N.sum().clamp(min=torch.finfo(weights_N.dtype).tiny))
        parts = {
            "nll": nll_N.detach().mean(),
            "weight_max": weights_N.max(),
            "effective": weights_N.sum().square() / (len(weights_N) * weights_N.square().sum()).clamp(min=1e-30),
            "clipped": (full_N > (math.inf if self.clip is None else self.clip)).float().mean(),
            "without_q": (~known_N).float().mean(),
        }
        return Terms(weights_N * nll_N, parts)

    def weights(self, log_q_N: Tensor, num_items: int) -> Tensor:
        """Return `1 / (M q)` before clipping."""
        return (-log_q_N - math.log(num_items)).exp()


@CandidateLoss.register("bernoulli_ipw")
@dataclass(frozen=True)
class BernoulliIPW(IPW):
    """`−(R/M) log p(y|x) / q(recommended = 1 | x, y)`, each item recommended independently of the others.

    The view of earlier work that [B] compares with: the policy decides how many items are shown, too. From a policy
    that draws R items by q, `q(recommended = 1) = 1 − (1 − q)^R`. The optimum is p_data / q(recommended = 1),
    normalised; with R = 1 it is `ipw`. The constant factor R/M makes the weights those of `ipw` where q is small.
    """

    recommendations: int = 10
    """R, items that a state is shown."""

    def __post_init__(self) -> None:
        """Refuse a state that is shown nothing."""
        super().__post_init__()
        check_count(self.recommendations, "recommendations", 1, 10)

    def weights(self, log_q_N: Tensor, num_items: int) -> Tensor:
        """Return `R / (M q(recommended = 1))` before clipping."""
        # 1 − (1 − q)^R cancels for a small q; log1p and expm1 do not.
        shown_N = -torch.expm1(self.recommendations * torch.log1p(-log_q_N.exp().clamp(max=1.0)))
        return self.recommendations / (num_items * shown_N)
