"""Roots of replies, against following one parent after the other."""

from __future__ import annotations

import numpy as np
import pytest

from tastelab.data.mix.roots import CYCLE, MISSING, Posts, resolve


def resolved(parents: dict[int, int]) -> dict[int, int]:
    """Roots by id; a parent of 0 is none."""
    ids = np.array(list(parents), np.uint64)
    posts = resolve(ids, ids.astype(np.uint32), np.array(list(parents.values()), np.uint64))
    return by_id(posts)


def by_id(posts: Posts) -> dict[int, int]:
    named = zip(posts.ids.tolist(), posts.roots.tolist(), strict=True)
    return {id_: int(posts.ids[root]) if root >= 0 else root for id_, root in named}


def slow_root(parents: dict[int, int], post: int) -> int:
    seen = set()
    while parents[post]:
        if post in seen:
            return CYCLE
        seen.add(post)
        post = parents[post]
        if post not in parents:
            return MISSING
    return post


def test_chains_end_at_their_item() -> None:
    assert resolved({10: 0, 7: 10, 3: 7, 5: 3, 20: 0}) == {10: 10, 7: 10, 3: 10, 5: 10, 20: 20}


def test_a_missing_parent_is_told_to_all_below_it() -> None:
    assert resolved({7: 99, 3: 7, 1: 0}) == {7: MISSING, 3: MISSING, 1: 1}


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8, 13])
def test_a_cycle_of_any_length_and_what_hangs_on_it_is_found(length: int) -> None:
    ring = {1 + place: 1 + (place + 1) % length for place in range(length)}
    found = resolved(ring | {50: 1, 51: 50, 60: 0, 61: 60})
    assert found == dict.fromkeys([*ring, 50, 51], CYCLE) | {60: 60, 61: 60}


def test_random_forests_with_cycles_and_gaps() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 40, 300):
        ids = rng.choice(10 * size, size, replace=False) + 1
        parents = {int(i): int(rng.choice([0, rng.choice(ids), 20 * size + 1], p=[0.2, 0.75, 0.05])) for i in ids}
        assert resolved(parents) == {post: slow_root(parents, post) for post in sorted(parents)}


def test_a_chain_of_100000_replies() -> None:
    ids = np.arange(1, 100_001, dtype=np.uint64)
    posts = resolve(ids, ids.astype(np.uint32), ids - np.uint64(1))
    assert (posts.roots == 0).all()


def test_the_first_of_a_repeated_id_counts_and_a_collision_is_told_apart() -> None:
    ids = np.array([5, 9, 5, 9, 1], np.uint64)
    checks = np.array([1, 2, 1, 3, 4], np.uint32)  # the second 9 is another id with the same hash
    posts = resolve(ids, checks, np.array([0, 5, 9, 1, 0], np.uint64))
    assert by_id(posts) == {1: 1, 5: 5, 9: 5}
    assert posts.first.tolist() == [4, 0, 1]
    assert posts.dropped == {"post whose id came before": 1, "post whose id has the hash of another": 1}


def test_no_posts() -> None:
    none = np.empty(0, np.uint64)
    posts = resolve(none, none.astype(np.uint32), none)
    assert len(posts.roots) == 0
    assert posts.find(np.array([3], np.uint64)).tolist() == [-1]
