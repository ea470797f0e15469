"""Days of a simulated population under a policy: recommend, show, click, dwell, log, learn, and again (methods.md §6).

Shape letters: P users of a day, V all users, N items, K retrieved items, S slots, L slates of all served days.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tastelab.data.population import Population, Response
from tastelab.data.population_log import PopulationLog
from tastelab.data.synthetic_world import Floats, Ints
from tastelab.metrics.concentration import aggregated_diversity, gini, gini_of
from tastelab.metrics.intervals import bootstrap_mean
from tastelab.metrics.online import bootstrap_ratio

Scalars = dict[str, float]


class Policy(Protocol):
    """What recommends."""

    @property
    def greedy(self) -> bool:
        """Whether its best items are shown as they are, whatever the slate's temperature."""

    def learn(self, log: PopulationLog, day: int) -> None:
        """Learn from all that was logged before a day."""

    def scores(self, users_P: Ints, day: int) -> Floats:
        """Score all items for the users of a day, `[P, N]`, in logits: more is better."""


@dataclass
class Diary:
    """What users were shown on the served days, what came of it, and a row of scalars for each day."""

    num_users: int
    share_N: Floats
    """p_data(y): click shares before the first served day."""
    days: list[int] = field(default_factory=list)
    rows: list[Scalars] = field(default_factory=list)
    users_by_day: list[Ints] = field(default_factory=list)
    slates_by_day: list[Ints] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    def add(self, day: int, users_P: Ints, slates_PS: Ints, response: Response, scalars: Scalars) -> None:
        """Add a served day."""
        self.days.append(day)
        self.rows.append(scalars)
        self.users_by_day.append(users_P)
        self.slates_by_day.append(slates_PS)
        self.responses.append(response)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return mean, interval and n over all served days; the intervals are over users, that of regret over days.

        ctr: clicks per recommendation. dwell: seconds per click. diversity: distinct items shown. popularity:
        E_A[p_data(y)], the mean click share of what is shown. regret: by how much the best slates would raise the
        expected CTR. gini: of how often items are shown.
        """
        users_L, slates_LS = np.concatenate(self.users_by_day), np.concatenate(self.slates_by_day)
        shown_V = self._sums([np.ones(slates_PS.shape) for slates_PS in self.slates_by_day])
        clicks_V = self._sums([response.clicks_PS for response in self.responses])
        dwell_V = self._sums([np.nan_to_num(response.dwell_PS) for response in self.responses])
        popularity_V = self._sums([self.share_N[slates_PS] for slates_PS in self.slates_by_day])
        found = {
            "ctr": bootstrap_ratio(clicks_V, shown_V),
            "dwell": bootstrap_ratio(dwell_V, clicks_V),
            "diversity": aggregated_diversity(slates_LS, len(self.share_N), users_L),
            "popularity": bootstrap_ratio(popularity_V, shown_V),
            "gini": gini(slates_LS, len(self.share_N), users_L),
            "regret": bootstrap_mean([row["regret"] for row in self.rows]),
        }
        return {name: interval._asdict() for name, interval in found.items()}

    def user_values(self) -> dict[str, npt.NDArray[Any]]:
        """Return `rows`, the users that came, and a value of each, scaled so that their mean is the CTR."""
        users = np.unique(np.concatenate(self.users_by_day))
        clicks_V = self._sums([response.clicks_PS for response in self.responses])
        num_shown = sum(slates_PS.size for slates_PS in self.slates_by_day)
        return {"rows": users, "ctr": clicks_V[users] * len(users) / num_shown}

    def counts(self) -> dict[str, int]:
        """Return how much was shown and clicked, and over how many users that came at all."""
        return {
            "n_users": len(np.unique(np.concatenate(self.users_by_day))),
            "n_shown": sum(slates_PS.size for slates_PS in self.slates_by_day),
            "n_clicks": sum(int(response.clicks_PS.sum()) for response in self.responses),
            "n_days": len(self.days),
        }

    def curves(self) -> dict[str, list[list[float]]]:
        """Return `{"sim/ctr": [days, values], …}`; the first served day is 1. A day without a value is left out."""
        found: dict[str, list[list[float]]] = {}
        for name in self.rows[0] if self.rows else {}:
            points = [(day, row[name]) for day, row in zip(self.days, self.rows, strict=True) if row[name] == row[name]]
            found[f"sim/{name}"] = [[day for day, _ in points], [float(f"{value:.5g}") for _, value in points]]
        return found

    def _sums(self, values_by_day: Sequence[npt.NDArray[Any]]) -> Floats:
        """Add up values of slots by user, `[V]`."""
        values_LS = np.concatenate(values_by_day)
        sums_L = values_LS.sum(axis=1, dtype=np.float64)
        return np.asarray(np.bincount(np.concatenate(self.users_by_day), sums_L, self.num_users), np.float64)


def live(
    population: Population,
    policy: Policy,
    exclude_seen: bool = False,
    after_day: Callable[[int, Scalars], bool] = lambda day, scalars: False,
) -> tuple[Diary, PopulationLog]:
    """Let a population live: warm-up days under the production policy, then days that `policy` serves.

    Before each served day the policy learns from everything that was logged before. `after_day(day, scalars)` hears of
    each served day, counted from 1, and ends the simulation early by returning True.

    Returns:
        What the served days showed, and the log of all days.
    """
    config = population.config
    log = PopulationLog(population.num_users, population.num_items)
    for day in range(config.warmup_days):
        users_P = population.users_of(day)
        slates_PS = population.production_slates(users_P, day)
        log.add(users_P, slates_PS, population.respond(users_P, day, slates_PS))
    share_N = log.click_shares()
    diary = Diary(population.num_users, share_N)
    for number in range(1, config.days + 1):
        day = config.warmup_days + number - 1
        policy.learn(log, day)
        users_P = population.users_of(day)
        slates_PS = recommend(population, policy, log, users_P, day, exclude_seen)
        response = population.respond(users_P, day, slates_PS)
        log.add(users_P, slates_PS, response)
        scalars = measure(response, slates_PS, share_N) | {"regret": regret(population, users_P, day, response)}
        diary.add(number, users_P, slates_PS, response, scalars)
        if after_day(number, scalars):
            break
    return diary, log


def recommend(
    population: Population, policy: Policy, log: PopulationLog, users_P: Ints, day: int, exclude_seen: bool
) -> Ints:
    """Retrieve the best items of each user by the policy's scores and draw the slates from them, `[P, S]`."""
    scores_PN = policy.scores(users_P, day)
    if exclude_seen:
        scores_PN = np.where(log.clicked_pairs(users_P), -np.inf, scores_PN)
    num_retrieved = min(population.config.retrieved, population.num_items)
    items_PK = np.argsort(-scores_PN, axis=1, kind="stable")[:, :num_retrieved]
    scores_PK = np.take_along_axis(scores_PN, items_PK, axis=1)
    items_PK = np.where(np.isneginf(scores_PK), -1, items_PK)
    temperature = 0.0 if policy.greedy else population.config.slate_temperature
    return population.slates(users_P, day, items_PK, scores_PK, temperature)


def measure(response: Response, slates_PS: Ints, share_N: Floats) -> Scalars:
    """Measure one day: clicks per recommendation, seconds per click, distinct items, mean click share of what is shown.

    Args:
        response: what users did.
        slates_PS: what they were shown.
        share_N: p_data(y), click shares before the first served day.
    """
    clicks = response.clicks_PS
    return {
        "ctr": float(clicks.mean()),
        "dwell": float(response.dwell_PS[clicks].mean()) if clicks.any() else float("nan"),
        "diversity": float(len(np.unique(slates_PS))),
        "popularity": float(share_N[slates_PS].mean()),
        "gini": gini_of(np.bincount(slates_PS.ravel(), minlength=len(share_N))),
    }


def regret(population: Population, users_P: Ints, day: int, response: Response) -> float:
    """Return the expected CTR that the best slates would have, less the expected CTR of what was shown."""
    best_PN = -np.partition(-population.click_probability(users_P, day), population.config.slots - 1, axis=1)
    return float(best_PN[:, : population.config.slots].mean() - response.probabilities_PS.mean())
