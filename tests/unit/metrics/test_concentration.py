"""Diversity, coverage, Gini and degrees of what is retrieved, against slow loops, formulas and values by hand."""

from __future__ import annotations

import doctest
from collections import Counter

import numpy as np
import pytest

from tastelab.metrics import concentration
from tastelab.metrics.concentration import (
    aggregated_diversity,
    coverage,
    degree_histogram,
    degrees,
    gini,
    gini_of,
    spread,
)

NUM_ITEMS = 40


@pytest.fixture
def lists() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = (NUM_ITEMS * rng.random((60, 5)) ** 2).astype(np.int64)
    found[7, 3:] = -1
    return found


def test_the_documented_examples_hold() -> None:
    assert doctest.testmod(concentration).failed == 0


def test_degrees_are_those_of_a_slow_loop(lists: np.ndarray) -> None:
    counted = Counter(item for row in lists.tolist() for item in row if item >= 0)
    assert degrees(lists, NUM_ITEMS).tolist() == [counted[item] for item in range(NUM_ITEMS)]


def test_distinct_items_are_counted_once(lists: np.ndarray) -> None:
    distinct = {item for row in lists.tolist() for item in row if item >= 0}
    assert aggregated_diversity(lists, NUM_ITEMS).mean == len(distinct)
    assert coverage(lists, NUM_ITEMS).mean == len(distinct) / NUM_ITEMS
    assert aggregated_diversity(lists, NUM_ITEMS).n == len(lists)


def test_gini_is_the_mean_difference_of_all_pairs(lists: np.ndarray) -> None:
    counts = degrees(lists, NUM_ITEMS).astype(float)
    pairs = np.abs(counts[:, None] - counts[None]).mean() / (2 * counts.mean())
    assert gini(lists, NUM_ITEMS).mean == pytest.approx(pairs)
    assert (counts == 0).any(), "items that are never retrieved must matter here"
    assert gini_of(counts[counts > 0], NUM_ITEMS) == pytest.approx(pairs)
    assert gini_of(counts[counts > 0]) < pairs


def test_gini_of_nothing_is_not_a_number() -> None:
    assert np.isnan(gini_of([], 5))


@pytest.mark.parametrize("metric", [aggregated_diversity, coverage, gini])
def test_intervals_hold_what_was_observed(metric: concentration.Callable, lists: np.ndarray) -> None:  # type: ignore[type-arg]
    found = metric(lists, NUM_ITEMS)
    assert found.low < found.mean < found.high
    assert metric(lists, NUM_ITEMS) == found
    assert metric(lists, NUM_ITEMS, seed=1) != found


def test_the_interval_of_diversity_is_the_spread_over_draws_of_users() -> None:
    """Drawn from a known population again and again, the count spreads about as wide as one draw's interval says."""
    rng = np.random.default_rng(3)
    population = (2_000 * rng.random((20_000, 5)) ** 3).astype(np.int64)
    draws = [population[rng.choice(len(population), 300, replace=False)] for _ in range(200)]
    counts = [len(np.unique(draw)) for draw in draws]
    wide = np.diff(np.quantile(counts, [0.025, 0.975]))[0]
    found = aggregated_diversity(draws[0], 2_000)
    assert 0.6 * wide < found.high - found.low < 1.6 * wide


def test_lists_of_one_user_are_drawn_together() -> None:
    apart = np.arange(40).reshape(20, 2)
    alone, together = coverage(apart, 400), coverage(apart, 400, np.arange(20) // 10)
    assert together.n == 2
    assert together.mean == alone.mean
    assert together.high - together.low > alone.high - alone.low


def test_bins_double_and_hold_everything(lists: np.ndarray) -> None:
    shares = np.random.default_rng(5).dirichlet(np.ones(NUM_ITEMS))
    shares[4] = 0.0
    found = degree_histogram(lists, shares)
    counts, slots = degrees(lists, NUM_ITEMS), int((lists >= 0).sum())
    edges = np.array(found["edges"])
    assert edges.tolist() == [0, *(2 ** np.arange(len(edges) - 1))]
    assert found["items"] == np.histogram(counts, edges)[0].tolist()
    assert found["catalogue"] == np.histogram(np.floor(shares * slots), edges)[0].tolist()
    assert found["slots"] == np.histogram(np.floor(shares * slots), edges, weights=counts)[0].astype(int).tolist()
    assert sum(found["items"]) == sum(found["catalogue"]) == NUM_ITEMS
    assert sum(found["slots"]) == slots


def test_degrees_in_the_data_do_not_fall_below_their_bin_by_rounding() -> None:
    found = degree_histogram([[0], [0], [0], [0], [0], [0], [0]], np.array([4, 3]) / 7)
    assert found["catalogue"] == [0, 0, 1, 1]


def test_several_metrics_share_a_bootstrap(lists: np.ndarray) -> None:
    apart = {"diversity": aggregated_diversity, "coverage": coverage, "gini": gini}
    assert spread(lists, NUM_ITEMS) == {name: metric(lists, NUM_ITEMS) for name, metric in apart.items()}


def test_no_list_at_all() -> None:
    nothing = np.empty((0, 5), np.int64)
    assert aggregated_diversity(nothing, 9) == (0, 0, 0, 0)
    assert degree_histogram(nothing, [0.5, 0.5]) == {"edges": [0, 1], "items": [2], "catalogue": [2], "slots": [0]}
