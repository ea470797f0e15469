"""MaxSim: how well the tokens of a history find themselves in a candidate [A §2.1, methods.md §3].

Shape letters: B impressions, C candidate slots, U items, D width, Q tokens of a history, T tokens of a candidate,
K tokens of an impression's candidates, S sets of tokens, M token vectors of all items end to end, R tokens of all sets
end to end; n impressions of one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from tastelab.modeling.items import Items, ragged_rows
from tastelab.modeling.slices import token_slices

SLICE_FLOATS = 64_000_000
"""Similarities and gathered token vectors of one slice of impressions, unless one impression needs more: 256 MB."""
CPU_SLICE_FLOATS = 4_000_000
"""The same on a CPU, where larger slices leave the caches."""


@dataclass(frozen=True)
class TokenSets:
    """Token vectors in sets: set after set, `counts_S` of the rows that `rows_R` names."""

    vectors_MD: Tensor
    rows_R: Tensor
    counts_S: Tensor

    def padded(self, sets: Tensor) -> Tensor:
        """Gather sets, padded with their own first token, so that no maximum sees the padding: (…, T, D).

        An empty set holds some token; who needs to know looks at `counts_S`.
        """
        counts = self.counts_S[sets]
        starts = (self.counts_S.cumsum(0) - self.counts_S)[sets]
        place_T = torch.arange(max(1, int(counts.max())), device=counts.device)
        inside = torch.where(place_T < counts.unsqueeze(-1), place_T, 0)
        # A set behind all rows, and vectors that are none, have no row to name.
        last = max(1, len(self.rows_R)) - 1
        rows_R = self.rows_R if len(self.rows_R) else self.rows_R.new_zeros(1)
        vectors_MD = self.vectors_MD if len(self.vectors_MD) else pad(self.vectors_MD, (0, 0, 0, 1))
        return embedding(rows_R[(starts.unsqueeze(-1) + inside).clamp(max=last)], vectors_MD)


def tokens_of(items: Items, index: Tensor, mask: Tensor) -> TokenSets:
    """Return the tokens of the items in slots as one set a slot, flat; of a masked slot none."""
    assert items.token_vectors_MD is not None and items.num_tokens_U is not None
    rows_R = ragged_rows(items.num_tokens_U, index[mask])
    return TokenSets(items.token_vectors_MD, rows_R, (items.num_tokens_U[index] * mask).flatten())


def max_sim(history: TokenSets, candidates: TokenSets, empty_D: Tensor) -> Tensor:
    """Score each candidate by `(1/Q) Σ_q max_t h_q · n_t`: its tokens n_t against the Q tokens h_q of the history.

    All tokens are unit vectors. A history without tokens has the one token `empty_D`; a candidate without tokens
    scores 0.

    Args:
        history: B sets.
        candidates: B·C sets, those of an impression in a row.
        empty_D: scaled back to length 1 where it is longer.

    Returns:
        scores_BC in float32, whatever autocast says.
    """
    order_B = history.counts_S.argsort(descending=True, stable=True)
    candidates_BC = torch.arange(len(candidates.counts_S), device=order_B.device).view(len(order_B), -1)
    inside_D = empty_D / torch.linalg.vector_norm(empty_D).clamp(min=1.0)
    budget = min(SLICE_FLOATS, CPU_SLICE_FLOATS) if empty_D.device.type == "cpu" else SLICE_FLOATS
    parts = []
    with torch.autocast(empty_D.device.type, enabled=False):
        for rows, _ in token_slices(_floats(history.counts_S[order_B], candidates, len(empty_D)), budget):
            chosen_n = order_B[rows]
            parts.append(_mean_best(history, chosen_n, candidates.padded(candidates_BC[chosen_n]), inside_D))
    scores_BC = torch.cat(parts)[order_B.argsort()]
    return scores_BC.masked_fill(candidates.counts_S.view_as(scores_BC) == 0, 0.0)


def _mean_best(history: TokenSets, chosen_n: Tensor, candidates_nCTD: Tensor, empty_D: Tensor) -> Tensor:
    """Return scores_nC of the chosen impressions."""
    counts_n = history.counts_S[chosen_n]
    history_nQD = torch.where((counts_n == 0).view(-1, 1, 1), empty_D, history.padded(chosen_n))
    flat_nKD = candidates_nCTD.flatten(1, 2)
    sims_nQK = torch.bmm(history_nQD, flat_nKD.transpose(1, 2))
    # The maximum keeps one index a token for its gradient, not the similarities.
    best_nQC = sims_nQK.unflatten(2, candidates_nCTD.shape[1:3]).max(dim=3).values
    counts_n1 = counts_n.clamp(min=1).unsqueeze(1)
    real_nQ = torch.arange(history_nQD.shape[1], device=counts_n.device) < counts_n1
    return torch.einsum("nqc,nq->nc", best_nQC, (real_nQ / counts_n1).to(best_nQC.dtype))


def _floats(counts_B: Tensor, candidates: TokenSets, width: int) -> list[int]:
    """Return how many numbers each impression puts in memory: similarities and gathered vectors."""
    num_rows = len(candidates.counts_S) // len(counts_B) * candidates.counts_S.max().clamp(min=1)
    counts = counts_B.clamp(min=1) * (num_rows + width) + num_rows * width
    return cast(list[int], counts.tolist())
