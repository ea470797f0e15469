"""The user tower of [B]: clicks weighted by what is known of each, then an MLP.

Shape letters: S slots, N queries, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.user_parts import ClickWeights, NoClick, ResidualMLP, clean, in_float32


@UserTower.register("weighted")
@dataclass(frozen=True)
class WeightedUsers(UserTowerConfig):
    """`normalize(MLP(Σ_t p_t g(y_t)))`, `p_t` from item, category, time gap and dwell time; starts as the mean."""

    hidden_width: int = 64
    """Width inside the MLP that weighs clicks."""

    def __post_init__(self) -> None:
        """Refuse an MLP without anything inside."""
        if self.hidden_width < 1:
            raise ValueError(f"The weighted tower's hidden_width is {self.hidden_width}: choose 1 or more.")

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module; a feature that the data do not have gets no input."""
        return WeightedTower(width, ClickWeights(width, category_width, has_times, has_dwell, self.hidden_width))


class WeightedTower(UserTowerModule):
    """Weighted pooling and a residual MLP whose last layer starts at zero."""

    def __init__(self, width: int, weights: ClickWeights) -> None:
        """Put the MLP on the weights."""
        super().__init__()
        self.weights = weights
        self.mlp = ResidualMLP(width)
        self.no_click = NoClick(width)

    def forward(self, histories: Histories) -> Users:
        """Return the users of all queries."""
        with in_float32(histories.vectors_BSD):
            seen_NS = histories.seen_NS()
            weights_NS = self.weights(histories, seen_NS)
            vectors_NSD = histories.of_queries(clean(histories.vectors_BSD, histories.mask_BS))
            users_ND = self.mlp(torch.einsum("ns,nsd->nd", weights_NS, vectors_NSD))
            users_ND = self.no_click(normalize(users_ND, dim=-1), seen_NS.any(dim=1))
        return Users(users_ND.unsqueeze(1))
