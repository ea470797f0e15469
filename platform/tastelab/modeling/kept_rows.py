"""Token vectors of texts, kept end to end in one growing tensor and found by the text's id.

Shape letters: N texts, n rows of one slice, T tokens, D width, M tokens end to end.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KeptRows:
    """A ragged store, text after text, bounded in memory; nothing is ever dropped to make room.

    While it grows, the old tensor and the new one stand side by side for a moment.
    """

    def __init__(self, width: int, megabytes: int) -> None:
        """Keep vectors of `width` in at most so much memory, counted as float32."""
        self.width = width
        self.limit = megabytes * 2**20 // (4 * width)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.used = 0
        self._kept_MD: Tensor | None = None
        self._start_of_id = torch.zeros(0, dtype=torch.int64)

    @property
    def room(self) -> int:
        """Tokens that may still be added."""
        return self.limit - self.used

    def starts(self, ids_N: Tensor) -> Tensor:
        """Return where each text begins, int64 (N,), on the CPU as the ids are; -1 for an unknown text."""
        known_N = (ids_N >= 0) & (ids_N < len(self._start_of_id))
        starts_N = torch.full_like(ids_N, -1)
        starts_N[known_N] = self._start_of_id[ids_N[known_N]]
        return starts_N

    def add(self, ids_N: Tensor, vectors_MD: Tensor, lengths_N: Tensor) -> None:
        """Add texts that fit into the room there is.

        Args:
            ids_N: their ids, on the CPU.
            vectors_MD: vectors of all their tokens, text after text.
            lengths_N: tokens of each, on the CPU.
        """
        kept_MD = self._with_capacity(self.used + len(vectors_MD), vectors_MD)
        kept_MD[self.used : self.used + len(vectors_MD)] = vectors_MD
        most = int(ids_N.max()) + 1
        if most > len(self._start_of_id):
            added = max(most, 2 * len(self._start_of_id)) - len(self._start_of_id)
            self._start_of_id = torch.cat([self._start_of_id, ids_N.new_full((added,), -1)])
        self._start_of_id[ids_N] = self.used + lengths_N.cumsum(0) - lengths_N
        self.used += len(vectors_MD)

    def take(self, starts_n: Tensor, mask_nT: Tensor) -> Tensor:
        """Return the vectors (n, T, D) of the texts that begin at `starts_n`; what padded places hold means nothing."""
        assert self._kept_MD is not None
        places_nT = starts_n.to(mask_nT.device)[:, None] + torch.arange(mask_nT.shape[1], device=mask_nT.device)
        places_nT = places_nT.clamp(min=0, max=max(0, self.used - 1))
        return self._kept_MD.index_select(0, places_nT.flatten()).view(*places_nT.shape, self.width)

    def _with_capacity(self, needed: int, like_MD: Tensor) -> Tensor:
        """Return the tensor, grown to at least twice its size where it is too small."""
        old_MD = self._kept_MD
        if old_MD is None or len(old_MD) < needed:
            capacity = min(self.limit, max(needed, 2 * self.used, 4_096))
            self._kept_MD = like_MD.new_empty((max(needed, capacity), self.width))
            if old_MD is not None:
                self._kept_MD[: self.used] = old_MD[: self.used]
        assert self._kept_MD is not None
        return self._kept_MD
