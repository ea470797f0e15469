"""What a candidate loss sees of a step, and what it asks for [B], methods.md §6.

Every worker computes the loss of the whole global batch, with gradient through what it encoded itself: the sum of
the workers' gradients is that of the loss.

Shape letters: N examples of the global batch, K vectors of a user, D width, L sampled negatives, Q places of the queue,
M items of the catalogue, R places of an intent's queue, K = H intents where there are intents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tastelab.config import CandidateLoss

DISTRIBUTIONS = ("uniform", "clicks", "logged", "true")
"""Where a distribution over items comes from: none, counts of training clicks, counts of what was shown, the policy of
a synthetic world, which may depend on the user's state."""


@dataclass(frozen=True)
class Wants:
    """What a loss contrasts the positives with, beside each other."""

    sampled: int = 0
    """Negatives that are drawn: for each example, or once for the batch."""
    shared: bool = True
    """Whether one set of negatives serves the global batch."""
    distribution: str = "clicks"
    """What they are drawn from, one of `DISTRIBUTIONS`."""
    power: float = 1.0
    """Exponent of its probabilities, renormalised."""
    queue: int = 0
    """Places of the first-in-first-out queue of past positives."""
    cached: bool = False
    """Whether the queue holds vectors of earlier steps; False: IDs, encoded anew with gradient."""
    intent_queue: int = 0
    """Places of each intent's queue, which what leaves the main queue enters."""
    catalogue: bool = False
    """Whether every item is encoded in every step."""
    propensity: str | None = None
    """Distribution of which the positives' (and the catalogue's) log-probabilities are wanted."""


@dataclass(frozen=True)
class Sampled:
    """Drawn negatives: one set (L, …) for the batch, or one for each example (N, L, …)."""

    ids: Tensor  # int64 (L,) or (N, L)
    vectors: Tensor  # float32 (L, D) or (N, L, D); with `place_NL` (E, D), every distinct item once
    log_p: Tensor  # float32, as ids: log-probability of each draw, given its user where the distribution knows users
    log_p_positive_N: Tensor  # of the positives, from the same distribution
    place_NL: Tensor | None = None  # int64, the row of `vectors` that each draw is


@dataclass(frozen=True)
class Queued:
    """The queue of past positives as it stands before the step."""

    ids_Q: Tensor  # int64, -1 where unfilled
    vectors_QD: Tensor  # float32; unfilled places hold anything finite
    mask_Q: Tensor  # bool, True where filled


@dataclass(frozen=True)
class Intents:
    """What Multi-CLRec knows beside the vectors of its intents; H stands for K."""

    weights_NH: Tensor  # w_h, softmax of cos(m, z_h) / ρ
    log_routing_NH: Tensor  # log p_{h|T} of each positive
    balance_H: Tensor  # π, the mean routing of the clicks of the global batch
    queue_ids_HR: Tensor  # int64, -1 where unfilled
    queue_vectors_HRD: Tensor
    queue_mask_HR: Tensor


@dataclass(frozen=True)
class Contrast:
    """One step of the global batch, unit vectors throughout."""

    users_NKD: Tensor
    users_ND: Tensor  # the vector that meets the positive: the only one, or what label-aware attention makes of K
    positives_ND: Tensor
    positive_ids_N: Tensor
    temperature: Tensor
    sampled: Sampled | None = None
    queue: Queued | None = None
    catalogue_MD: Tensor | None = None
    log_q_N: Tensor | None = None  # log propensity of the positive, given its user where that is known
    intents: Intents | None = None
    num_items: int = 0  # of the catalogue; a loss that wants propensities and draws needs it


@dataclass(frozen=True)
class Terms:
    """A loss of each example, and its named parts for the log; parts are scalars, detached, means over the batch."""

    loss_N: Tensor
    parts: Mapping[str, Tensor]


class ContrastiveLoss(CandidateLoss):
    """What every candidate loss offers; one file and one test each."""

    needs_intents: ClassVar[bool] = False
    """Whether only a user tower with intents can be trained by it."""

    def wants(self, num_items: int) -> Wants:
        """Say what the loss contrasts with on a catalogue of this size."""
        raise NotImplementedError

    def check(self, num_items: int, num_clicks: int) -> None:
        """Raise `ValueError` where the data are too small or too large for the settings."""

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example in float32."""
        raise NotImplementedError
