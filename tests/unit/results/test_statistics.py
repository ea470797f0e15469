"""Paired tests and means over seeds: against scipy, exact enumeration and known cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tastelab.metrics.intervals import bootstrap_mean
from tastelab.results import statistics
from tastelab.results.statistics import over_seeds, paired_bootstrap, paired_permutation

RNG = np.random.default_rng(0)
FIRST = RNG.random(500)
BETTER = FIRST + 0.02 + RNG.normal(0, 0.1, 500)


def test_permutation_agrees_with_every_sign() -> None:
    difference = np.array([0.3, -0.1, 0.25, 0.4, 0.05, -0.2, 0.1, 0.15])
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product([-1, 1], repeat=8)]
    exact = np.mean([value >= abs(difference.sum()) - 1e-9 for value in sums])
    result = paired_permutation(difference, np.zeros(8), resamples=20_000)
    assert result.p == pytest.approx(exact, abs=0.01)
    assert result.difference == pytest.approx(difference.mean())
    assert (result.low, result.high, result.n) == (None, None, 8)


def test_pairing_finds_what_the_spread_of_impressions_hides() -> None:
    for test in (paired_bootstrap, paired_permutation):
        assert test(BETTER, FIRST).p < 0.01
        shuffled = np.random.default_rng(1).permutation(FIRST)
        assert test(BETTER, shuffled).p > 0.05


def test_equal_systems_do_not_differ() -> None:
    for test in (paired_bootstrap, paired_permutation):
        result = test(FIRST, FIRST)
        assert (result.difference, result.p) == (0.0, 1.0)


def test_p_is_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(2)
    pairs = [(rng.random(80), rng.random(80)) for _ in range(200)]
    for test in (paired_bootstrap, paired_permutation):
        p = [test(a, b, resamples=400).p for a, b in pairs]
        assert np.mean(np.array(p) < 0.2) == pytest.approx(0.2, abs=0.08)


def test_the_sides_are_symmetric() -> None:
    forward, backward = paired_permutation(BETTER, FIRST), paired_permutation(FIRST, BETTER)
    assert forward.difference == -backward.difference
    assert forward.p == backward.p
    bounds = paired_bootstrap(BETTER, FIRST), paired_bootstrap(FIRST, BETTER)
    assert (bounds[0].low, bounds[0].high) == (pytest.approx(-bounds[1].high), pytest.approx(-bounds[1].low))


def test_the_bootstrap_interval_is_that_of_the_differences() -> None:
    result, plain = paired_bootstrap(BETTER, FIRST, resamples=500, seed=4), bootstrap_mean(BETTER - FIRST, 500, seed=4)
    assert (result.difference, result.low, result.high, result.n) == plain


def test_p_is_never_zero() -> None:
    assert paired_permutation(FIRST + 1, FIRST, resamples=99).p == pytest.approx(0.01)
    assert paired_bootstrap(FIRST + 1, FIRST, resamples=99).p == pytest.approx(0.02)


def test_impressions_without_the_metric_are_dropped_in_pairs() -> None:
    first, second = [0.5, math.nan, 0.7, 0.2], [0.1, 0.2, math.nan, 0.1]
    assert paired_bootstrap(first, second).n == 2
    assert paired_permutation(first, second).difference == pytest.approx(0.25)


def test_chunks_do_not_change_the_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paired_permutation(BETTER, FIRST + 0.015, resamples=400)
    monkeypatch.setattr(statistics, "CHUNK_DRAWS", 4_000)  # multiples of four int8 draws share a 32-bit word
    assert paired_permutation(BETTER, FIRST + 0.015, resamples=400).p == pytest.approx(whole.p)


def test_wrong_pairs_are_named() -> None:
    for test in (paired_bootstrap, paired_permutation):
        with pytest.raises(ValueError, match=r"same impressions: .* not of shapes \(2,\) and \(3,\)"):
            test([1, 2], [1, 2, 3])
        with pytest.raises(ValueError, match="no impression on which both systems have the metric"):
            test([math.nan, 1.0], [1.0, math.nan])
        with pytest.raises(ValueError, match="at least 1 resample, not 0"):
            test([1.0], [2.0], resamples=0)


def test_seeds_by_hand() -> None:
    runs = [[0.0, 1.0, math.nan], [0.5, 0.5, math.nan], [1.0, 0.9, math.nan]]
    row = over_seeds(runs)
    assert row.mean == pytest.approx(0.65)
    assert row.sd == pytest.approx(np.std([0.5, 0.5, 0.95], ddof=1))
    assert (row.n, row.num_seeds) == (2, 3)
    assert "averaged over 3 seeds" in row.covers
    assert row.covers.startswith("95% percentile bootstrap over impressions")


def test_the_interval_is_over_impressions_of_the_averaged_values() -> None:
    rng = np.random.default_rng(3)
    runs = rng.random((3, 400))
    row, plain = over_seeds(runs, seed=7), bootstrap_mean(runs.mean(axis=0), seed=7)
    assert (row.mean, row.low, row.high, row.n) == plain
    far_apart = over_seeds(runs + np.array([[-5.0], [0.0], [5.0]]), seed=7)
    assert far_apart.high - far_apart.low == pytest.approx(row.high - row.low)  # the spread of seeds is in sd alone
    assert far_apart.sd == pytest.approx(5.0, abs=0.1)


def test_one_seed_has_no_spread() -> None:
    row = over_seeds([[0.1, 0.2]])
    assert math.isnan(row.sd)
    assert "does not cover the spread between seeds" in row.covers


def test_runs_of_other_impressions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        over_seeds([])
    with pytest.raises(ValueError, match="at least one run, each a flat array"):
        over_seeds([[0.1], [0.1, 0.2]])
    with pytest.raises(ValueError, match="other impressions in one run than in another"):
        over_seeds([[0.1, math.nan], [math.nan, 0.2]])
