"""MIND's capsule network: several vectors of a user by dynamic routing [Li et al. 2019], methods.md §6.

Shape letters: B windows, S slots, N queries, K interests, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.user_parts import NoClick, clean, in_float32


@UserTower.register("multi_interest")
@dataclass(frozen=True)
class MultiInterest(UserTowerConfig):
    """K interests by behaviour-to-interest routing; label-aware attention says which of them a positive trains."""

    num_interests: int = 4
    num_iterations: int = 3
    power: float | None = 2.0
    """Of similarities in label-aware attention, 1 or more: the larger, the harder. None: the nearest interest alone."""
    temperature: float = 0.1
    """What cosines are divided by before they are raised: to themselves they would all weigh nearly the same."""

    def __post_init__(self) -> None:
        """Refuse sizes below 1, and a power or temperature that attention cannot use."""
        for what in ("num_interests", "num_iterations"):
            if getattr(self, what) < 1:
                raise ValueError(f"The multi_interest tower's {what} is {getattr(self, what)}: choose 1 or more.")
        if not 0.0 < self.temperature <= 1.0:
            raise ValueError(
                f"The multi_interest tower's temperature is {self.temperature}: choose above 0 and up to 1."
            )
        if self.power is not None and not (self.power >= 1.0 and -self.power * math.log(self.temperature) < 80.0):
            raise ValueError(
                f"The multi_interest tower's power is {self.power}: choose 1 or more, or none for the nearest interest "
                "alone; float32 holds (1 / temperature)^power up to 1e34."
            )

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module."""
        return MultiInterestTower(width, self)


class MultiInterestTower(UserTowerModule):
    """`u_k = squash(Σ_t w_kt S g(y_t))`, S shared by the interests, w by rounds of agreement.

    Logits start as a fixed random function of the item, `<r_k, g(y_t)>`, where the paper draws them anew for each user:
    a history always has the same interests, and a further click does not turn the others around. S starts as the
    identity. No gradient flows through the weights w.
    """

    def __init__(self, width: int, config: MultiInterest) -> None:
        """Lay out the map and the starting directions, which no seed changes."""
        super().__init__()
        self.num_vectors = config.num_interests
        self.num_iterations, self.power, self.temperature = config.num_iterations, config.power, config.temperature
        self.bilinear_DD = nn.Parameter(torch.eye(width))
        self.no_click = NoClick(config.num_interests, width)
        start_KD = torch.randn(config.num_interests, width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("start_KD", start_KD, persistent=False)

    def forward(self, histories: Histories) -> Users:
        """Return K interests of each query, with the lengths of their capsules as weights."""
        with in_float32(histories.vectors_BSD):
            seen_NS = histories.seen_NS()
            vectors_BSD = clean(histories.vectors_BSD, histories.mask_BS)
            mapped_NSD = histories.of_queries(vectors_BSD @ self.bilinear_DD.T)
            start_KD: Tensor = self.start_KD  # type: ignore[assignment]
            with torch.no_grad():
                logits_NSK = histories.of_queries(vectors_BSD @ start_KD.T)
                routing_NSK = self._routing(mapped_NSD, logits_NSK, seen_NS)
            sums_NKD = torch.einsum("nsk,nsd->nkd", routing_NSK, mapped_NSD)
            # A capsule points where the sum points; only how long it is depends on squashing.
            vectors_NKD = self.no_click(normalize(sums_NKD, dim=-1), seen_NS.any(dim=1))
            lengths_NK = torch.linalg.vector_norm(squash(sums_NKD.detach()), dim=-1)
        return Users(vectors_NKD, (lengths_NK + 1e-6) / (lengths_NK + 1e-6).sum(dim=1, keepdim=True))

    def _routing(self, mapped_NSD: Tensor, logits_NSK: Tensor, seen_NS: Tensor) -> Tensor:
        """Return the routing weights of the last round; they sum to 1 over the interests, for each click seen."""
        for _ in range(self.num_iterations - 1):
            weights_NSK = logits_NSK.softmax(dim=2) * seen_NS.unsqueeze(2)
            capsules_NKD = squash(torch.einsum("nsk,nsd->nkd", weights_NSK, mapped_NSD))
            logits_NSK = logits_NSK + torch.einsum("nkd,nsd->nsk", capsules_NKD, mapped_NSD)
        return logits_NSK.softmax(dim=2) * seen_NS.unsqueeze(2)

    def meet(self, users: Users, positives_ND: Tensor) -> Tensor:
        """Return `normalize(Σ_k a_k u_k)`, a the softmax of `(max(cos(u_k, y), 0) / temperature)^power`."""
        with in_float32(positives_ND):
            cosines_NK = torch.einsum("nkd,nd->nk", users.vectors_NKD, positives_ND)
            if self.power is None:
                return chosen(users.vectors_NKD, cosines_NK, 1)[:, 0]
            attention_NK = (cosines_NK.clamp(min=0.0) / self.temperature).pow(self.power).softmax(dim=1)
            users_ND: Tensor = normalize(torch.einsum("nk,nkd->nd", attention_NK, users.vectors_NKD), dim=-1)
        return users_ND

    def serving(self, users: Users, num_vectors: int) -> Tensor:
        """Return the interests with the longest capsules, those that most clicks agree on."""
        assert users.weights_NK is not None
        return chosen(users.vectors_NKD, users.weights_NK, num_vectors)


def squash(sums_NKD: Tensor) -> Tensor:
    """Return `z |z| / (1 + |z|²)`: the direction of z, with a length below 1."""
    length_NK1 = torch.linalg.vector_norm(sums_NKD, dim=-1, keepdim=True)
    squashed_NKD: Tensor = sums_NKD * length_NK1 / (1.0 + length_NK1.square())
    return squashed_NKD


def chosen(vectors_NKD: Tensor, weights_NK: Tensor, num_vectors: int) -> Tensor:
    """Return the vectors of the largest weights, the largest first: (N, k, D), k at most K."""
    best_Nk = weights_NK.topk(min(num_vectors, weights_NK.shape[1]), dim=1).indices
    return vectors_NKD.gather(1, best_Nk.unsqueeze(-1).expand(-1, -1, vectors_NKD.shape[2]))
