"""CLRec: positives against each other and a queue of past positives, and no propensity anywhere [B], methods.md §6.

Shape letters: N examples, Q places of the queue, C = N + Q what an example is contrasted with, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Terms, Wants
from tastelab.losses.contrasting import check_count, check_queue, in_blocks, positive_logits, similarities


@CandidateLoss.register("clrec")
@dataclass(frozen=True)
class CLRec(ContrastiveLoss):
    """`−log [exp phi(x, y) / (exp phi(x, y) + Σ_{y' of the others and the queue} exp phi(x, y'))]`, no log q term.

    Negatives come as items were clicked, q ≈ p_data, so the optimum is p_data / q: that of `ipw`, without a division.
    This holds only as long as hits and duplicates are kept; masking or weighting them brings popularity bias back.
    """

    queue: int = 2_560
    """Places of the queue of past positives; 0: none."""
    cached: bool = False
    """Whether the queue holds vectors of earlier steps, without gradient, in place of IDs that are encoded anew."""
    in_batch: bool = True
    """Whether the batch's other positives are negatives."""
    mask_hits: bool = False
    """Whether a negative that is the example's own positive is left out."""
    deduplicate: bool = False
    """Whether an item that is a negative k times counts 1/k each time."""

    def __post_init__(self) -> None:
        """Refuse a loss that contrasts with nothing."""
        check_count(self.queue, "places of the queue", 0, 2_560)
        if not self.queue and not self.in_batch:
            raise ValueError(
                "Without a queue and without the batch's positives nothing is contrasted: set queue to 2560."
            )
        if not self.queue and self.cached:
            raise ValueError("There is no queue to cache vectors in: set queue to 2560, or cached to False.")

    def wants(self, num_items: int) -> Wants:
        """Ask for the queue."""
        return Wants(queue=self.queue, cached=self.cached)

    def check(self, num_items: int, num_clicks: int) -> None:
        """Refuse a queue that is larger than the data."""
        check_queue(self.queue, num_clicks)

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example, loss_N; unfilled places of the queue never enter it.

        Part: `queue_filled`, the share of places filled, where there is a queue.
        """
        ids_C, vectors_CD, mask_C = self._negatives(contrast)
        counts_C = _counts(ids_C) if self.deduplicate else None
        users_ND, ids_N = contrast.users_ND, contrast.positive_ids_N
        columns_C = torch.arange(len(ids_C), device=ids_C.device)

        def block(rows: slice) -> Tensor:
            logits_RC = similarities(users_ND[rows], vectors_CD) / contrast.temperature
            left_out_RC = ~mask_C.expand_as(logits_RC)
            hits_RC = ids_C == ids_N[rows].unsqueeze(1)
            if self.in_batch:  # the first N columns are the positives, an example's own among them
                left_out_RC = left_out_RC | (columns_C == columns_C[rows].unsqueeze(1))
            if self.mask_hits:
                left_out_RC = left_out_RC | hits_RC
            if counts_C is not None:
                # An example's own positive is in the batch, but is no negative of it.
                others_RC = (counts_C - hits_RC.int() if self.in_batch else counts_C).clamp(min=1)
                logits_RC = logits_RC - others_RC.to(logits_RC.dtype).log()
            return logits_RC.masked_fill(left_out_RC, -torch.inf).logsumexp(dim=1)

        negatives_N = in_blocks(block, len(users_ND), len(ids_C))
        filled = {"queue_filled": contrast.queue.mask_Q.float().mean()} if contrast.queue is not None else {}
        return Terms(softplus(negatives_N - positive_logits(contrast)), filled)

    def _negatives(self, contrast: Contrast) -> tuple[Tensor, Tensor, Tensor]:
        """Return IDs, vectors and mask of the columns: the batch's positives, then the queue."""
        ids_N, vectors_ND = contrast.positive_ids_N, contrast.positives_ND
        if not self.in_batch:
            ids_N, vectors_ND = ids_N[:0], vectors_ND[:0]
        mask_N = torch.ones_like(ids_N, dtype=torch.bool)
        if contrast.queue is None:
            return ids_N, vectors_ND, mask_N
        queue = contrast.queue
        queued_QD = queue.vectors_QD.detach() if self.cached else queue.vectors_QD
        return (
            torch.cat([ids_N, queue.ids_Q]),
            torch.cat([vectors_ND, queued_QD.to(vectors_ND.dtype)]),
            torch.cat([mask_N, queue.mask_Q]),
        )


def _counts(ids_C: Tensor) -> Tensor:
    _, inverse_C, counts = torch.unique(ids_C, return_inverse=True, return_counts=True)
    counts_C: Tensor = counts[inverse_C]
    return counts_C
