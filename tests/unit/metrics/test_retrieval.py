"""Hit rate and popularity of retrieved lists, against slow loops and values by hand."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tastelab.metrics import retrieval
from tastelab.metrics.intervals import bootstrap_mean
from tastelab.metrics.retrieval import hits, per_user, popularity, popularity_index, summary


def test_the_documented_examples_hold() -> None:
    assert doctest.testmod(retrieval).failed == 0


def test_hits_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    lists = np.stack([rng.permutation(30)[:12] for _ in range(200)])
    lists[:20, 5:] = -1
    targets = rng.integers(30, size=200)
    for k in (1, 5, 12):
        assert hits(lists, targets, k).tolist() == [
            t in row[:k] for row, t in zip(lists.tolist(), targets, strict=True)
        ]
    assert 0 < hits(lists, targets, 5).sum() < hits(lists, targets, 12).sum()


def test_an_empty_slot_is_never_a_hit() -> None:
    assert hits([[-1, -1]], [-1], 2).tolist() == [False]


@pytest.mark.parametrize(
    ("lists", "targets", "k", "sentence"),
    [
        ([[1, 2]], [1], 3, "There is no HR@3 of 2 retrieved items"),
        ([[1, 2]], [1], 0, "There is no HR@0"),
        ([[1, 2]], [1, 2], 1, "one target per list: 1, not 2"),
        ([1, 2], [1], 1, r"integers \(examples, slots\)"),
        ([[0.5]], [1], 1, "integers"),
    ],
)
def test_what_is_no_list_is_refused(lists: object, targets: object, k: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hits(lists, targets, k)  # type: ignore[arg-type]


def test_values_of_users_average_to_the_mean_over_examples() -> None:
    rng = np.random.default_rng(1)
    values, users = rng.random(500), rng.integers(40, size=500) * 3
    values[::7] = np.nan
    found = per_user(values, users)
    assert len(found) == len(np.unique(users))
    assert np.nanmean(found) == pytest.approx(np.nanmean(values))
    first, mean = values[users == users.min()], np.nanmean(values)
    examples = np.count_nonzero(~np.isnan(values))
    assert found[0] == pytest.approx(mean + np.nansum(first - mean) * len(found) / examples)


def test_users_of_many_examples_do_not_widen_the_interval_of_equal_values() -> None:
    users = np.repeat(np.arange(40), np.arange(1, 41))
    found = bootstrap_mean(per_user(np.ones(len(users)), users))
    assert [found.mean, found.low, found.high] == pytest.approx([1.0, 1.0, 1.0])


def test_the_interval_is_that_of_a_mean_over_the_examples_of_resampled_users() -> None:
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(300), rng.geometric(0.2, 300))
    values = (rng.random(len(users)) < rng.beta(2, 4, 300)[users]).astype(float)
    sums, counts = np.bincount(users, values), np.bincount(users)
    drawn = rng.integers(300, size=(4_000, 300))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    found = bootstrap_mean(per_user(values, users), resamples=4_000)
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.1 * (high - low))


def test_a_user_without_a_value_is_left_out_of_the_interval() -> None:
    found = per_user([1.0, np.nan, 0.0], [5, 6, 7])
    assert np.isnan(found[1])
    assert found[[0, 2]].tolist() == [1.0, 0.0]
    assert bootstrap_mean(found).n == 2


def test_popularity_is_the_mean_share_of_the_slots() -> None:
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(20))
    lists = rng.integers(20, size=(50, 6))
    lists[3, 4:] = -1
    expected = [np.mean([shares[item] for item in row if item >= 0]) for row in lists.tolist()]
    assert popularity(lists, shares) == pytest.approx(expected)
    assert np.isnan(popularity([[-1, -1]], shares)).all()


def test_the_index_needs_something_popular() -> None:
    with pytest.raises(ValueError, match="no popularity index"):
        popularity_index({"a": 0.0})
    assert popularity_index({"a": 0.2, "b": 0.1}) == {"a": 1.0, "b": 0.5}


def test_a_summary_has_the_mean_within_its_interval() -> None:
    found = summary({"hr@50": np.random.default_rng(0).random(300)})["hr@50"]
    assert set(found) == {"mean", "low", "high", "n"}
    assert found["low"] < found["mean"] < found["high"]
    assert found["n"] == 300
