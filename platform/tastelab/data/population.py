"""A simulated population with known preferences: who comes on a day, what is clicked, how long it is dwelt on.

It stands in for the people of [B]'s online experiments; whatever is measured on it is a simulation (methods.md §6).
Items and drifting tastes are those of the synthetic world that the data were written from. A shown item is clicked,
independently of the rest of its slate, with probability `sigmoid(bias + <taste_u(t), latent_i> + appeal_i)`. All items
are there from the first day on.

The first days are served by a production policy that prefers few items and knows little of the user: its log is the
biased D_π of [B]. Every draw is a hash of (seeds, what it is for, user, day, item): the order in which users are
served, and on how many workers, changes nothing, and what a user does with an item on a day does not depend on the
system that showed it.

Shape letters: P users of a day, N items, S slots, K retrieved items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tastelab.config import SimulationConfig, from_dict
from tastelab.data.synthetic_world import DAY, START, WARM_UP, Bools, Floats, Ints, World, WorldSpec

DWELL_SPREAD = 0.5
"""Standard deviation of the logarithm of a dwell time around its mean."""
SECONDS_A_SLOT = 20
"""Time between looking at one slot and at the next."""


@dataclass(frozen=True)
class Response:
    """What P users did with their slates."""

    clicks_PS: Bools
    dwell_PS: npt.NDArray[np.float32]  # seconds, NaN where not clicked
    times_PS: Ints  # seconds since 1970
    probabilities_PS: Floats  # of a click, known


def world_of(meta: Mapping[str, Any]) -> World:
    """Rebuild the synthetic world that a data set was written from, by what its `meta.json` says.

    Raises:
        ValueError: the data are no synthetic world, so nobody's preferences are known.
    """
    if meta.get("source") != "synthetic":
        raise ValueError(
            f"'{meta.get('name')}' has no known preferences to simulate users by: give a synthetic data set, such as "
            "--data synthetic."
        )
    return World(from_dict(WorldSpec, meta["spec"]), int(meta["seed"]))


class Population:
    """The first users of a world, as they behave under any system."""

    def __init__(self, world: World, config: SimulationConfig, seed: int) -> None:
        """Take users of `world`; `seed` is of what they do, their tastes are the world's own.

        Raises:
            ValueError: the world has fewer users, or fewer items than a user is shown.
        """
        size = world.spec.size
        if config.users > size.num_users:
            raise ValueError(f"{config.users} users cannot be simulated in a world of {size.num_users}: ask for fewer.")
        if config.slots > size.num_items:
            raise ValueError(f"{config.slots} slots cannot be filled from {size.num_items} items: ask for fewer.")
        self.world, self.config, self.seed = world, config, seed
        self.num_users, self.num_items = config.users, size.num_items
        items_N = np.arange(self.num_items)
        appeal_N = world.normal("appeal", items_N)
        believed_N = appeal_N + world.normal("believed appeal", items_N)
        self.appeal_N: Floats = config.appeal * appeal_N
        rank_N = np.argsort(np.argsort(-believed_N)) + 1
        self.exposure_N: Floats = -config.exposure_skew * np.log(rank_N)
        """Logits of the production policy before it knows the user; its order follows the appeal seen through noise."""
        longest = float(np.linalg.norm(world.latent_NR, axis=1).max())
        self.largest_affinity = world.spec.taste_scale * longest

    def users_of(self, day: int) -> Ints:
        """Return the users who come on a day, ascending: six in ten on average, some more faithful than others."""
        users = np.arange(self.num_users)
        return users[self.world.is_active(users, np.array(WARM_UP + day))]

    def affinity(self, users_P: Ints, day: int) -> Floats:
        """Return the inner product of every user's taste of the day with every item, `[P, N]`."""
        return np.asarray(self._taste(users_P, day) @ self.world.latent_NR.T)

    def click_probability(self, users_P: Ints, day: int) -> Floats:
        """Return the probability that a user would click each item if it were shown, `[P, N]`."""
        return _sigmoid(self.world.spec.click_bias + self.affinity(users_P, day) + self.appeal_N)

    def respond(self, users_P: Ints, day: int, slates_PS: Ints) -> Response:
        """Show slates and return clicks, dwell times, and the moments of both.

        The mean dwell time is `dwell_s · exp(dwell_gain · affinity / largest)`, log-normal around it: it grows with the
        user's own affinity, not with what makes everybody click.
        """
        affinity_PS = np.einsum("psr,pr->ps", self.world.latent_NR[slates_PS], self._taste(users_P, day))
        probability_PS = _sigmoid(self.world.spec.click_bias + affinity_PS + self.appeal_N[slates_PS])
        keys = users_P[:, None], day, slates_PS
        clicks_PS = self._uniform("click", *keys) < probability_PS
        mean_PS = self.config.dwell_s * np.exp(self.config.dwell_gain * affinity_PS / self.largest_affinity)
        noise_PS = DWELL_SPREAD * self.world.normal("simulated dwell", self.seed, *keys) - DWELL_SPREAD**2 / 2
        dwell_PS = np.where(clicks_PS, mean_PS * np.exp(noise_PS), np.nan).astype(np.float32)
        times_PS = self.times(users_P, day)[:, None] + SECONDS_A_SLOT * np.arange(slates_PS.shape[1])
        return Response(clicks_PS, dwell_PS, times_PS, probability_PS)

    def times(self, users_P: Ints, day: int) -> Ints:
        """Return when users come on a day, in seconds since 1970."""
        return self.world.times(users_P, np.full(len(users_P), WARM_UP + day))

    def production_slates(self, users_P: Ints, day: int) -> Ints:
        """Return what the production policy shows: draws without replacement from its softmax over all items."""
        logits_PN = self.exposure_N + self.config.exposure_taste * self.affinity(users_P, day)
        items_PN = np.broadcast_to(np.arange(self.num_items), logits_PN.shape)
        return self.slates(users_P, day, items_PN, logits_PN, temperature=1.0)

    def slates(self, users_P: Ints, day: int, items_PK: Ints, scores_PK: Floats, temperature: float) -> Ints:
        """Draw slates `[P, S]` from retrieved items, in the order of the draws.

        Args:
            users_P: who is shown them.
            day: when.
            items_PK: retrieved items, all different, -1 where fewer were found.
            scores_PK: their scores; an item is drawn by the softmax of score / temperature among what is left
                (Gumbel-top-k); ties are broken at random.
            temperature: 0 takes the best.

        Raises:
            ValueError: fewer items than slots were retrieved for a user.
        """
        found_PK = items_PK >= 0
        if found_PK.sum(axis=1).min(initial=self.config.slots) < self.config.slots:
            raise ValueError(
                f"A user was left with fewer than {self.config.slots} items to be shown: retrieve more, or keep items "
                "that were clicked before."
            )
        uniform_PK = self._uniform("slate", users_P[:, None], day, items_PK)
        gumbel_PK = -np.log(-np.log(uniform_PK + 2.0**-54))
        keys_PK = np.where(found_PK, scores_PK / temperature + gumbel_PK if temperature else scores_PK, -np.inf)
        order_PS = np.lexsort((-gumbel_PK, -keys_PK), axis=1)[:, : self.config.slots]
        return np.take_along_axis(items_PK, order_PS, axis=1)

    def _taste(self, users_P: Ints, day: int) -> Floats:
        return self.world.taste(users_P, np.full(len(users_P), START + (WARM_UP + day) * DAY))

    def _uniform(self, purpose: str, *keys: npt.ArrayLike) -> Floats:
        return self.world.uniform(f"simulated {purpose}", self.seed, *keys)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)))
