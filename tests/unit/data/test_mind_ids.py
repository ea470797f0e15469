"""Keys, the table and the memory of ids against dictionaries and sets."""

from __future__ import annotations

import numpy as np

from tastelab.data.mind_ids import KeyTable, SeenKeys, keys_of_strings


def test_keys_tell_ids_apart_at_every_length() -> None:
    ids = ["N1", "N10", "N100000", "N1000000", "N10000000", "x" * 8, "x" * 9, "x" * 16, "x" * 17, "é", "e\u0301"]
    ids += [f"{'long-id-' * 4}{place}" for place in range(1000)] + [f"{place}{'-long-id' * 4}" for place in range(1000)]
    assert len(set(keys_of_strings(ids).tolist())) == len(ids)
    assert keys_of_strings(["N12"])[0] == int.from_bytes(b"N12", "little")  # exact up to 8 bytes


def test_table_finds_what_a_dictionary_finds() -> None:
    rng = np.random.default_rng(0)
    ids = [f"N{number}" for number in rng.permutation(5_000)[:3_000]]
    wanted = [f"N{number}" for number in rng.integers(0, 6_000, 20_000)]
    expected = {item: row for row, item in enumerate(ids)}
    found = KeyTable(keys_of_strings(ids)).find(keys_of_strings(wanted))
    assert found.tolist() == [expected.get(item, -1) for item in wanted]


def test_table_finds_keys_that_share_a_slot() -> None:
    table_slots = KeyTable(np.arange(64, dtype=np.uint64))._first_slots(np.arange(100_000, dtype=np.uint64))
    keys = np.flatnonzero(table_slots == table_slots[0])[:64].astype(np.uint64)
    table = KeyTable(keys)
    assert len(set(table._first_slots(keys).tolist())) == 1
    assert table.find(keys).tolist() == list(range(64))
    assert table.find(np.array([99_999_999], np.uint64)).tolist() == [-1]


def test_an_empty_table_finds_nothing() -> None:
    assert KeyTable(np.empty(0, np.uint64)).find(np.array([0, 5], np.uint64)).tolist() == [-1, -1]


def test_seen_keys_equal_a_set_and_stay_few_runs() -> None:
    rng = np.random.default_rng(1)
    seen, expected = SeenKeys(), set[int]()
    for _ in range(200):
        keys = rng.integers(0, 3_000, rng.integers(0, 40)).astype(np.uint64)
        for key, repeated in zip(keys.tolist(), seen.repeated(keys).tolist(), strict=True):
            assert repeated == (key in expected)
            expected.add(key)
    assert sum(map(len, seen._runs)) == len(expected)
    assert len(seen._runs) <= 14
