"""First-in-first-out queues of past positives: one for all, and one for each intent [B], methods.md §6.

Places are in order of age, the oldest first, and unfilled places count as the oldest. All state is in buffers: it moves
with the module, belongs to its checkpoint, and follows from what was enqueued alone, so workers that enqueue the same
hold the same.

Shape letters: Q places, H intents, R places of an intent's queue, N what comes, E what leaves, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tastelab.losses.contrast import Queued

UNFILLED = -1


class _Places(nn.Module):
    """IDs, vectors and when they were computed, of any shape of places."""

    ids: Tensor
    vectors: Tensor
    steps: Tensor

    def __init__(self, *shape: int, width: int) -> None:
        super().__init__()
        self.register_buffer("ids", torch.full(shape, UNFILLED, dtype=torch.int64))
        self.register_buffer("vectors", torch.zeros(*shape, width))
        self.register_buffer("steps", torch.zeros(shape, dtype=torch.int64))

    @property
    def mask(self) -> Tensor:
        """Tell which places are filled, bool, shaped as the places."""
        return self.ids != UNFILLED

    @property
    def num_filled(self) -> Tensor:
        """Count the filled places, an int64 scalar."""
        return self.mask.sum()

    def staleness(self, step: int) -> Tensor:
        """Return the mean number of steps since what is held was computed, a float32 scalar; 0 if nothing is held."""
        ages = (step - self.steps).masked_fill(~self.mask, 0)
        return ages.sum().float() / self.num_filled.clamp(min=1)

    def _vectors_of(self, ids_N: Tensor, vectors_ND: Tensor | None) -> Tensor:
        """Return what is to be held beside the IDs, without gradient."""
        width = self.vectors.shape[-1]
        if not width:
            return self.vectors.new_zeros(len(ids_N), 0)
        assert vectors_ND is not None, "a queue of vectors was given IDs alone"
        return vectors_ND.detach().to(self.vectors)


class Queue(_Places):
    """The last positives of all users: `ids` (Q,), `vectors` (Q, D), `steps` (Q,)."""

    def __init__(self, size: int, width: int = 0) -> None:
        """Make `size` unfilled places; width 0 holds IDs alone."""
        super().__init__(size, width=width)

    def contents(self) -> Queued:
        """Return what is held, as copies: a later `enqueue` does not reach into a graph."""
        return Queued(self.ids.clone(), self.vectors.clone(), self.mask)

    @torch.no_grad()
    def enqueue(self, ids_N: Tensor, vectors_ND: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """Put positives in, in their order, and return what has to leave for them; N may exceed the size.

        Args:
            ids_N: the positives of all workers, in rank order.
            vectors_ND: their vectors; None where the width is 0.
            step: when the vectors were computed.

        Returns:
            ids_E and vectors_ED of what leaves, the oldest first; unfilled places leave unseen.
        """
        num = len(ids_N)
        ids = torch.cat([self.ids, ids_N.to(self.ids)])
        vectors = torch.cat([self.vectors, self._vectors_of(ids_N, vectors_ND)])
        steps = torch.cat([self.steps, self.steps.new_full((num,), step)])
        self.ids.copy_(ids[num:])
        self.vectors.copy_(vectors[num:])
        self.steps.copy_(steps[num:])
        leaves_N = ids[:num] != UNFILLED
        return ids[:num][leaves_N], vectors[:num][leaves_N]


class IntentQueues(_Places):
    """The last items of each intent that left the main queue: `ids` (H, R), `vectors` (H, R, D), `steps` (H, R)."""

    def __init__(self, num_intents: int, size: int, width: int = 0) -> None:
        """Make `size` unfilled places for each intent; width 0 holds IDs alone."""
        super().__init__(num_intents, size, width=width)

    def contents(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids_HR, vectors_HRD and mask_HR, as copies: what `Intents` takes."""
        return self.ids.clone(), self.vectors.clone(), self.mask

    @torch.no_grad()
    def enqueue(self, ids_E: Tensor, vectors_ED: Tensor | None, intents_E: Tensor, step: int) -> None:
        """Put what left the main queue into the queues of its intents, in its order; E may exceed the size.

        Args:
            ids_E: what left, the oldest first.
            vectors_ED: their vectors; None where the width is 0.
            intents_E: argmax_h p_{h|y} of each item, from 0 to H − 1.
            step: now; an age counts from here.
        """
        come_E, move_HR = self._plan(intents_E)
        steps_E = self.steps.new_full((len(ids_E),), step)
        for held, come in (
            (self.ids, ids_E),
            (self.vectors, self._vectors_of(ids_E, vectors_ED)),
            (self.steps, steps_E),
        ):
            moved = held.flatten(0, 1)[move_HR.flatten()]
            moved = torch.cat([moved, moved[:1]])
            moved[come_E] = come.to(held)
            held.copy_(moved[:-1].view_as(held))

    def _plan(self, intents_E: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flat place that each item takes, (E,), and the flat place that each place takes over from, (H, R).

        Of more than R items of an intent, the first take a place past the end: they come and leave at once.
        """
        num_intents, size = self.ids.shape
        device = intents_E.device
        counts_H = torch.bincount(intents_E, minlength=num_intents)
        order_E = intents_E.argsort(stable=True)
        rank_E = torch.empty_like(order_E)
        rank_E[order_E] = torch.arange(len(order_E), device=device)
        rank_E = rank_E - (counts_H.cumsum(0) - counts_H)[intents_E]
        places_E = size - counts_H[intents_E] + rank_E
        come_E = torch.where(places_E >= 0, intents_E * size + places_E, num_intents * size)
        move_HR = (torch.arange(size, device=device) + counts_H.unsqueeze(1)).clamp(max=size - 1)
        return come_E, move_HR + torch.arange(num_intents, device=device).unsqueeze(1) * size
