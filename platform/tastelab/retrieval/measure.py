"""Retrieved lists → values of users, means with intervals, counts and degrees; the same for every system.

Shape letters: N examples, K retrieved slots of an example, U users, M items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tastelab.config import RetrievalConfig
from tastelab.data.clicks import is_weekday
from tastelab.metrics import concentration
from tastelab.metrics import retrieval as metrics
from tastelab.schema import UNKNOWN_TIME

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LIST = 50
"""Slots of a list that are looked at beside hit rates, or the longest cut-off below."""
DIVERSITY_SEED = 0


@dataclass(frozen=True)
class Retrieved:
    """What a system retrieves for examples."""

    rows_N: Ints
    """Rows of the clicks that are the targets, sorted."""
    users_N: Ints
    targets_N: Ints
    target_times_N: Ints
    lists_NK: npt.NDArray[np.int32]
    """Item rows, the best first, −1 where a list is shorter; as long as the largest cut-off."""


@dataclass(frozen=True)
class RetrievalEvaluation:
    """Values per user of one system, and what they sum up to."""

    users: Ints
    """Rows of the users that have an example."""
    values: dict[str, Floats]
    """One value per user and metric, whose mean is that over examples, see `per_user`; NaN where a user has none."""
    metrics: dict[str, dict[str, float]]
    counts: dict[str, int]
    degrees: dict[str, list[int]]
    optimum: dict[str, Any] | None = None
    """How far the model is from a known optimum, where there is one: see `evaluation.optimum.report`."""
    retrieved: Retrieved | None = None

    def as_json(self) -> dict[str, Any]:
        """Return `{"metrics": {name: {"mean", "low", "high", "n"}}, "counts": {…}, "degrees": {…}}`."""
        return {"metrics": self.metrics, "counts": self.counts, "degrees": self.degrees}


def measure(
    retrieved: Retrieved,
    config: RetrievalConfig,
    p_data_M: npt.ArrayLike,
    keep: bool = False,
    optimum: dict[str, Any] | None = None,
) -> RetrievalEvaluation:
    """Measure what a system retrieves (methods.md §1).

    - `hr@k`: the target is among the first k; `hr@50_weekday`, `hr@50_weekend`: of the examples whose target was
      clicked on such a day (UTC), where click times are known; `hr@50_warm`, `hr@50_cold`: whose target was clicked in
      training, and was not.
    - `diversity`: distinct items in the lists of `config.diversity_users` users, drawn by a fixed seed; of each user
      the list of the last example.
    - `coverage`, `gini`: of the lists of all examples, over the whole catalogue.
    - `popularity`: mean of p_data over the slots.

    All but hit rates look at the first 50 slots, or at those of the largest cut-off below 50.

    Args:
        retrieved: lists of all examples.
        config: cut-offs and the number of users whose distinct items are counted.
        p_data_M: share of each item in the clicks of training.
        keep: leave the lists in the result.
        optimum: what is said of a known optimum; `kl` is its metric of that name.
    """
    p_data = np.asarray(p_data_M, np.float64)
    k, users_N = list_length(config), retrieved.users_N
    lists_NK = retrieved.lists_NK[:, :k]
    examples = {f"hr@{cut}": _hits(retrieved, cut) for cut in config.ks}
    examples |= _of_days(f"hr@{k}", examples[f"hr@{k}"], retrieved.target_times_N)
    examples |= _of_known(f"hr@{k}", examples[f"hr@{k}"], p_data[retrieved.targets_N] > 0)
    examples |= {"popularity": metrics.popularity(lists_NK, p_data)}
    there = {name: value for name, value in examples.items() if not np.isnan(value).all()}  # no weekend, no such value
    values = {name: metrics.per_user(value, users_N) for name, value in there.items()}
    sampled = sampled_users(users_N, config.diversity_users)
    spread = {
        "diversity": concentration.aggregated_diversity(lists_NK[last_examples(users_N, sampled)], len(p_data)),
        **concentration.spread(lists_NK, len(p_data), users_N, of=("coverage", "gini")),
    }
    return RetrievalEvaluation(
        users=np.unique(users_N),
        values=values,
        metrics=metrics.summary(values)
        | {name: interval._asdict() for name, interval in spread.items()}
        | ({} if optimum is None else {"kl": optimum["kl"]}),
        counts={
            "n_total": len(users_N),
            "n_users": len(np.unique(users_N)),
            "n_cold_targets": int((p_data[retrieved.targets_N] == 0).sum()),
            "n_short_lists": int((retrieved.lists_NK[:, -1] == metrics.NOTHING).sum()),
            "n_diversity_users": len(sampled),
        },
        degrees=concentration.degree_histogram(lists_NK, p_data),
        optimum=optimum,
        retrieved=retrieved if keep else None,
    )


def list_length(config: RetrievalConfig) -> int:
    """Return how many slots of a list are looked at beside hit rates."""
    if not config.ks or min(config.ks) < 1:
        raise ValueError(f"The cut-offs of HR@k are {config.ks}: choose at least one, each at least 1.")
    return max((k for k in config.ks if k <= LIST), default=min(config.ks))


def sampled_users(users_N: Ints, count: int) -> Ints:
    """Draw users for the aggregated diversity: a pure function of the users that there are."""
    users = np.unique(users_N)
    if count >= len(users):
        return users
    drawn = np.random.default_rng(DIVERSITY_SEED).choice(users, count, replace=False)
    return np.sort(drawn)


def last_examples(users_N: Ints, users: Ints) -> Ints:
    """Return the place of the last example of each of some users; examples stand in the order of clicks."""
    distinct, from_end = np.unique(users_N[::-1], return_index=True)
    places: Ints = len(users_N) - 1 - from_end[np.searchsorted(distinct, users)]
    return places


def _hits(retrieved: Retrieved, k: int) -> Floats:
    return metrics.hits(retrieved.lists_NK, retrieved.targets_N, k).astype(np.float64)


def _of_known(name: str, values_N: Floats, known_N: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    return {f"{name}_warm": np.where(known_N, values_N, np.nan), f"{name}_cold": np.where(known_N, np.nan, values_N)}


def _of_days(name: str, values_N: Floats, times_N: Ints) -> dict[str, Floats]:
    known_N, weekday_N = times_N != UNKNOWN_TIME, is_weekday(times_N)
    if not known_N.any():
        return {}
    return {
        f"{name}_weekday": np.where(weekday_N, values_N, np.nan),
        f"{name}_weekend": np.where(known_N & ~weekday_N, values_N, np.nan),
    }
