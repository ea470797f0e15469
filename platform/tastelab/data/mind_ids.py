"""Ids in a buffer of bytes → 64-bit keys → rows, without making a string of any of them.

An id of up to 8 bytes is its own key, exactly; a longer one is hashed to 64 bits, where two of a million ids collide
with a probability below 1e-7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

PADDING = b"\0" * 8  # what `keys_of` may read behind the last id
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads close keys over the table
_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def keys_of(buffer: NDArray[np.uint8], starts: Ints, lengths: Ints) -> Keys:
    """Return the key of each id `buffer[start : start + length]`; `buffer` ends with `PADDING`."""
    words = np.ndarray(len(buffer) - 7, "<u8", buffer.data, 0, (1,))  # the 8 bytes from every position, aligned or not
    keys = words[starts] & _LOW_BYTES[np.minimum(lengths, 8)]
    for done in range(8, int(lengths.max(initial=0)), 8):
        more = np.flatnonzero(lengths > done)
        word = words[starts[more] + done] & _LOW_BYTES[np.minimum(lengths[more] - done, 8)]
        keys[more] = (keys[more] * _MULTIPLIER) ^ (keys[more] >> np.uint64(32)) ^ word
    return keys


def keys_of_strings(ids: list[str]) -> Keys:
    """Return the keys of ids that are strings."""
    encoded = [item.encode() for item in ids]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    buffer = np.frombuffer(b"".join(encoded) + PADDING, np.uint8)
    return keys_of(buffer, np.cumsum(lengths) - lengths, lengths)


class KeyTable:
    """A hash table from key to position (open addressing, a quarter full), looked up a whole array at a time."""

    def __init__(self, keys: Keys) -> None:
        """Build the table of distinct keys; key i is at position i."""
        bits = max(4, (4 * len(keys)).bit_length())
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._keys, self._positions = np.zeros(1 << bits, np.uint64), np.full(1 << bits, -1, np.int32)
        left, slots = np.arange(len(keys), dtype=np.int32), self._first_slots(keys)
        while len(left):
            free = self._positions[slots] < 0
            self._positions[slots[free]] = left[free]  # of several that want a slot the last one gets it
            placed = self._positions[slots] == left
            self._keys[slots[placed]] = keys[left[placed]]
            left, slots = left[~placed], (slots[~placed] + 1) & self._mask

    def find(self, keys: Keys) -> NDArray[np.int32]:
        """Return the position of each key, -1 where the table lacks it."""
        slots = self._first_slots(keys)
        positions = self._positions[slots]
        left = np.flatnonzero((self._keys[slots] != keys) & (positions >= 0))
        while len(left):
            slots[left] = (slots[left] + 1) & self._mask
            positions[left] = self._positions[slots[left]]
            left = left[(self._keys[slots[left]] != keys[left]) & (positions[left] >= 0)]
        return positions

    def _first_slots(self, keys: Keys) -> Ints:
        return ((keys * _MULTIPLIER) >> self._shift).astype(np.int64)


class SeenKeys:
    """All keys met so far, 8 bytes each: sorted runs whose sizes at least halve, so that n keys cost O(n log n)."""

    def __init__(self) -> None:
        self._runs: list[Keys] = []

    def repeated(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell which keys were met before, here or in an earlier call, and remember them all."""
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        known = np.zeros(len(distinct), np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            known |= run[places] == distinct
        self._remember(distinct[~known])
        repeated = np.ones(len(keys), np.bool_)
        repeated[first] = False
        return repeated | known[inverse]

    def _remember(self, run: Keys) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
