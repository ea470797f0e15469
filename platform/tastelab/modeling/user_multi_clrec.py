"""The user tower of Multi-CLRec: one vector for each intent, clicks routed to intents by their categories [B].

Shape letters: B windows, S slots, N queries, H intents, D width, E width of category vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.user_multi_interest import chosen
from tastelab.modeling.user_parts import ClickWeights, NoClick, ResidualMLP, clean, in_float32

BIAS_LENGTH = 0.1
"""Length that intents without a click start with, against 1 of a click that is all theirs."""


RHO = 0.07
"""ρ where neither the tower nor a loss says it."""


@UserTower.register("multi_clrec")
@dataclass(frozen=True)
class MultiCLRecUsers(UserTowerConfig):
    """H intents with a prototype each among the categories."""

    needs_categories: ClassVar[bool] = True
    has_intents: ClassVar[bool] = True

    num_intents: int = 64
    temperature: float | None = None
    """ρ of the routing and of the choice among intents; None: the temperature that the loss starts with."""
    hidden_width: int = 64
    """Width inside the MLP that weighs clicks."""

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and a temperature that is none."""
        for what in ("num_intents", "hidden_width"):
            if getattr(self, what) < 1:
                raise ValueError(f"The multi_clrec tower's {what} is {getattr(self, what)}: choose 1 or more.")
        if self.temperature is not None and not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"The multi_clrec tower's temperature is {self.temperature}: choose a number above 0.")

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module; raises `ValueError` where items have no categories."""
        if category_width < 1:
            raise ValueError(
                "The multi_clrec tower routes clicks by categories, and the items have none: use data with categories, "
                "or with text that clusters can be made of."
            )
        weights = ClickWeights(width, category_width, has_times, has_dwell, self.hidden_width)
        return MultiCLRecTower(width, category_width, weights, self.num_intents, self.temperature or RHO)


class MultiCLRecTower(UserTowerModule):
    """Intents, and which of them matters.

    - routing `p_{h|t} = softmax_h(cos(μ_h, c_t) / ρ)`, uniform for a click without a category;
    - intents `z_h = MLP([Σ_t p_{h|t} p_t g(y_t); β_h])`, `p_t` as in the weighted tower;
    - `w_h = softmax_h(cos(m, z_h) / ρ)` with `m = MLP(Σ_t p_t g(y_t))`.

    Both MLPs add to what they read, that of z to the sum of both inputs, and their last layers start at zero: at first
    m is the mean click, and an intent the mean of what is routed to it, or β_h where that is little.
    """

    def __init__(
        self, width: int, category_width: int, weights: ClickWeights, num_intents: int, temperature: float
    ) -> None:
        """Draw prototypes and biases."""
        super().__init__()
        self.num_vectors = num_intents
        self.temperature = temperature
        self.weights = weights
        self.prototypes_HE = nn.Parameter(torch.randn(num_intents, category_width))
        self.bias_HD = nn.Parameter(torch.randn(num_intents, width) * (BIAS_LENGTH / math.sqrt(width)))
        self.intents = ResidualMLP(width, width)
        self.whole = ResidualMLP(width)
        self.no_click = NoClick(width)

    def forward(self, histories: Histories) -> Users:
        """Return the intents of each query, their weights w, and the routing of the clicks that queries see."""
        with in_float32(histories.vectors_BSD):
            seen_NS, mask_BS = histories.seen_NS(), histories.mask_BS
            assert histories.categories_BSE is not None
            routing_BSH = self.log_routing(clean(histories.categories_BSE, mask_BS)).exp()
            routing_NSH = histories.of_queries(routing_BSH)
            weights_NS = self.weights(histories, seen_NS)
            vectors_NSD = histories.of_queries(clean(histories.vectors_BSD, mask_BS)) * weights_NS.unsqueeze(-1)
            sums_NHD = torch.einsum("nsh,nsd->nhd", routing_NSH, vectors_NSD)
            vectors_NHD = self._intents(sums_NHD)
            whole_ND = normalize(self.whole(vectors_NSD.sum(dim=1)), dim=-1)
            whole_ND = self.no_click(whole_ND, seen_NS.any(dim=1))
            cosines_NH = torch.einsum("nd,nhd->nh", whole_ND, vectors_NHD)
            routing_H = torch.einsum("nsh,ns->h", routing_NSH, seen_NS.to(routing_NSH.dtype))
        return Users(vectors_NHD, (cosines_NH / self.temperature).softmax(dim=1), routing_H, seen_NS.sum().float())

    def _intents(self, sums_NHD: Tensor) -> Tensor:
        bias_NHD = self.bias_HD.expand_as(sums_NHD)
        return normalize(self.intents(sums_NHD, bias_NHD) + bias_NHD, dim=-1)

    def log_routing(self, categories_NE: Tensor) -> Tensor:
        """Return log p_{h|t} of items by their category vectors (…, E); -log H throughout where a vector is zero."""
        with in_float32(categories_NE):
            prototypes_HE = normalize(self.prototypes_HE, dim=-1)
            # Zero vectors have no direction; with a length of this at least, nor does their gradient explode.
            cosines_NH = normalize(categories_NE.float(), dim=-1, eps=1e-6) @ prototypes_HE.T
            return (cosines_NH / self.temperature).log_softmax(dim=-1)

    def meet(self, users: Users, positives_ND: Tensor) -> Tensor:
        """Return f(x) = z_h of the largest w_h, with the gradient of `Σ_h w_h z_h` for the weights."""
        assert users.weights_NK is not None
        return torch.einsum("nh,nhd->nd", straight_through(users.weights_NK), users.vectors_NKD)

    def serving(self, users: Users, num_vectors: int) -> Tensor:
        """Return the intents with the largest w_h."""
        assert users.weights_NK is not None
        return chosen(users.vectors_NKD, users.weights_NK, num_vectors)


def straight_through(weights_NH: Tensor) -> Tensor:
    """Return ẇ: one-hot at the largest weight, with the gradient of the weights."""
    best_NH = torch.zeros_like(weights_NH).scatter_(1, weights_NH.argmax(dim=1, keepdim=True), 1.0)
    return best_NH + (weights_NH - weights_NH.detach())
