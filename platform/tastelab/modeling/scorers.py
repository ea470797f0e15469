"""How a user vector and a candidate vector become a score.

Shape letters: B impressions, C candidate slots, D width; users are (B, 1, D) or, where they depend on the candidate,
(B, C, D).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


class _Dot(nn.Module):
    def forward(self, users: Tensor, candidates_BCD: Tensor) -> Tensor:
        return torch.einsum("bcd,bcd->bc", users, candidates_BCD)
