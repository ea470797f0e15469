"""Users → people, and what is written instead of either: digests that only the holder of the salt can make again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.data.mix.hashing import U64, short_key
from tastelab.data.mix.roots import positions


@dataclass(frozen=True)
class People:
    """Which users are accounts of one person."""

    users: U64
    """Sorted."""
    persons: U64

    def of(self, users: U64) -> U64:
        """Return the person of each user: a user without an account is a person of their own."""
        found = positions(self.users, users)
        return np.where(found < 0, users, self.persons[found]) if len(self.users) else users

    @property
    def num_joined(self) -> int:
        """Accounts beyond the first of their person."""
        return len(self.users) - len(np.unique(self.persons))


def join_accounts(users: U64, persons: U64) -> People:
    """Make the map of users to people from rows of accounts; of several rows of one user the first counts."""
    kept, first = np.unique(users, return_index=True)
    return People(kept, persons[first])


def written_ids(prefix: str, hashes: U64, key: bytes) -> pa.Array:
    """Return `prefix` and 16 hex digits per hash: its BLAKE2b digest under the key of the build.

    Hashes are those of distinct people or items, not of events, so this loop is short.
    """
    key = short_key(key)
    rows: Iterable[bytes] = (row.tobytes() for row in np.ascontiguousarray(hashes, "<u8"))
    digests = (hashlib.blake2b(row, digest_size=8, key=key, person=prefix.encode()).hexdigest() for row in rows)
    return pa.array([prefix + digest for digest in digests], pa.string())


def distinct(values: U64) -> tuple[U64, npt.NDArray[np.int64]]:
    """Return the distinct values in order and the place of each value among them."""
    found, inverse = np.unique(values, return_inverse=True)
    return found, inverse.astype(np.int64)
