"""Metrics of retrieval: hit rate and popularity of what a system retrieves (methods.md §1).

They are always of the whole catalogue. Every mean is one over examples (a click and the clicks before it), and its
interval is over users, whose examples depend on each other.

Shape letters: N examples, K retrieved slots of an example, best first, U users, M items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastelab.metrics.intervals import bootstrap_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOTHING = -1
"""A slot that nothing was retrieved for."""


def hits(retrieved_NK: ArrayLike, targets_N: ArrayLike, k: int) -> Bools:
    """Tell whether the clicked item of each example is among the first k retrieved: HR@k is the mean (methods.md §1).

    >>> hits([[4, 2, 7], [1, 2, 3]], [2, 3], k=2).tolist()  # 2 stands second; 3 stands third
    [True, False]

    Args:
        retrieved_NK: item rows, the best first, `NOTHING` where a list is shorter.
        targets_N: row of the item that was clicked.
        k: cut-off.

    Raises:
        ValueError: k is below 1 or above K, or there is not one target per list.
    """
    retrieved, targets = as_lists(retrieved_NK), np.asarray(targets_N)
    if not 1 <= k <= retrieved.shape[1]:
        raise ValueError(f"There is no HR@{k} of {retrieved.shape[1]} retrieved items: retrieve at least k, k from 1.")
    if targets.shape != retrieved.shape[:1]:
        raise ValueError(f"Pass one target per list: {len(retrieved)}, not {targets.size}.")
    found: Bools = ((retrieved[:, :k] == targets[:, None]) & (retrieved[:, :k] != NOTHING)).any(axis=1)
    return found


def per_user(values_N: ArrayLike, users_N: ArrayLike) -> Floats:
    """Turn values of examples into values of users whose mean is the mean over examples.

    v_u = m + Σ_e (x_e − m) · U / E, the sum over u's examples, with m the mean over all E examples of U users. A
    resample of users holds other examples in another number; that is how its mean over examples moves, to first order
    (the linearised ratio). Were v_u the sum alone, users of many examples would move a mean of equal values, too. NaN
    is an absent value; a user without any is NaN.

    >>> per_user([1, 0, 0, 1], [7, 7, 7, 9]).tolist()  # m = 1/2: 1/2 − 1/2 · 2/4 and 1/2 + 1/2 · 2/4
    [0.25, 0.75]

    Args:
        values_N: one number per example.
        users_N: user of each example.

    Returns:
        One value per distinct user, in their order.
    """
    values, users = np.asarray(values_N, np.float64), np.asarray(users_N)
    distinct, user = np.unique(users, return_inverse=True)
    present = ~np.isnan(values)
    sums = np.bincount(user[present], weights=values[present], minlength=len(distinct))
    examples = np.bincount(user[present], minlength=len(distinct))
    num_users, num_examples = int(np.count_nonzero(examples)), int(present.sum())
    mean = sums.sum() / max(1, num_examples)
    moved: Floats = mean + (sums - mean * examples) * num_users / max(1, num_examples)
    return np.where(examples > 0, moved, np.nan)


def popularity(retrieved_NK: ArrayLike, p_data_M: ArrayLike) -> Floats:
    """Return the mean of p_data over the slots of each list; its mean over examples is E_A[p_data(y)] [B].

    >>> popularity([[0, 1], [1, 2]], [0.5, 0.3, 0.2]).tolist()
    [0.4, 0.25]

    Args:
        retrieved_NK: item rows, `NOTHING` where a list is shorter; such a slot does not count.
        p_data_M: share of each item in the clicks of training.

    Returns:
        N values, NaN for an empty list.
    """
    retrieved, p_data = as_lists(retrieved_NK), np.asarray(p_data_M, np.float64)
    present = retrieved != NOTHING
    sums = np.where(present, p_data[retrieved], 0.0).sum(axis=1)
    means = np.full(len(retrieved), np.nan)
    np.divide(sums, present.sum(axis=1), out=means, where=present.any(axis=1))
    return means


def popularity_index(values: Mapping[str, float]) -> dict[str, float]:
    """Divide E_A[p_data(y)] of each system by the largest of them: the popularity index of [B].

    It compares the systems of one table: with others, the values are others.

    >>> popularity_index({"sampled softmax": 0.02, "CLRec": 0.005})
    {'sampled softmax': 1.0, 'CLRec': 0.25}

    Raises:
        ValueError: no system retrieves anything that was ever clicked.
    """
    largest = max(values.values(), default=0.0)
    if not largest > 0:
        raise ValueError("No system retrieves an item that was ever clicked: there is no popularity index of them.")
    return {name: value / largest for name, value in values.items()}


def summary(values: Mapping[str, ArrayLike], seed: int = 0) -> dict[str, dict[str, float]]:
    """Summarise values of users as `{"mean", "low", "high", "n"}`, n the users that have one.

    All are shares: a bound of the linearised mean that would lie outside of 0 to 1 is held there.
    """
    found = {name: bootstrap_mean(value, seed=seed) for name, value in values.items()}
    held = {name: each._replace(low=max(each.low, 0.0), high=min(each.high, 1.0)) for name, each in found.items()}
    return {name: each._asdict() for name, each in held.items()}


def as_lists(retrieved_NK: ArrayLike) -> Ints:
    """Return retrieved lists as a matrix of integers; raise `ValueError` for another shape."""
    retrieved: Ints = np.asarray(retrieved_NK)
    if retrieved.ndim != 2 or not np.issubdtype(retrieved.dtype, np.integer):
        raise ValueError(f"Retrieved lists are integers (examples, slots), not {retrieved.dtype} {retrieved.shape}.")
    return retrieved
