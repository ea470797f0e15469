"""How widely a system spreads what it retrieves over the catalogue (methods.md §1): diversity, coverage, Gini, degrees.

All are functions of an item's degree, how often it is retrieved. A resample of users repeats some of them, and so holds
fewer distinct items than the users themselves: the bootstrap of such a count lies below the count. The intervals are
therefore the bootstrap's spread about its own mean, laid around what was observed.

Shape letters: N lists, K slots of a list, U users, M items of the catalogue, S filled slots of all lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastelab.metrics.intervals import Interval, percentile_bounds
from tastelab.metrics.retrieval import NOTHING, Floats, Ints, as_lists

RESAMPLES = 200
"""Each resample counts every slot again."""
Statistic = Callable[[NDArray[Any]], float]


def degrees(retrieved_NK: ArrayLike, num_items: int) -> Ints:
    """Count how often each item of the catalogue is retrieved.

    >>> degrees([[0, 2], [2, -1]], num_items=4).tolist()
    [1, 0, 2, 0]
    """
    slots_S = as_lists(retrieved_NK).ravel()
    return np.bincount(slots_S[slots_S != NOTHING], minlength=num_items)


def aggregated_diversity(
    retrieved_NK: ArrayLike, num_items: int, users_N: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """Count the distinct items that are retrieved for some users [B].

    >>> aggregated_diversity([[0, 1], [1, 2]], num_items=9).mean  # items 0, 1 and 2
    3.0

    Args:
        retrieved_NK: item rows, `NOTHING` where a list is shorter.
        num_items: size of the catalogue.
        users_N: user of each list; None: each list is of another user.
        seed: of the bootstrap over users.

    Returns:
        The count with its interval and the number of users.
    """
    return spread(retrieved_NK, num_items, users_N, seed, of=("diversity",))["diversity"]


def coverage(retrieved_NK: ArrayLike, num_items: int, users_N: ArrayLike | None = None, seed: int = 0) -> Interval:
    """Return the share of the catalogue that is retrieved at least once; arguments as in `aggregated_diversity`.

    >>> coverage([[0, 1], [1, 2]], num_items=4).mean
    0.75
    """
    return spread(retrieved_NK, num_items, users_N, seed, of=("coverage",))["coverage"]


def gini(retrieved_NK: ArrayLike, num_items: int, users_N: ArrayLike | None = None, seed: int = 0) -> Interval:
    """Return the Gini coefficient of how often items are retrieved, over the whole catalogue.

    An item that is never retrieved counts as 0. It is 0 where all are retrieved alike, and 1 − 1/M where all slots go
    to one item; arguments as in `aggregated_diversity`.

    >>> gini([[0, 1], [2, 3]], num_items=4).mean
    0.0
    >>> gini([[0], [0]], num_items=4).mean
    0.75
    """
    return spread(retrieved_NK, num_items, users_N, seed, of=("gini",))["gini"]


def spread(
    retrieved_NK: ArrayLike,
    num_items: int,
    users_N: ArrayLike | None = None,
    seed: int = 0,
    of: Sequence[str] = ("diversity", "coverage", "gini"),
) -> dict[str, Interval]:
    """Return several of these metrics by name, from one bootstrap; arguments as in `aggregated_diversity`."""
    retrieved = as_lists(retrieved_NK)
    users = np.arange(len(retrieved)) if users_N is None else np.unique(np.asarray(users_N), return_inverse=True)[1]
    num_users = int(users.max(initial=-1)) + 1
    known: dict[str, Statistic] = {
        "diversity": np.count_nonzero,
        "coverage": lambda counts: np.count_nonzero(counts) / num_items,
        "gini": lambda counts: gini_of(counts, num_items),
    }
    observed = {name: float(known[name](degrees(retrieved, num_items))) for name in of}
    if not num_users:
        return {name: Interval(value, value, value, 0) for name, value in observed.items()}
    drawn = np.array([[known[name](counts) for name in of] for counts in _resampled(retrieved, users, num_users, seed)])
    most = {"diversity": float(num_items)}
    return {
        name: _around(observed[name], values, most.get(name, 1.0), num_users)
        for name, values in zip(of, drawn.T, strict=True)
    }


def _around(observed: float, drawn: Floats, most: float, num_users: int) -> Interval:
    """Lay the spread of bootstrap values around what was observed, within 0 and the most that there can be."""
    low, high = percentile_bounds(drawn - drawn.mean() + observed, 0.95)
    return Interval(observed, max(low, 0.0), min(high, most), num_users)


def gini_of(counts: ArrayLike, num_items: int | None = None) -> float:
    """Return Σ_i (2i − M − 1) c_i / (M Σ c_i), c_1 ≤ … ≤ c_M; NaN where nothing is counted.

    >>> gini_of([1, 3])  # (−1 · 1 + 1 · 3) / (2 · 4)
    0.25

    Args:
        counts: how often each item is retrieved.
        num_items: M, where items that are never retrieved are left out of `counts`; None: it is their number.
    """
    values = np.sort(np.asarray(counts, np.float64))
    size = len(values) if num_items is None else num_items
    rank = np.arange(size - len(values) + 1, size + 1)
    total = size * values.sum()
    return float(((2 * rank - size - 1) * values).sum() / total) if total else float("nan")


def degree_histogram(retrieved_NK: ArrayLike, p_data_M: ArrayLike) -> dict[str, list[int]]:
    """Count items, and what is retrieved, by degree in bins that double: 0, 1, 2–3, 4–7, … (the figure of [B]).

    The degree that an item has in the data is p_data(y) · S: how often it would be retrieved if the S slots were filled
    in proportion to the clicks. Bin i holds degrees from `edges[i]` to below `edges[i + 1]`.

    >>> degree_histogram([[0, 1], [0, 2]], [0.5, 0.25, 0.0, 0.25])  # of 4 slots: 2, 1, 0 and 1 by the data
    {'edges': [0, 1, 2, 4], 'items': [1, 2, 1], 'catalogue': [1, 2, 1], 'slots': [1, 1, 2]}

    Args:
        retrieved_NK: item rows, `NOTHING` where a list is shorter.
        p_data_M: share of each item in the clicks of training.

    Returns:
        `edges`; `items`, how many items are retrieved so often; `catalogue`, how many have such a degree in the data;
        `slots`, how many slots are filled with an item of such a degree in the data.
    """
    p_data = np.asarray(p_data_M, np.float64)
    counts_M = degrees(retrieved_NK, len(p_data))
    # Shares are floats: 3 clicks of 7 times 7 slots must not fall below 3.
    by_data_M = np.floor(p_data * counts_M.sum() + 1e-6).astype(np.int64)
    largest = max(int(counts_M.max(initial=0)), int(by_data_M.max(initial=0)))
    num_bins = largest.bit_length() + 1
    bins_M, data_M = _doubling_bin(counts_M), _doubling_bin(by_data_M)
    return {
        "edges": [0, *(2**i for i in range(num_bins))],
        "items": np.bincount(bins_M, minlength=num_bins).tolist(),
        "catalogue": np.bincount(data_M, minlength=num_bins).tolist(),
        "slots": np.bincount(data_M, weights=counts_M, minlength=num_bins).astype(np.int64).tolist(),
    }


def _doubling_bin(degree_M: Ints) -> Ints:
    """Return the bin of each degree: 0 for 0, else one more than the position of its highest bit."""
    return np.frexp(degree_M.astype(np.float64))[1].astype(np.int64)


def _resampled(retrieved_NK: Ints, users_N: Ints, num_users: int, seed: int) -> Iterator[Floats]:
    """Yield the degrees of the items that are retrieved at all, for users drawn with replacement."""
    filled_NK = retrieved_NK != NOTHING
    items_S = np.unique(retrieved_NK[filled_NK], return_inverse=True)[1]
    user_S = np.broadcast_to(users_N[:, None], retrieved_NK.shape)[filled_NK]
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        times_U = np.bincount(rng.integers(num_users, size=num_users), minlength=num_users)
        yield np.bincount(items_S, weights=times_U[user_S]).astype(np.float64)
