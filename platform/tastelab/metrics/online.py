"""What [B] measures online, as ratios over what users were shown: CTR, dwell time, popularity.

Shape letter: V users.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tastelab.metrics.intervals import CHUNK_DRAWS, Interval, percentile_bounds


def bootstrap_ratio(
    totals_V: ArrayLike, counts_V: ArrayLike, resamples: int = 1_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Bound `sum(totals) / sum(counts)` by drawing whole users with replacement.

    CTR has clicks over recommendations, dwell time seconds over clicks: users who come often count as often, as in [B],
    and what one user does on several days is not taken for independent. Users without any count are left out; n is how
    many remain. Without any, mean and bounds are NaN.

    >>> bootstrap_ratio([1, 3, 0], [2, 6, 0])
    Interval(mean=0.5, low=0.5, high=0.5, n=2)

    Args:
        totals_V: what is counted, of each user.
        counts_V: what it is counted over, of each user.
        resamples: number of bootstrap samples.
        confidence: share of the bootstrap distribution between the bounds.
        seed: of the draws; the same seed draws the same users for every system that serves the same ones.

    Raises:
        ValueError: `resamples` below 1 or `confidence` outside (0, 1).
    """
    totals_V, counts_V = np.asarray(totals_V, np.float64), np.asarray(counts_V, np.float64)
    kept_V = counts_V > 0
    totals_V, counts_V = totals_V[kept_V], counts_V[kept_V]
    if resamples < 1:
        raise ValueError(f"A bootstrap needs at least 1 resample, not {resamples}.")
    if not len(counts_V):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng, rows = np.random.default_rng(seed), max(1, CHUNK_DRAWS // len(counts_V))
    sizes = (min(rows, resamples - start) for start in range(0, resamples, rows))
    drawn = (rng.integers(len(counts_V), size=(size, len(counts_V))) for size in sizes)
    ratios = np.concatenate([totals_V[users].sum(axis=1) / counts_V[users].sum(axis=1) for users in drawn])
    low, high = percentile_bounds(ratios, confidence)
    return Interval(float(totals_V.sum() / counts_V.sum()), low, high, len(counts_V))
