"""64-bit hashes of strings and of numbers, vectorised and the same in every version of every library.

They stand for identifiers within a build and make its draws; what is written are keyed digests of them (`people`).
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U64 = npt.NDArray[np.uint64]

NO_HASH = 0
"""Stands for an absent string; no string has it."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

assert sys.byteorder == "little", "words are read from bytes as they lie"


def mixed(values: U64) -> U64:
    """Scramble 64-bit numbers one to one (the finaliser of SplitMix64): near inputs give unrelated outputs."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def drawn(seed: int, *keys: U64) -> U64:
    """Draw a number per row: a pure function of the seed and of the row's keys, which broadcast."""
    state = mixed(np.asarray([seed % 2**64], np.uint64))
    for key in keys:
        state = mixed(state ^ key)
    return state


def seed_of(*names: str, key: bytes = b"") -> int:
    """Return a 64-bit seed for a namespace, so that one string in two of them has two hashes.

    With a key, nobody without it can tell the hash of a name, nor the order and the draws that follow from it.
    """
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8, key=short_key(key)).digest()
    return int.from_bytes(digest, "little")


def short_key(key: bytes) -> bytes:
    """Return a key that BLAKE2b takes; a longer one is digested first."""
    return key if len(key) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(key).digest()


def hashed(strings: pa.Array | pa.ChunkedArray, seed: int) -> U64:
    """Hash strings, 8 bytes at a time over all rows together; a null gives `NO_HASH`."""
    array = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    array = array.cast(pa.large_binary())
    if not len(array):
        return np.empty(0, np.uint64)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(data or b"", np.uint8)
    hashes = _hash_bytes(content, offsets[:-1], np.diff(offsets), seed)
    hashes[np.asarray(array.is_null())] = NO_HASH
    return hashes


def _hash_bytes(
    content: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], seed: int
) -> U64:
    padded = np.concatenate([content, np.zeros(8, np.uint8)])
    # The word that begins at each byte, without a copy.
    words = np.ndarray((len(content) + 1,), np.dtype("<u8"), padded, strides=(1,))
    state = mixed(lengths.astype(np.uint64) ^ np.uint64(seed))
    alive = np.flatnonzero(lengths > 0)
    place = 0
    while len(alive):
        word = words[starts[alive] + place]
        unused_bits = (8 * np.maximum(0, place + 8 - lengths[alive])).astype(np.uint64)
        state[alive] = mixed(state[alive] ^ ((word << unused_bits) >> unused_bits))
        place += 8
        alive = alive[lengths[alive] > place]
    return np.maximum(state, np.uint64(NO_HASH + 1))
