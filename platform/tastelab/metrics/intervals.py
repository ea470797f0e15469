"""Bootstrap intervals of a mean (methods.md §1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK_DRAWS = 1 << 20


class Interval(NamedTuple):
    """A mean with the bounds of its interval and the number of values behind it."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: ArrayLike, resamples: int = 1_000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Bound a mean by the percentiles of its bootstrap distribution (Efron 1979).

    NaN marks an absent value and is left out. The same values and seed give the same interval. One value is its own
    interval; without any, mean and bounds are NaN and n is 0.

    >>> bootstrap_mean([0.5, 0.5, float("nan")])
    Interval(mean=0.5, low=0.5, high=0.5, n=2)

    Args:
        values: N numbers, one per impression (per user for retrieval).
        resamples: number of bootstrap samples.
        confidence: share of the bootstrap distribution between the bounds.
        seed: of the random draws.

    Raises:
        ValueError: `resamples` below 1 or `confidence` outside (0, 1).
    """
    present = np.asarray(values, np.float64).ravel()
    present = present[~np.isnan(present)]
    low, high = percentile_bounds(bootstrap_means(present, resamples, seed), confidence)
    mean = float(present.mean()) if present.size else float("nan")
    return Interval(mean, low, high, present.size)


def bootstrap_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Draw means of N values with replacement: `resamples` of them, NaN when there is no value.

    Draws are made a chunk of resamples at a time, so memory stays flat; they do not depend on the chunk.
    """
    if resamples < 1:
        raise ValueError(f"A bootstrap needs at least 1 resample, not {resamples}.")
    if not values.size:
        return np.full(resamples, np.nan)
    rng, rows = np.random.default_rng(seed), max(1, CHUNK_DRAWS // values.size)
    sizes = (min(rows, resamples - start) for start in range(0, resamples, rows))
    draws = (rng.integers(values.size, size=(size, values.size)) for size in sizes)
    return np.concatenate([values[drawn].mean(axis=1) for drawn in draws])


def percentile_bounds(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the bounds that leave `(1 - confidence) / 2` of the bootstrap means on each side."""
    if not 0 < confidence < 1:
        raise ValueError(f"Confidence is a share between 0 and 1, such as 0.95, not {confidence}.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
