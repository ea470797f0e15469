"""Timelines of communities: items in creation order, as arrays that tasks map instead of copying (20 bytes an item)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tastelab.data.mix.hashing import U64

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timelines:
    """Items by row: sorted by community, then by creation, then by hash."""

    names: tuple[str, ...]
    """Of the communities."""
    communities: npt.NDArray[np.int32]
    created: Ints
    """Seconds since 1970."""
    hashes: U64
    starts: Ints
    """First row of each community, and the number of items at the end."""

    @staticmethod
    def of(names: tuple[str, ...], communities: npt.NDArray[np.int32], created: Ints, hashes: U64) -> Timelines:
        """Describe items that are in order already."""
        starts = np.searchsorted(communities, np.arange(len(names) + 1)).astype(np.int64)
        return Timelines(names, communities, created, hashes, starts)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.created)

    def save(self, folder: Path) -> None:
        """Write the arrays that tasks need."""
        folder.mkdir(parents=True)
        for name in ("communities", "created", "hashes", "starts"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @staticmethod
    def load(folder: Path) -> Timelines:
        """Map the arrays; names stay with the driver."""
        names = ("communities", "created", "hashes", "starts")
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        return Timelines((), **arrays)


@dataclass(frozen=True)
class Skips:
    """For each group (a person in a community) the sorted rows that are passed over in the community's timeline."""

    rows: Ints
    """Rows of all groups, one after the other, sorted within each."""
    offsets: Ints
    """First of each group in `rows`, and the end."""
    first_row: Ints
    """First row of each group's timeline."""

    @cached_property
    def _keys(self) -> Ints:
        """Group and number of eligible rows before each passed one, in one sorted number."""
        groups = np.repeat(np.arange(len(self.first_row)), np.diff(self.offsets))
        return groups << 32 | self.eligible_before(groups, np.arange(len(self.rows)))

    def eligible_before(self, groups: Ints, places: Ints) -> Ints:
        """Number of rows that are not passed over before `rows[places]`, which belong to `groups`."""
        return self.rows[places] - self.first_row[groups] - (places - self.offsets[groups])

    def row_of(self, groups: Ints, ranks: Ints) -> Ints:
        """Row of the item with rank `ranks` (from 0) among those that are not passed over.

        Of a group's passed rows e_0 < e_1 < …, the i-th has e_i − first − i eligible rows before it, which does not
        decrease in i; so the item of rank t stands behind those of them with at most t. One search over all groups.
        """
        passed = np.searchsorted(self._keys, groups << 32 | ranks, side="right") - self.offsets[groups]
        found: Ints = self.first_row[groups] + ranks + passed
        return found
