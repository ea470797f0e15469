"""Hashes: one a byte-by-byte definition gives, the same for any slice and chunk, apart for what is near."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix.hashing import NO_HASH, drawn, hashed, mixed, seed_of

MASK = 2**64 - 1


def slow_mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def slow_hash(text: str, seed: int) -> int:
    content = text.encode()
    state = slow_mixed(len(content) ^ seed)
    for place in range(0, len(content), 8):
        state = slow_mixed(state ^ int.from_bytes(content[place : place + 8], "little"))
    return max(state, 1)


TEXTS = ["", "a", "b", "ab", "a\0", "12345678", "123456789", "é", "x" * 1_000, "12345678" * 2, "a"]


def test_mixing_is_splitmix64() -> None:
    # The first outputs of SplitMix64 seeded with 0, whose state grows by the golden gamma each time.
    states = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
    assert [hex(value) for value in mixed(states).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_a_hash_is_what_a_slow_loop_gives() -> None:
    assert hashed(pa.array(TEXTS), 5).tolist() == [slow_hash(text, 5) for text in TEXTS]


def test_slices_and_chunks_change_nothing() -> None:
    whole = hashed(pa.array(TEXTS), 1)
    assert (hashed(pa.array(["zz", *TEXTS, "y"]).slice(1, len(TEXTS)), 1) == whole).all()
    assert (hashed(pa.chunked_array([TEXTS[:3], TEXTS[3:]]), 1) == whole).all()
    assert (hashed(pa.array(TEXTS, pa.large_string()), 1) == whole).all()


def test_nulls_have_no_hash_and_nothing_else_has_none() -> None:
    found = hashed(pa.array([None, "", "a"]), 0)
    assert found[0] == NO_HASH
    assert (found[1:] != NO_HASH).all()
    assert len(hashed(pa.array([], pa.string()), 0)) == 0


def test_namespaces_are_apart() -> None:
    assert hashed(pa.array(["7"]), seed_of("user", "a")) != hashed(pa.array(["7"]), seed_of("user", "b"))
    assert seed_of("a", "b") != seed_of("ab")


def test_distinct_strings_do_not_meet() -> None:
    numbers = pa.array([str(number) for number in range(200_000)])
    assert len(np.unique(hashed(numbers, 3))) == 200_000


@pytest.mark.parametrize("sides", [2, 16, 7])
def test_draws_are_uniform_and_depend_on_every_key(sides: int) -> None:
    keys = np.arange(64_000, dtype=np.uint64)
    counts = np.bincount((drawn(0, keys, keys[:1]) % np.uint64(sides)).astype(int), minlength=sides)
    expected = 64_000 / sides
    assert ((counts - expected) ** 2 / expected).sum() < 3 * sides + 12  # chi-square, far out in its tail
    assert (drawn(0, keys) != drawn(1, keys)).all()
    assert (drawn(0, keys, keys[:1]) != drawn(0, keys, keys[1:2])).all()
