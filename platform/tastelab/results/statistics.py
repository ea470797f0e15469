"""What a difference and a mean over seeds are worth: paired tests and intervals (methods.md §1).

Shape letters: K seeds, N impressions, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastelab.metrics.intervals import CHUNK_DRAWS, bootstrap_mean, bootstrap_means, percentile_bounds


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same impressions: `first - second`, its bounds where the test gives any, and its p-value."""

    test: str
    difference: float
    low: float | None
    high: float | None
    p: float
    """Two-sided, of the hypothesis that the systems do not differ; never below 1 / (resamples + 1)."""
    n: int
    """Impressions on which both systems have the metric."""


@dataclass(frozen=True)
class SeededMean:
    """The mean of one result row over its seeds, with what its interval covers."""

    mean: float
    low: float
    high: float
    n: int
    sd: float
    """Standard deviation (divisor K - 1) of the seeds' means; NaN with one seed."""
    num_seeds: int
    covers: str
    """What the interval covers and what it does not: a sentence for the caption."""


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare two systems by resampling impressions, each with its two values.

    The bounds are percentiles of the resampled mean difference; p is twice the smaller share of resamples on either
    side of 0, with one added to the numerator and to the denominator so that it is never 0.

    Args:
        first: N values of a metric, NaN where it does not exist.
        second: the values of the other system on the same impressions in the same order.
        resamples: number of bootstrap samples.
        confidence: share of the resampled differences between the bounds.
        seed: of the random draws.

    Raises:
        ValueError: arrays of different lengths, or no impression on which both systems have the metric.
    """
    difference_N = _paired(first, second)
    means_R = bootstrap_means(difference_N, resamples, seed)
    low, high = percentile_bounds(means_R, confidence)
    tail = min(int(np.count_nonzero(means_R <= 0)), int(np.count_nonzero(means_R >= 0)))
    p = min(1.0, 2 * (tail + 1) / (resamples + 1))
    return Comparison("paired bootstrap", float(difference_N.mean()), low, high, p, len(difference_N))


def paired_permutation(first: ArrayLike, second: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Compare two systems by swapping their values on a random half of the impressions (sign-flip test).

    p is the share of swaps whose absolute mean difference is at least the observed one, the observed one counted
    among them. Arguments and errors are those of `paired_bootstrap`.
    """
    if resamples < 1:
        raise ValueError(f"A permutation test needs at least 1 resample, not {resamples}.")
    difference_N = _paired(first, second)
    observed = float(difference_N.sum())
    rounding = 1e-12 * float(np.abs(difference_N).sum())
    rng, rows, extreme = np.random.default_rng(seed), max(1, CHUNK_DRAWS // len(difference_N)), 0
    for start in range(0, resamples, rows):
        kept = rng.integers(2, size=(min(rows, resamples - start), len(difference_N)), dtype=np.int8)
        sums_R = 2 * (kept @ difference_N) - observed
        extreme += int(np.count_nonzero(np.abs(sums_R) >= abs(observed) - rounding))
    p = (extreme + 1) / (resamples + 1)
    return Comparison("paired permutation", observed / len(difference_N), None, None, p, len(difference_N))


def over_seeds(
    values: Sequence[ArrayLike] | NDArray[np.float64],
    resamples: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SeededMean:
    """Summarise one row's runs, which differ in their seed alone.

    The mean is over seeds and impressions. The interval is a bootstrap over impressions of the values averaged over
    seeds: it covers the choice of impressions, not the spread of training, for which there is `sd`.

    Args:
        values: K arrays of N values, the same impressions in the same order; NaN where the metric does not exist.
        resamples: number of bootstrap samples.
        confidence: share of the bootstrap distribution between the bounds.
        seed: of the random draws.

    Raises:
        ValueError: no run, or runs that were not measured on the same impressions.
    """
    values_KN = _same_impressions(values)
    num_seeds = len(values_KN)
    mean, low, high, n = bootstrap_mean(values_KN.mean(axis=0), resamples, confidence, seed)
    present_KN = values_KN[:, ~np.isnan(values_KN[0])]
    sd = float(present_KN.mean(axis=1).std(ddof=1)) if num_seeds > 1 and n else float("nan")
    return SeededMean(mean, low, high, n, sd, num_seeds, _coverage(confidence, num_seeds))


def _coverage(confidence: float, num_seeds: int) -> str:
    interval = f"{confidence:.0%} percentile bootstrap over impressions"
    if num_seeds == 1:
        return f"{interval} of one seed's values; it does not cover the spread between seeds"
    return f"{interval} of the values averaged over {num_seeds} seeds; the spread between seeds is the sd"


def _paired(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Return `first - second` on the impressions where both exist."""
    first_N, second_N = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first_N.ndim != 1 or first_N.shape != second_N.shape:
        raise ValueError(
            "Compare two systems on the same impressions: pass flat arrays of one length, "
            f"not of shapes {first_N.shape} and {second_N.shape}."
        )
    difference_N: NDArray[np.float64] = first_N - second_N
    difference_N = difference_N[~np.isnan(difference_N)]
    if not difference_N.size:
        raise ValueError("There is no impression on which both systems have the metric: compare another metric.")
    return difference_N


def _same_impressions(values: Sequence[ArrayLike] | NDArray[np.float64]) -> NDArray[np.float64]:
    runs = [np.asarray(run, np.float64) for run in values]
    if not runs or any(run.shape != runs[0].shape or run.ndim != 1 for run in runs):
        raise ValueError("Pass at least one run, each a flat array with one value for each of the same impressions.")
    values_KN = np.stack(runs)
    if (np.isnan(values_KN) != np.isnan(values_KN[0])).any():
        raise ValueError("The metric exists on other impressions in one run than in another: measure the same split.")
    return values_KN
