"""Items as a ranker knows them, and the slots of impressions that point at them.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width, M text tokens of
all items end to end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from tastelab.schema import Batch


@dataclass(frozen=True)
class Items:
    """Distinct items with what an architecture computes of each alone; a later part may be missing.

    Training makes them of a batch, evaluation of a whole split at once, serving one by one: the scores are the same.
    """

    ids_U: Tensor  # int64, row in items.parquet; -1: from outside the data set
    tokens_UT: Tensor  # int64
    mask_UT: Tensor  # bool
    vectors_UD: Tensor | None = None  # float32; of an item that was not wanted alone, zero
    token_vectors_MD: Tensor | None = None  # unit vectors of text tokens, item after item
    num_tokens_U: Tensor | None = None  # int64, how many of the M rows are each item's

    def __len__(self) -> int:
        return len(self.ids_U)

    def select(self, index_N: Tensor) -> Items:
        """Take the items at `index_N`, in that order."""
        tokens, counts = self.token_vectors_MD, self.num_tokens_U
        if tokens is not None and counts is not None:
            tokens, counts = tokens[ragged_rows(counts, index_N)], counts[index_N]
        mask_NT = self.mask_UT[index_N]
        width = int(mask_NT.sum(dim=1).max()) if len(index_N) else 0
        vectors = None if self.vectors_UD is None else self.vectors_UD[index_N]
        return Items(self.ids_U[index_N], self.tokens_UT[index_N, :width], mask_NT[:, :width], vectors, tokens, counts)

    def to(self, device: torch.device | str) -> Items:
        """Move every tensor to `device`."""
        moved = {f.name: v.to(device) for f in dataclasses.fields(self) if (v := getattr(self, f.name)) is not None}
        return dataclasses.replace(self, **moved)

    @staticmethod
    def concatenate(parts: Sequence[Items]) -> Items:
        """Join items of several calls, in order; all have the same parts."""
        width = max(part.tokens_UT.shape[1] for part in parts)

        def joined(name: str) -> Tensor | None:
            found = [value for part in parts if (value := getattr(part, name)) is not None]
            return torch.cat(found) if found else None

        tokens_UT = torch.cat([pad(part.tokens_UT, (0, width - part.tokens_UT.shape[1])) for part in parts])
        mask_UT = torch.cat([pad(part.mask_UT, (0, width - part.mask_UT.shape[1])) for part in parts])
        ids_U = torch.cat([part.ids_U for part in parts])
        return Items(
            ids_U, tokens_UT, mask_UT, joined("vectors_UD"), joined("token_vectors_MD"), joined("num_tokens_U")
        )


@dataclass(frozen=True)
class Slots:
    """Which items stand in the slots of impressions; masked slots may point at any item."""

    history_index_BH: Tensor  # int64 into U
    history_mask_BH: Tensor  # bool
    candidate_index_BC: Tensor  # int64 into U
    candidate_mask_BC: Tensor  # bool
    feedback_BH: Tensor | None = None  # +1 liked, -1 disliked, 0 masked; None: all liked

    @staticmethod
    def of(batch: Batch) -> Slots:
        """Take the slots of a batch."""
        return Slots(
            batch.history_index_BH,
            batch.history_mask_BH,
            batch.candidate_index_BC,
            batch.candidate_mask_BC,
            batch.feedback_BH,
        )

    def liked(self) -> Slots:
        """Leave what was disliked out of the histories."""
        if self.feedback_BH is None:
            return self
        mask_BH = self.history_mask_BH & (self.feedback_BH >= 0)
        return dataclasses.replace(self, history_mask_BH=mask_BH, feedback_BH=None)

    def disliked(self) -> tuple[Tensor, Slots]:
        """Return which impressions have dislikes, int64 (N,), and their slots with these alone as history."""
        assert self.feedback_BH is not None
        mask_BH = self.history_mask_BH & (self.feedback_BH < 0)
        rows_N = mask_BH.any(dim=1).nonzero()[:, 0]
        return rows_N, Slots(
            self.history_index_BH[rows_N],
            mask_BH[rows_N],
            self.candidate_index_BC[rows_N],
            self.candidate_mask_BC[rows_N],
        )

    def candidates(self, num_items: int) -> Tensor:
        """Tell which of the items are a candidate anywhere: bool (U,)."""
        wanted_U = torch.zeros(num_items, dtype=torch.bool, device=self.candidate_index_BC.device)
        wanted_U[self.candidate_index_BC[self.candidate_mask_BC]] = True
        return wanted_U


def ragged_rows(counts_U: Tensor, index_N: Tensor) -> Tensor:
    """Return the rows of a ragged tensor that belong to the items at `index_N`, item after item.

    Args:
        counts_U: rows of each item.
        index_N: items to take.
    """
    starts_N = (counts_U.cumsum(0) - counts_U)[index_N]
    taken_N = counts_U[index_N]
    before_N = taken_N.cumsum(0) - taken_N
    owner = torch.repeat_interleave(torch.arange(len(index_N), device=index_N.device), taken_N)
    return starts_N[owner] + torch.arange(len(owner), device=index_N.device) - before_N[owner]
