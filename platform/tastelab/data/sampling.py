"""Candidates and negatives of a training impression: a pure function of (seed, epoch, impression).

Every slot of an impression draws a 64-bit key from (seed, epoch, row, slot); the smallest keys win. No state, no order
of calls, no number of workers can change a draw. [A §3.1], methods.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tastelab.config import Sampler

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Candidates of B impressions in C slots: positives first, then negatives, then padding (item 0, masked)."""

    items_BC: Ints
    labels_BC: npt.NDArray[np.float32]
    mask_BC: npt.NDArray[np.bool_]


@Sampler.register("impression")
@dataclass(frozen=True)
class ImpressionSampler(Sampler):
    """Up to `max_positives` clicks of the impression, then its own non-clicks, without replacement [A §3.1]."""

    num_candidates: int = 32
    max_positives: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that leave no room for a negative."""
        if self.num_candidates < 2:
            raise ValueError(f"num_candidates is {self.num_candidates}: use at least 2, a click and a non-click.")
        if not 1 <= self.max_positives < self.num_candidates:
            raise ValueError(
                f"max_positives is {self.max_positives}: use 1 to {self.num_candidates - 1}, fewer than the candidates."
            )

    def draw(
        self,
        rows_B: Ints,
        items: npt.NDArray[np.integer],
        labels: npt.NDArray[np.integer],
        offsets: Ints,
        seed: int,
        epoch: int,
        max_positives: int | None = None,
    ) -> Draw:
        """Draw the candidates of B impressions.

        Args:
            rows_B: row of each impression in its split, its identity in the draw.
            items: item rows of all slots, flat.
            labels: 1 clicked, 0 not, flat.
            offsets: length B+1; impression b owns slots `offsets[b]:offsets[b + 1]`.
            seed: seed of the run.
            epoch: pass over the data, from 0.
            max_positives: overrides the configured number (losses with a single positive ask for 1).
        """
        num_impressions, num_slots = len(rows_B), self.num_candidates
        sizes_B = np.diff(offsets)
        impression = np.repeat(np.arange(num_impressions), sizes_B)
        slot = np.arange(len(items)) - np.repeat(offsets[:-1], sizes_B)
        keys = slot_keys(seed, epoch, rows_B[impression], slot)
        negative = labels != 1
        order = np.lexsort((keys, negative, impression))
        impression, negative = impression[order], negative[order]
        positives_B = np.bincount(impression[~negative], minlength=num_impressions)
        kept_positives_B = np.minimum(positives_B, min(max_positives or self.max_positives, num_slots))
        rank = np.arange(len(order)) - offsets[:-1][impression]  # positives come first, so rank counts them
        rank_negative = rank - positives_B[impression]
        column = np.where(negative, kept_positives_B[impression] + rank_negative, rank)
        kept = np.where(negative, column < num_slots, rank < kept_positives_B[impression])
        b, c, source = impression[kept], column[kept], order[kept]
        items_BC = np.zeros((num_impressions, num_slots), np.int64)
        labels_BC = np.zeros((num_impressions, num_slots), np.float32)
        mask_BC = np.zeros((num_impressions, num_slots), np.bool_)
        items_BC[b, c], labels_BC[b, c], mask_BC[b, c] = items[source], labels[source], True
        return Draw(items_BC, labels_BC, mask_BC)


def slot_keys(seed: int, epoch: int, rows: Ints, slots: Ints) -> npt.NDArray[np.uint64]:
    """Hash (seed, epoch, row, slot) to uniform 64-bit keys, elementwise."""
    key = np.full(rows.shape, np.uint64(seed & (2**64 - 1)))
    for part in (np.full(rows.shape, epoch), rows, slots):
        key = _mix(key ^ _mix(part.astype(np.uint64)))
    return key


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al., 2014): every input bit reaches every output bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
