"""What a run left behind over its steps: curves out of records, averaged over seeds and smoothed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tastelab.results.store import Record, lookup

Floats = NDArray[np.float64]
Trajectory = tuple[Floats, Floats]
"""Steps, or places along a run, and values."""


def curve(run: Record, name: str) -> Trajectory:
    """Return a curve of a record, empty where it has none; points without a value are left out."""
    steps, values = (lookup(run, "curves") or {}).get(name) or ((), ())
    kept = [(step, value) for step, value in zip(steps, values, strict=False) if value is not None]
    pairs = np.asarray(kept, np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def last_step(run: Record) -> float:
    """Return the last step that any curve of a record reaches, at least 1."""
    ends = [float(steps[-1]) for name in lookup(run, "curves") or {} if (steps := curve(run, name)[0]).size]
    return max([1.0, *ends])


def mean_curve(seeds: Sequence[Trajectory], log: bool = False) -> Trajectory:
    """Average runs at the places that all of them have: the arithmetic mean, the geometric one if `log`."""
    places = seeds[0][0]
    for steps, _ in seeds[1:]:
        places = np.intersect1d(places, steps)
    values = np.stack([values[np.isin(steps, places)] for steps, values in seeds])
    return places, np.exp(np.log(values).mean(axis=0)) if log else values.mean(axis=0)


def smoothed(values: Floats, log: bool = False) -> Floats:
    """Average each value with its neighbours, about a tenth of all in total; of logarithms if `log`."""
    half = max(1, len(values) // 20)
    window = np.ones(2 * half + 1)
    raw = np.log(values) if log else values
    sums, counts = (np.convolve(of, window)[half:-half] for of in (raw, np.ones_like(raw)))
    means: Floats = sums / counts
    return np.exp(means) if log else means


def end_to_end(curves: Sequence[Trajectory]) -> Trajectory:
    """Put several curves into one, a gap (NaN) after each, so that they are drawn as one path."""
    places, values = ([part for of in sides for part in (of, [np.nan])] for sides in zip(*curves, strict=True))
    return np.concatenate(places), np.concatenate(values)
