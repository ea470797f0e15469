"""Additive attention with a learned query, and the item pooling made of it [A §2.2, methods.md §3].

Shape letters: B impressions, H history slots, C candidate slots, N slots of any set, D width, Q width of the query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Pooling
from tastelab.modeling.pooling import ItemPooling, or_empty


@Pooling.register("attention")
@dataclass(frozen=True)
class Attention(ItemPooling):
    """The history's vectors weighted by additive attention with a learned query, as NRMS has it; starts as the mean."""

    query_width: int = 200

    def __post_init__(self) -> None:
        """Refuse a query without entries."""
        if self.query_width < 1:
            raise ValueError(f"The width of the attention's query is {self.query_width}: choose 1 or more.")

    def build(self, width: int) -> nn.Module:
        """Build the module."""
        return AttentionPool(width, self.query_width)


class AttentionPool(nn.Module):
    """Score against the attended history."""

    def __init__(self, width: int, query_width: int) -> None:
        """Start the empty history's vector at zero."""
        super().__init__()
        self.attention = AdditiveAttention(width, query_width)
        self.empty_D = nn.Parameter(torch.zeros(width))

    def forward(self, history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, scorer: nn.Module) -> Tensor:
        """Return scores_BC."""
        # The entries of a unit vector are near 1/√D, where tanh is a straight line; near 1 it is not.
        attended_BD = self.attention(history_BHD * math.sqrt(history_BHD.shape[-1]), mask_BH)
        users_BD = or_empty(normalize(attended_BD, dim=-1), self.empty_D, mask_BH)
        scores_BC: Tensor = scorer(users_BD.unsqueeze(1), candidates_BCD)
        return scores_BC


class AdditiveAttention(nn.Module):
    """`Σ_n a_n h_n`, a the softmax over real slots of `qᵀ tanh(W h_n + b)`; q, W and b are learned.

    The query starts at zero: all real slots then weigh the same.
    """

    def __init__(self, width: int, query_width: int = 200) -> None:
        """Attend over vectors of `width`."""
        super().__init__()
        self.hidden = nn.Linear(width, query_width)
        self.query_Q = nn.Parameter(torch.zeros(query_width))

    def forward(self, vectors_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Return pooled_BD, not normalised; zero where a row has no real slot. Masked slots never matter."""
        vectors_BND = vectors_BND.masked_fill(~mask_BN.unsqueeze(-1), 0.0)
        return torch.einsum("bn,bnd->bd", self.weights(vectors_BND, mask_BN), vectors_BND)

    def weights(self, vectors_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Return weights_BN, which sum to 1 over each row's real slots; all 0 where there are none."""
        logits_BN = torch.einsum("bnq,q->bn", torch.tanh(self.hidden(vectors_BND)), self.query_Q)
        # The lowest number, not -inf: softmax over a row of -inf is NaN, and its gradient too.
        lowest = torch.finfo(logits_BN.dtype).min
        return logits_BN.masked_fill(~mask_BN, lowest).softmax(dim=-1) * mask_BN
