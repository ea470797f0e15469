"""Vectors that never change, computed once per item and process.

Shape letters: U items, N items of the data set, K kept vectors, D width, m items that are not kept yet.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class KeptVectors:
    """A buffer of vectors by item id, no part of the model's state, which DDP and checkpoints do not see."""

    def __init__(self, num_items: int, width: int, megabytes: int) -> None:
        """Keep float32 vectors of items 0 … `num_items` - 1 in at most so much memory, the first that come."""
        self.num_kept = 0
        self._place_N = torch.full((num_items,), -1)
        self._vectors_KD = torch.empty(min(num_items, megabytes * 2**20 // (4 * width)), width)

    @torch.no_grad()
    def __call__(self, ids_U: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return vectors_UD, without gradient.

        Args:
            ids_U: items; -1 has no identity and is never kept.
            compute: maps positions in U, int64 (m,), to the vectors (m, D) of what stands there.

        In inference mode nothing is looked up and nothing kept: what is measured or served there has no past.
        """
        if torch.is_inference_mode_enabled() or not len(self._vectors_KD):
            return compute(torch.arange(len(ids_U), device=ids_U.device))
        self._move(ids_U.device)
        place_U = torch.where(ids_U >= 0, self._place_N[ids_U.clamp(min=0)], -1)
        missing_m = (place_U < 0).nonzero().squeeze(1)
        vectors_UD = self._vectors_KD[place_U.clamp(min=0)]
        if len(missing_m):
            computed_mD = compute(missing_m)
            vectors_UD[missing_m] = computed_mD
            self._keep(ids_U[missing_m], computed_mD)
        return vectors_UD

    def _keep(self, ids_m: Tensor, vectors_mD: Tensor) -> None:
        kept = (ids_m >= 0).nonzero().squeeze(1)[: len(self._vectors_KD) - self.num_kept]
        stop = self.num_kept + len(kept)
        self._vectors_KD[self.num_kept : stop] = vectors_mD[kept]
        self._place_N[ids_m[kept]] = torch.arange(self.num_kept, stop, device=ids_m.device)
        self.num_kept = stop

    def _move(self, device: torch.device) -> None:
        if self._place_N.device != device:
            self._place_N, self._vectors_KD = self._place_N.to(device), self._vectors_KD.to(device)
