"""Several lists of a user into one, against a dictionary."""

from __future__ import annotations

import numpy as np

from tastelab.retrieval.merge import Excluded, merge, without


def test_an_item_has_its_best_score_once() -> None:
    rows, scores = merge(np.array([[3, 1, 3, 2]]), np.array([[0.5, 0.4, 0.9, 0.4]]), k=3)
    assert rows.tolist() == [[3, 1, 2]]
    assert scores.round(4).tolist() == np.float32([[0.9, 0.4, 0.4]]).round(4).tolist()


def test_merging_is_that_of_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    rows, scores = rng.integers(-1, 12, (80, 20)), rng.integers(0, 6, (80, 20)) / 8
    found, best = merge(rows, scores, 8)
    for row, score, merged, value in zip(rows.tolist(), scores.tolist(), found.tolist(), best.tolist(), strict=True):
        most: dict[int, float] = {}
        for item, number in zip(row, score, strict=True):
            if item >= 0:
                most[item] = max(most.get(item, -1.0), number)
        order = sorted(most, key=lambda item: (-most[item], item))[:8]
        assert merged == order + [-1] * (8 - len(order))
        assert value[: len(order)] == [most[item] for item in order]


def test_a_short_list_is_filled_with_nothing() -> None:
    rows, scores = merge(np.array([[4, -1]]), np.array([[0.1, 0.7]]), k=3)
    assert rows.tolist() == [[4, -1, -1]]
    assert np.isneginf(scores[0, 1:]).all()


def test_each_user_has_exclusions_of_their_own() -> None:
    excluded = Excluded([1, 2, 7, 99], [0, 2, 2, 4])
    rows, scores = without(np.array([[1, 3], [1, 2], [7, -1]]), np.ones((3, 2)), excluded)
    assert rows.tolist() == [[-1, 3], [1, 2], [-1, -1]]
    assert np.isneginf(scores).tolist() == [[True, False], [False, False], [True, True]]


def test_consecutive_users_keep_their_exclusions() -> None:
    excluded = Excluded([1, 2, 7, 9], [0, 2, 2, 4])
    part = excluded[1:3]
    assert (part.items.tolist(), part.offsets.tolist(), part.users().tolist()) == ([7, 9], [0, 0, 2], [1, 1])
    assert len(part) == part.longest == 2
