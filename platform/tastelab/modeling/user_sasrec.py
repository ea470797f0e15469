"""SASRec as a user tower: one pass over a window gives the users of all its prefixes [Kang & McAuley 2018].

Shape letters: B windows, S slots, N queries, Q slots that ask (S or 1), D width, P positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.sasrec import Layer, check_heads
from tastelab.modeling.user_parts import NoClick, clean


@UserTower.register("sasrec")
@dataclass(frozen=True)
class SASRecUsers(UserTowerConfig):
    """The state of a causal transformer at the newest click; starts as the newest click."""

    prefixes: ClassVar[bool] = True

    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and a dropout that is no probability."""
        for what in ("num_layers", "num_heads"):
            if getattr(self, what) < 1:
                raise ValueError(f"The sasrec tower's {what} is {getattr(self, what)}: choose 1 or more.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"The sasrec tower's dropout is {self.dropout}: choose a number from 0 to below 1.")

    def check(self, width: int, max_history: int) -> None:
        """Raise `ValueError` where the heads do not divide the width."""
        check_heads(width, self.num_heads)

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module, with a position for each of `max_history` clicks."""
        self.check(width, max_history)
        return SASRecTower(width, self.num_layers, self.num_heads, self.dropout, max_history)


class SASRecTower(UserTowerModule):
    """Layers of `modeling.sasrec` over whole windows, each state blind to what comes after it.

    A position is the place in the window, 0 for its oldest click, in training and serving alike: the number of clicks
    since, which the ranker's SASRec counts, would differ between the prefixes of one pass. A history of one query
    alone is a window of its newest `max_history` clicks. Clicks are left-aligned, as everywhere.
    """

    def __init__(self, width: int, num_layers: int, num_heads: int, dropout: float, max_history: int) -> None:
        """Stack the layers."""
        super().__init__()
        self.positions_PD = nn.Parameter(torch.zeros(max_history, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, num_heads, dropout) for _ in range(num_layers))
        self.no_click = NoClick(width)

    def forward(self, histories: Histories) -> Users:
        """Return the users of all queries.

        Raises `ValueError` where a query sees more clicks than there are positions.
        """
        histories = self._cut(histories)
        asking_N = histories.end_N.clamp(min=1) - 1
        if histories.one_each:
            states_ND = self._states(histories, asking_N.unsqueeze(1)).squeeze(1)
        else:
            states_ND = self._states(histories, None)[histories.row_N, asking_N]
        some_N = (histories.end_N > 0) & histories.mask_BS[histories.row_N, asking_N]
        return Users(self.no_click(normalize(states_ND.float(), dim=-1), some_N).unsqueeze(1))

    def _cut(self, histories: Histories) -> Histories:
        """Leave off slots beyond the positions, which no query may see; a window of none gets one."""
        num_positions, num_slots = len(self.positions_PD), histories.mask_BS.shape[1]
        if 0 < num_slots <= num_positions:
            return histories
        if num_slots and len(histories.end_N) and (longest := int(histories.end_N.max())) > num_positions:
            raise ValueError(
                f"A query sees {longest} clicks, and the sasrec tower was built for {num_positions}: "
                "cut histories to their newest clicks, or train with a larger max_history."
            )
        more = min(num_positions, max(num_slots, 1)) - num_slots
        vectors_BSD, mask_BS = pad(histories.vectors_BSD, (0, 0, 0, more)), pad(histories.mask_BS, (0, more))
        return Histories(vectors_BSD, mask_BS, histories.row_N, histories.end_N)

    def _states(self, histories: Histories, asking_B1: Tensor | None) -> Tensor:
        """Return the last layer's states at the slots that ask, or at all: (B, Q, D)."""
        vectors_BSD = clean(histories.vectors_BSD, histories.mask_BS)
        num_slots, width = vectors_BSD.shape[1:]
        # Entries of unit vectors are near 1/√D; near 1, what a layer adds does not drown the item itself.
        states_BSD = self.dropout(vectors_BSD * math.sqrt(width) + self.positions_PD[:num_slots])
        causal_1SS = torch.ones(1, num_slots, num_slots, dtype=torch.bool, device=states_BSD.device).tril()
        for layer in self.layers[:-1]:
            states_BSD = layer(states_BSD, states_BSD, causal_1SS)
        if asking_B1 is None:
            last: Tensor = self.layers[-1](states_BSD, states_BSD, causal_1SS)
            return last
        # Where each window asks once, the other states of the last layer need not be computed.
        asking_B1D = states_BSD.gather(1, asking_B1.unsqueeze(-1).expand(-1, -1, width))
        last = self.layers[-1](asking_B1D, states_BSD, causal_1SS[0, asking_B1])
        return last
