"""People of users, and the identifiers that are written."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix.buckets import check_one_id_each
from tastelab.data.mix.people import join_accounts, written_ids


def u64(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.uint64)


def test_accounts_of_a_person_are_joined_and_others_stay_alone() -> None:
    people = join_accounts(u64(9, 3, 5), u64(100, 100, 200))
    assert people.of(u64(3, 5, 9, 4)).tolist() == [100, 200, 100, 4]
    assert people.num_joined == 1


def test_the_first_account_of_a_user_counts() -> None:
    assert join_accounts(u64(3, 3), u64(7, 8)).of(u64(3)).tolist() == [7]


def test_without_accounts_everybody_is_a_person() -> None:
    assert join_accounts(u64(), u64()).of(u64(4, 4, 2)).tolist() == [4, 4, 2]


def test_written_identifiers_are_keyed_digests() -> None:
    found = written_ids("u", u64(1, 2**63), b"salt").to_pylist()
    expected = hashlib.blake2b((1).to_bytes(8, "little"), digest_size=8, key=b"salt", person=b"u").hexdigest()
    assert found[0] == f"u{expected}"
    assert all(re.fullmatch("u[0-9a-f]{16}", each) for each in found)
    assert len(set(found)) == 2


def test_another_salt_or_kind_gives_other_identifiers() -> None:
    one = written_ids("u", u64(1), b"a").to_pylist()[0]
    assert written_ids("u", u64(1), b"b").to_pylist()[0] != one
    assert written_ids("i", u64(1), b"a").to_pylist()[0][1:] != one[1:]
    assert written_ids("u", u64(1), b"long" * 50).to_pylist() == written_ids("u", u64(1), b"long" * 50).to_pylist()


@pytest.mark.parametrize(("persons", "ids"), [([1, 1], ["a", "b"]), ([1, 2], ["a", "a"]), ([1, 2], ["a"])])
def test_a_person_with_two_identifiers_or_one_for_two_is_refused(persons: list[int], ids: list[str]) -> None:
    check_one_id_each(np.array([1, 2], np.uint64), pa.array(["a", "b"]))
    with pytest.raises(ValueError, match="Two people would have one identifier, or one person two"):
        check_one_id_each(np.array(persons, np.uint64), pa.array(ids))
