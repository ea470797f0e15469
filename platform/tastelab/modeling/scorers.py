"""How a user vector and a candidate vector become a score.

Shape letters: B impressions, C candidate slots, D width; users are (B, 1, D) or, where they depend on the candidate,
(B, C, D).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from tastelab.config import Scorer


class VectorScorer(Scorer):
    """What every scorer offers: a module that maps users (B, 1 or C, D) and `candidates_BCD` to `scores_BC`."""

    def build(self, width: int) -> nn.Module:
        """Build the module for vectors of `width`."""
        raise NotImplementedError


@Scorer.register("cosine")
@dataclass(frozen=True)
class Cosine(VectorScorer):
    """Cosine of user and candidate; both arrive as unit vectors (methods.md §3)."""

    def build(self, width: int) -> nn.Module:
        """Build the scorer; it has no parameters."""
        return _Dot()


@Scorer.register("mlp")
@dataclass(frozen=True)
class MLP(VectorScorer):
    """`w · gelu(W [u, n, u∘n, |u − n|] + b)` with u and n scaled to length √D (methods.md §3); no bound on the score.

    The last layer starts at zero, so that an untrained model scores every candidate 0, a tie.
    """

    hidden: int | None = None
    """Width of the hidden layer; None is D."""

    def __post_init__(self) -> None:
        """Refuse a hidden layer without units."""
        if self.hidden is not None and self.hidden < 1:
            raise ValueError(f"The MLP's hidden width is {self.hidden}: choose 1 or more.")

    def build(self, width: int) -> nn.Module:
        """Build the scorer."""
        return MLPScore(width, self.hidden or width)


class _Dot(nn.Module):
    def forward(self, users: Tensor, candidates_BCD: Tensor) -> Tensor:
        return torch.einsum("bcd,bcd->bc", users, candidates_BCD)


class MLPScore(nn.Module):
    """A perceptron of one hidden layer on a user and a candidate."""

    def __init__(self, width: int, hidden: int) -> None:
        """Start the last layer at zero; it has no bias, which no ranking could see."""
        super().__init__()
        self.inner = nn.Linear(4 * width, hidden)
        self.outer = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, users: Tensor, candidates_BCD: Tensor) -> Tensor:
        """Return scores_BC for users (B, 1 or C, D)."""
        width = candidates_BCD.shape[-1]
        # The entries of a unit vector are near 1/√D, and of a product near 1/D: gelu would see nothing of them.
        users, candidates_BCD = users * math.sqrt(width), candidates_BCD * math.sqrt(width)
        pair_BCF = torch.cat([candidates_BCD, users * candidates_BCD, (users - candidates_BCD).abs()], dim=-1)
        # The user's own part is computed once where all candidates share the user.
        of_user = linear(users, self.inner.weight[:, :width], self.inner.bias)
        hidden_BCF = gelu(of_user + linear(pair_BCF, self.inner.weight[:, width:]))
        scores_BC: Tensor = self.outer(hidden_BCF).squeeze(-1)
        return scores_BC
