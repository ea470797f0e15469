"""Bootstrap intervals: against theory, scipy and themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tastelab.metrics import intervals
from tastelab.metrics.intervals import bootstrap_mean, bootstrap_means


def test_agrees_with_the_normal_interval_of_many_values() -> None:
    values = np.random.default_rng(0).random(4_000)
    mean, low, high, n = bootstrap_mean(values, resamples=4_000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (mean, n) == (pytest.approx(values.mean()), 4_000)
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.06), pytest.approx(half, rel=0.06))


def test_agrees_with_scipy_on_a_skewed_sample() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    ours = bootstrap_mean(values, resamples=20_000, confidence=0.9)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.015), pytest.approx(theirs.high, abs=0.015))


def test_exact_distribution_of_two_values() -> None:
    means = bootstrap_means(np.array([0.0, 1.0]), 20_000, seed=0)
    shares = [float(np.mean(means == value)) for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    samples = [bootstrap_mean(rng.normal(size=60), resamples=300, confidence=0.8) for _ in range(300)]
    assert np.mean([s.low <= 0 <= s.high for s in samples]) == pytest.approx(0.8, abs=0.07)


def test_absent_values_are_left_out() -> None:
    values = np.random.default_rng(0).random(50)
    holes = np.insert(values, [0, 20, 50], np.nan)
    assert bootstrap_mean(holes) == bootstrap_mean(values)


def test_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(101)
    first = bootstrap_mean(values, seed=1)
    assert first == bootstrap_mean(values, seed=1)
    assert first != bootstrap_mean(values, seed=2)
    monkeypatch.setattr(intervals, "CHUNK_DRAWS", 350)  # three resamples at a time
    assert first == bootstrap_mean(values, seed=1)


def test_one_value_and_none() -> None:
    assert bootstrap_mean([0.25]) == (0.25, 0.25, 0.25, 1)
    absent = bootstrap_mean([math.nan])
    assert absent.n == 0
    assert all(math.isnan(value) for value in absent[:3])


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="at least 1 resample, not 0"):
        bootstrap_mean([1.0], resamples=0)
    with pytest.raises(ValueError, match=r"Confidence is a share between 0 and 1, such as 0\.95, not 95"):
        bootstrap_mean([1.0], confidence=95)
