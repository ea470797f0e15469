"""Vectors of what an item is coded by: its own number, its category, its source, its tags [B].

Shape letters: E items of any set, M codes of an item, N rows of a table, C width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tastelab.modeling.item_table import Table

LARGE = 10_000
"""Codes of a vocabulary above which its gradient is sparse."""
SPREAD = 0.1
"""Standard deviation that rows start with."""


class OwnVectors(nn.Module):
    """A row for every item, and one that items without a row of their own share."""

    def __init__(self, num_items: int, width: int, dropout: float) -> None:
        """Draw the rows.

        Args:
            num_items: rows.
            width: of a row.
            dropout: share of a batch's items that train the shared row in place of their own.
        """
        super().__init__()
        self.dropout = dropout
        self.draw: tuple[int, ...] = (0,)
        """What decides, with an item's number, whether it is dropped: seed, epoch and step."""
        self.table = Table(drawn(num_items, width))
        self.unknown_C = nn.Parameter(drawn(width))

    def forward(self, ids_E: Tensor) -> Tensor:
        """Return vectors_EC; an ID of -1 has the shared one."""
        shared_E = ids_E < 0
        if self.training and self.dropout:
            # Not the generator of a worker: a batch means the same on any number of workers, and after a resume.
            shared_E = shared_E | (uniform(ids_E, self.draw) < self.dropout)
        return torch.where(shared_E.unsqueeze(1), self.unknown_C, self.table(ids_E.clamp(min=0)))


class CodeVectors(nn.Module):
    """The mean vector of an item's codes; where it has none, zero, or a learned vector."""

    def __init__(self, num_codes: int, width: int, fills: bool = True) -> None:
        """Draw the rows.

        Args:
            num_codes: rows; the gradient of more than `LARGE` is sparse.
            width: of a row.
            fills: whether items without a code have a learned vector.
        """
        super().__init__()
        rows_NC = drawn(num_codes, width)
        large = num_codes > LARGE
        self.table: nn.Module = Table(rows_NC) if large else nn.Embedding.from_pretrained(rows_NC, freeze=False)
        self.absent_C = nn.Parameter(drawn(width)) if fills else None

    def forward(self, codes_EM: Tensor) -> Tensor:
        """Return vectors_EC, zero where all codes of an item are -1."""
        there_EM1 = (codes_EM >= 0).unsqueeze(-1)
        sums_EC = (self.table(codes_EM.clamp(min=0)) * there_EM1).sum(dim=1)
        means_EC: Tensor = sums_EC / there_EM1.sum(dim=1).clamp(min=1)
        return means_EC

    def filled(self, vectors_EC: Tensor, codes_EM: Tensor) -> Tensor:
        """Put the learned vector where an item has no code."""
        assert self.absent_C is not None
        return torch.where((codes_EM < 0).all(dim=1, keepdim=True), self.absent_C, vectors_EC)


def uniform(ids_E: Tensor, keys: Sequence[int]) -> Tensor:
    """Hash IDs and keys to numbers from 0 to below 1, float32 (E,): the same wherever it is asked for.

    The mixing is SplitMix64's finaliser (Steele et al., 2014) in wrapping 64-bit integers.
    """
    state_E = ids_E
    for key in keys:
        state_E = _mixed(state_E ^ _mixed(torch.full_like(ids_E, key)))
    return _shifted(state_E, 40).float() * 2.0**-24


def _mixed(x_E: Tensor) -> Tensor:
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x_E = (x_E ^ _shifted(x_E, shift)) * factor
    return x_E ^ _shifted(x_E, 31)


def _shifted(x_E: Tensor, places: int) -> Tensor:
    """Shift right without the sign, which `>>` would repeat."""
    return (x_E >> places) & ((1 << (64 - places)) - 1)


def drawn(*shape: int) -> Tensor:
    """Draw numbers that tell rows apart and weigh little."""
    return torch.empty(*shape).normal_(std=SPREAD)
