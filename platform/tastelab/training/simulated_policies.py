"""Policies that train nothing: what a simulated system is to be compared with.

Shape letters: P users of a day, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tastelab.data.population import Population
from tastelab.data.population_log import PopulationLog
from tastelab.data.synthetic_world import Floats, Ints
from tastelab.training.simulated_days import Policy

UNSEEN = 0.5
"""Clicks that an item is given beside its own, so that one without any has a logarithm."""


class RandomPolicy:
    """Any item alike."""

    greedy = True

    def __init__(self, population: Population) -> None:
        """Recommend to a population."""
        self.population = population

    def learn(self, log: PopulationLog, day: int) -> None:
        """Learn nothing."""

    def scores(self, users_P: Ints, day: int) -> Floats:
        """Draw a number for every user and item, anew each day."""
        items_N = np.arange(self.population.num_items)
        world, seed = self.population.world, self.population.seed
        return world.uniform("random policy", seed, users_P[:, None], day, items_N)


class PopularityPolicy:
    """What was clicked most so far, to everybody: it feeds on its own log."""

    greedy = False

    def __init__(self, population: Population) -> None:
        """Recommend to a population."""
        self._logits_N = np.zeros(population.num_items)

    def learn(self, log: PopulationLog, day: int) -> None:
        """Count the clicks."""
        self._logits_N = np.log(log.clicked_N + UNSEEN)

    def scores(self, users_P: Ints, day: int) -> Floats:
        """Return the logarithm of the clicks of every item."""
        return np.broadcast_to(self._logits_N, (len(users_P), len(self._logits_N)))


class OraclePolicy:
    """The items of the highest true click probability: no policy has a higher expected CTR."""

    greedy = True

    def __init__(self, population: Population) -> None:
        """Recommend to a population whose preferences it knows."""
        self.population = population

    def learn(self, log: PopulationLog, day: int) -> None:
        """Learn nothing: it knows."""

    def scores(self, users_P: Ints, day: int) -> Floats:
        """Return the logarithm of the click probabilities."""
        return np.asarray(np.log(self.population.click_probability(users_P, day)))


UNTRAINED: Mapping[str, Callable[[Population], Policy]] = {
    "random": RandomPolicy,
    "popularity": PopularityPolicy,
    "oracle": OraclePolicy,
}
"""Policy by its name in `SimulationConfig.policy`."""
