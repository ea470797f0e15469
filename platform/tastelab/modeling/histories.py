"""Histories as user towers see them, and what a user tower offers [B].

Shape letters: B windows, S slots, N queries (a user at one moment), D width of item vectors, E width of category
vectors, K vectors of a user, H intents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from tastelab.config import UserTower
from tastelab.schema import UNKNOWN_TIME


@dataclass(frozen=True)
class Histories:
    """Windows of clicks, and the moments in them at which a user is asked for.

    Query n is the user of window `row_N[n]` after its first `end_N[n]` clicks: training asks before each target,
    serving after the last click. What masked slots hold never matters.
    """

    vectors_BSD: Tensor  # float32 unit vectors g(y_t), left-aligned, the oldest click first
    mask_BS: Tensor  # bool
    row_N: Tensor  # int64
    end_N: Tensor  # int64, number of clicks that the query sees
    categories_BSE: Tensor | None = None  # float32 vectors c_t; zero where an item has no category
    times_BS: Tensor | None = None  # int64 seconds, UNKNOWN_TIME where unknown
    dwell_BS: Tensor | None = None  # float32 seconds, NaN where unknown
    time_N: Tensor | None = None  # int64 seconds of the query (of the target, or now), UNKNOWN_TIME where unknown

    @cached_property
    def one_each(self) -> bool:
        """Whether query n is about row n: windows need not be copied for it."""
        return len(self.row_N) == len(self.mask_BS) and bool(
            (self.row_N == torch.arange(len(self.row_N), device=self.row_N.device)).all()
        )

    def seen_NS(self) -> Tensor:
        """Tell which slots each query sees, bool (N, S)."""
        slots_S = torch.arange(self.mask_BS.shape[1], device=self.mask_BS.device)
        return self.mask_BS[self.row_N] & (slots_S < self.end_N.unsqueeze(1))

    def of_queries(self, values: Tensor) -> Tensor:
        """Repeat a value of the windows (B, …) for each query: (N, …)."""
        return values if self.one_each else values[self.row_N]

    def log_gaps_NS(self) -> tuple[Tensor, Tensor] | None:
        """Return log(1 + hours) between each click and its query, float32 (N, S), and where it is known, bool (N, S).

        None where the data date no click. Unknown and unseen gaps are 0.
        """
        if self.times_BS is None or self.time_N is None:
            return None
        times_NS, now_N1 = self.of_queries(self.times_BS), self.time_N.unsqueeze(1)
        known_NS = (times_NS != UNKNOWN_TIME) & (now_N1 != UNKNOWN_TIME) & self.seen_NS()
        hours_NS = (now_N1 - times_NS).clamp(min=0).float() / 3_600.0
        return hours_NS.masked_fill(~known_NS, 0.0).log1p(), known_NS


@dataclass(frozen=True)
class Users:
    """The vectors of N users, and what intents know beside them."""

    vectors_NKD: Tensor  # float32 unit vectors
    weights_NK: Tensor | None = None  # which of several vectors matters, a softmax; None: all alike
    routing_K: Tensor | None = None  # Multi-CLRec: sum over the clicks seen of p_{h|t}, with gradient
    num_routed: Tensor | None = None  # float32 scalar, how many clicks that sum is over


class UserTowerModule(nn.Module):
    """From histories to users."""

    num_vectors: int = 1

    def forward(self, histories: Histories) -> Users:
        """Return the users of all queries; one that sees no click is a learned vector (unit, the same for all)."""
        raise NotImplementedError

    def meet(self, users: Users, positives_ND: Tensor) -> Tensor:
        """Return users_ND, the vector that is trained against each positive: the only one, unless there are several."""
        return users.vectors_NKD[:, 0]

    def serving(self, users: Users, num_vectors: int) -> Tensor:
        """Return the vectors that retrieve, (N, k, D), k at most `num_vectors`: the most important first."""
        return users.vectors_NKD[:, :num_vectors]

    def log_routing(self, categories_NE: Tensor) -> Tensor:
        """Return log p_{h|t} of items by their category vectors, (N, H); only towers with intents have it."""
        raise NotImplementedError


class UserTowerConfig(UserTower):
    """What every user tower's configuration offers; one file and one test each."""

    prefixes: ClassVar[bool] = False
    """Whether every prefix of a window is read at no further cost, so that `targets="window"` pays."""
    needs_categories: ClassVar[bool] = False
    """Whether the tower reads category vectors; without categories in the data they are clusters of texts."""
    has_intents: ClassVar[bool] = False

    def check(self, width: int, max_history: int) -> None:
        """Raise `ValueError` where the settings do not fit the width or the longest history; needs no data."""

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module; a feature that the data do not have gets no input, rather than zeros.

        Args:
            width: of item and user vectors.
            category_width: of category vectors.
            has_times: whether clicks have times.
            has_dwell: whether clicks have dwell times.
            max_history: the most clicks that a query sees.
        """
        raise NotImplementedError
