from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from tastelab.metrics import online
from tastelab.metrics.intervals import bootstrap_mean
from tastelab.metrics.online import bootstrap_ratio


def test_documented_example() -> None:
    assert doctest.testmod(online).failed == 0


def test_with_equal_counts_it_is_the_bootstrap_of_a_mean() -> None:
    values = np.random.default_rng(1).random(40)
    assert bootstrap_ratio(values * 4, np.full(40, 4)) == pytest.approx(bootstrap_mean(values))


def test_the_ratio_weights_users_by_their_counts() -> None:
    found = bootstrap_ratio([1, 0], [1, 9])
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high, found.n) == (0.0, 1.0, 2)


def test_the_interval_covers_the_ratio_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        counts = rng.integers(1, 20, size=100)
        found = bootstrap_ratio(rng.binomial(counts, 0.3), counts, resamples=200)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 < covered / 200 < 0.99


def test_nothing_counted_has_no_ratio() -> None:
    found = bootstrap_ratio([0, 0], [0, 0])
    assert math.isnan(found.mean)
    assert found.n == 0


def test_a_bootstrap_needs_resamples() -> None:
    with pytest.raises(ValueError, match="at least 1 resample, not 0"):
        bootstrap_ratio([1], [2], resamples=0)
