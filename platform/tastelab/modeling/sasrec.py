"""SASRec: causal self-attention over the history, the last state is the user [A §2.2, Kang & McAuley 2018].

Shape letters: B impressions, H history slots, C candidate slots, Q slots that ask (H or 1), D width, N heads, E width
of a head, P positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize, pad, scaled_dot_product_attention

from tastelab.config import Pooling
from tastelab.modeling.pooling import ItemPooling, or_empty


@Pooling.register("sasrec")
@dataclass(frozen=True)
class SASRec(ItemPooling):
    """The last state of a causal transformer over the history; starts as the newest item."""

    num_layers: int = 2
    num_heads: int = 4
    max_positions: int = 50
    """Clicks that have a position; a longer history is refused."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and a dropout that is no probability."""
        for what in ("num_layers", "num_heads", "max_positions"):
            if getattr(self, what) < 1:
                raise ValueError(f"SASRec's {what} is {getattr(self, what)}: choose 1 or more.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"SASRec's dropout is {self.dropout}: choose a number from 0 to below 1.")

    def check(self, width: int, max_history: int) -> None:
        """Raise `ValueError` where the heads do not divide the width, or a history may outgrow the positions."""
        check_heads(width, self.num_heads)
        _check_positions(max_history, self.max_positions)

    def build(self, width: int) -> nn.Module:
        """Build the module; raises `ValueError` where the heads do not divide the width."""
        return SASRecPool(width, SASRecStack(width, self.num_layers, self.num_heads, self.max_positions, self.dropout))


class SASRecPool(nn.Module):
    """Score against the last state of the history."""

    def __init__(self, width: int, stack: SASRecStack) -> None:
        """Start the empty history's vector at zero."""
        super().__init__()
        self.stack = stack
        self.empty_D = nn.Parameter(torch.zeros(width))

    def forward(self, history_BHD: Tensor, mask_BH: Tensor, candidates_BCD: Tensor, scorer: nn.Module) -> Tensor:
        """Return scores_BC."""
        users_BD = or_empty(self.stack(history_BHD, mask_BH), self.empty_D, mask_BH)
        scores_BC: Tensor = scorer(users_BD.unsqueeze(1), candidates_BCD)
        return scores_BC


class SASRecStack(nn.Module):
    """Histories of unit vectors, oldest first, to users: the normalised state at each newest real slot.

    A position is the number of clicks since, 0 for the newest, so that a history means the same however it was capped.
    Layers normalise what they read, not what they pass on, and their output projections start at zero, as do the
    positions: the stack starts as the identity and the user as the newest item. The L2 norm of the last state stands
    in for SASRec's last layer normalisation, which would shift the user away from the space of the candidates.
    """

    def __init__(
        self, width: int, num_layers: int = 2, num_heads: int = 4, max_positions: int = 50, dropout: float = 0.0
    ) -> None:
        """Stack the layers; raises `ValueError` where the heads do not divide the width."""
        super().__init__()
        check_heads(width, num_heads)
        self.positions_PD = nn.Parameter(torch.zeros(max_positions, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, num_heads, dropout) for _ in range(num_layers))

    def forward(self, history_BHD: Tensor, mask_BH: Tensor) -> Tensor:
        """Return users_BD, unit vectors; without meaning, but finite, where a row has no real slot.

        Args:
            history_BHD: unit vectors, the oldest click first; what masked slots hold never matters.
            mask_BH: True for a real slot.

        Raises `ValueError` for a history of more than `max_positions` real slots.
        """
        if not mask_BH.shape[1]:
            history_BHD, mask_BH = pad(history_BHD, (0, 0, 0, 1)), pad(mask_BH, (0, 1))
        age_BH = self._ages(mask_BH)
        # Entries of unit vectors are near 1/√D; near 1, what a layer adds does not drown the item itself.
        states_BHD = history_BHD.masked_fill(~mask_BH.unsqueeze(-1), 0.0) * math.sqrt(history_BHD.shape[2])
        states_BHD = self.dropout(states_BHD + embedding(age_BH, self.positions_PD))
        newest_B = (mask_BH & (age_BH == 0)).long().argmax(dim=1)
        rows_B = torch.arange(len(newest_B), device=newest_B.device)
        visible_BHH = visible_slots(mask_BH)
        for layer in self.layers[:-1]:
            states_BHD = layer(states_BHD, states_BHD, visible_BHH)
        # Of the last layer only one state is read: the others need not be computed.
        last_B1D = states_BHD[rows_B, newest_B].unsqueeze(1)
        last_B1D = self.layers[-1](last_B1D, states_BHD, visible_BHH[rows_B, newest_B].unsqueeze(1))
        return normalize(last_B1D.squeeze(1), dim=-1)

    def _ages(self, mask_BH: Tensor) -> Tensor:
        """Count the real slots after each slot: its position."""
        max_positions = len(self.positions_PD)
        age_BH = mask_BH.flip(1).cumsum(dim=1).flip(1) - mask_BH.long()
        # Looking at values makes a GPU wait; the number of slots alone settles it as a rule.
        if mask_BH.shape[1] > max_positions:
            _check_positions(int(mask_BH.sum(dim=1).max()), max_positions)
        return age_BH.clamp(max=max_positions - 1)


class Layer(nn.Module):
    """`x + attention(LN(x))`, then `x + W₂ relu(W₁ LN(x))`, as wide inside as outside."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        """Start as the identity."""
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, width)
        self.feed_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.attention_out, self.feed_out):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, asking_BQD: Tensor, states_BHD: Tensor, visible_BQH: Tensor) -> Tensor:
        """Return the next states of the slots that ask, states_BQD."""
        attended_BQD = self._attend(self.attention_norm(asking_BQD), self.attention_norm(states_BHD), visible_BQH)
        asking_BQD = asking_BQD + self.dropout(attended_BQD)
        fed_BQD = self.feed_out(self.dropout(torch.relu(self.feed_in(self.feed_norm(asking_BQD)))))
        next_BQD: Tensor = asking_BQD + self.dropout(fed_BQD)
        return next_BQD

    def _attend(self, asking_BQD: Tensor, states_BHD: Tensor, visible_BQH: Tensor) -> Tensor:
        query_BNQE = self._heads(self.query(asking_BQD))
        key_BNHE, value_BNHE = map(self._heads, self.key_value(states_BHD).chunk(2, dim=-1))
        seen_BNQE = scaled_dot_product_attention(
            query_BNQE,
            key_BNHE,
            value_BNHE,
            attn_mask=visible_BQH.unsqueeze(1),
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        attended_BQD: Tensor = self.attention_out(seen_BNQE.transpose(1, 2).flatten(2))
        return attended_BQD

    def _heads(self, vectors_BHD: Tensor) -> Tensor:
        num_rows, num_slots, width = vectors_BHD.shape
        return vectors_BHD.view(num_rows, num_slots, self.num_heads, width // self.num_heads).transpose(1, 2)


def visible_slots(mask_BH: Tensor) -> Tensor:
    """Tell which slots each slot attends to, visible_BHH: the real ones up to itself, and itself."""
    num_slots = mask_BH.shape[1]
    causal_HH = torch.ones(num_slots, num_slots, dtype=torch.bool, device=mask_BH.device).tril()
    # A masked slot sees itself: attention to nothing is NaN on some devices, and its gradient reaches every parameter.
    itself_HH = torch.eye(num_slots, dtype=torch.bool, device=mask_BH.device)
    return (causal_HH & mask_BH.unsqueeze(1)) | itself_HH


def check_heads(width: int, num_heads: int) -> None:
    """Raise `ValueError` where the heads do not divide the width."""
    if width % num_heads:
        raise ValueError(f"{num_heads} heads do not divide the width {width}: choose a divisor of it as num_heads.")


def _check_positions(longest: int, max_positions: int) -> None:
    if longest > max_positions:
        raise ValueError(
            f"A history has up to {longest} clicks, SASRec {max_positions} positions: raise its max_positions, "
            "or lower max_history."
        )
