"""The synthetic world: items, users with drifting tastes, an exposure policy and click probabilities, all known.

Every random number is a hash of (seed, what it is for, indices), so any session of any user can be computed on its own,
in any order and in constant memory.

Time runs in rounds of a day. In a round each active user has one session: sixteen to twenty candidates. The sessions of
the first rounds only fill histories; later ones are logged as impressions.

Clicks of a session are independent with probability `sigmoid(bias + <taste_u(t), latent_i> + tilts)` each, given that
there is at least one; conditioning keeps their order, so no ranker beats these probabilities. Latents have `spec.rank`
dimensions: the style axes, on two of which an item is ±1 and on the others 0, and two dimensions of theme, in which
communities lie on a circle and their topics around them. Tastes are uniform on a sphere and all latents have one
length, so no item is more popular than another unless `spec.popularity_bias` says so.

Shape letters: N items, P sessions, C slots, R latent dimensions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tastelab.data import synthetic_text as text

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

START = 1_704_067_200
"""The first round begins on 1 January 2024 (seconds since 1970)."""
DAY = 86_400
WARM_UP = 16
"""Rounds before the log begins."""
MIN_SLOTS, MAX_SLOTS = 16, 20
MEAN_ACTIVITY = 0.6
"""Share of the rounds in which the average user has a session."""
TOPIC_SPREAD = 0.5
"""Share of a community's sector of the theme circle over which its topics are spread."""


@dataclass(frozen=True)
class WorldSize:
    """How many items, users and logged impressions a world has."""

    num_items: int
    num_users: int
    num_train: int
    num_dev: int


@dataclass(frozen=True)
class WorldSpec:
    """All that defines a synthetic world beside the seed."""

    size: WorldSize
    axes: int = 2
    """Style axes in use, 2 to 4; the rank of taste is two more."""
    taste_scale: float = 3.0
    """Length of every taste vector: the larger, the more certain the clicks."""
    theme_weight: float = 0.8
    """Length of the theme part of a latent; the style part has length √2."""
    click_bias: float = -5.2
    drift: float = 0.03
    """Radians by which a taste turns in a day."""
    newcomer_share: float = 0.05
    """Share of the users who join when the log begins and so have an empty history at first."""
    popularity_bias: float = 0.0
    recency_bias: float = 0.0
    position_bias: float = 0.0
    """Tilts of the click logit by an item's appeal, its freshness and its slot, each of variance one."""

    def __post_init__(self) -> None:
        """Reject what no world can be made of."""
        if not 2 <= self.axes <= len(text.AXES):
            raise ValueError(f"A synthetic world has 2 to {len(text.AXES)} style axes, not {self.axes}.")
        if min(self.size.num_users, self.size.num_train + self.size.num_dev) < 1:
            raise ValueError("A synthetic world needs at least one user and one impression.")
        if self.size.num_items < 10 * MAX_SLOTS:
            raise ValueError(f"A synthetic world needs at least {10 * MAX_SLOTS} items, not {self.size.num_items}.")

    @property
    def rank(self) -> int:
        """Rank of the matrix of true affinities: style axes plus two dimensions of theme."""
        return self.axes + 2

    @property
    def num_rounds(self) -> int:
        """Rounds that the log is expected to end after."""
        logged = (self.size.num_train + self.size.num_dev) / (MEAN_ACTIVITY * self.size.num_users)
        return WARM_UP + int(np.ceil(logged))


@dataclass(frozen=True)
class Sessions:
    """What P sessions showed and what was clicked; slots beyond a session's length hold -1, probability 0, no click."""

    times_P: Ints
    candidates_PC: Ints
    probabilities_PC: Floats
    clicks_PC: Bools


class World:
    """Compute items, tastes and sessions of a `WorldSpec` from a seed."""

    def __init__(self, spec: WorldSpec, seed: int) -> None:
        """Lay out the items and the users' order; sessions are computed when asked for."""
        self.spec, self.seed = spec, seed
        self._stride = _coprime(spec.size.num_users)
        self._inverse = pow(self._stride, -1, spec.size.num_users)
        self._make_items()

    def uniform(self, purpose: str, *keys: npt.ArrayLike) -> Floats:
        """Return uniform numbers in [0, 1), one for each combination of the broadcast keys."""
        state = np.asarray(int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little"), dtype=np.uint64)
        for key in (self.seed, *keys):
            state = _mix(state ^ _mix(np.asarray(key, dtype=np.int64).astype(np.uint64) + _GOLDEN))
        return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, purpose: str, *keys: npt.ArrayLike) -> Floats:
        """Return standard normal numbers (Box–Muller)."""
        radius = np.sqrt(-2 * np.log1p(-self.uniform(purpose, *keys, 0)))
        return np.asarray(radius * np.cos(2 * np.pi * self.uniform(purpose, *keys, 1)))

    def taste(self, users_P: Ints, times_P: Ints) -> Floats:
        """Return `[P, R]` tastes: each user's turns in a plane of their own, `spec.drift` radians a day."""
        axes_R = np.arange(self.spec.rank)
        angle_P1 = (self.spec.drift * (times_P - START) / DAY)[:, None]
        at_start_PR, later_PR = (self.normal(f"taste {i}", users_P[:, None], axes_R) for i in (0, 1))
        taste_PR = np.cos(angle_P1) * at_start_PR + np.sin(angle_P1) * later_PR
        return np.asarray(self.spec.taste_scale * taste_PR / np.linalg.norm(taste_PR, axis=1, keepdims=True))

    def is_active(self, users: Ints, rounds: Ints) -> Bools:
        """Tell which users have a session in which rounds (broadcast)."""
        newcomer = self.uniform("newcomer", users) < self.spec.newcomer_share
        first = np.where(newcomer, WARM_UP, np.floor(self.uniform("first", users) * WARM_UP / 2))
        activity = 2 * MEAN_ACTIVITY - 1 + 2 * (1 - MEAN_ACTIVITY) * self.uniform("activity", users)
        return np.asarray((rounds >= first) & (self.uniform("active", users, rounds) < activity))

    def users_of(self, round_: int, start: int, stop: int) -> Ints:
        """Return the users at places `start` … `stop - 1` of a round, in order of time."""
        places = np.arange(start, min(stop, self.spec.size.num_users))
        return (places * self._stride + self._shift(np.array([round_]))) % self.spec.size.num_users

    def times(self, users: Ints, rounds: Ints) -> Ints:
        """Return when users have their sessions of these rounds, in seconds since 1970."""
        num_users = self.spec.size.num_users
        places = (users - self._shift(rounds)) % num_users * self._inverse % num_users
        return np.asarray(START + rounds * DAY + (places * DAY) // num_users)

    def sessions(self, users_P: Ints, rounds_P: Ints) -> Sessions:
        """Compute the sessions of users in rounds."""
        times_P = self.times(users_P, rounds_P)
        candidates_PC = self._expose(users_P, rounds_P, times_P)
        probabilities_PC = self.click_probability(users_P, times_P, candidates_PC)
        clicks_PC = self._click(users_P, rounds_P, probabilities_PC)
        return Sessions(times_P, candidates_PC, probabilities_PC, clicks_PC)

    def click_probability(self, users_P: Ints, times_P: Ints, candidates_PC: Ints) -> Floats:
        """Return `[P, C]` probabilities of a click on each slot, 0 where a slot is empty."""
        spec, shown_PC = self.spec, candidates_PC >= 0
        affinity_PC = np.einsum("pcr,pr->pc", self.latent_NR[candidates_PC], self.taste(users_P, times_P))
        logits_PC = spec.click_bias + affinity_PC
        if spec.popularity_bias:
            logits_PC += spec.popularity_bias * self.normal("appeal", candidates_PC)
        if spec.recency_bias:
            visible_P1 = np.searchsorted(self.created_N, times_P, side="right")[:, None]
            logits_PC += spec.recency_bias * _standardised(candidates_PC / visible_P1)
        if spec.position_bias:
            place_PC = np.arange(candidates_PC.shape[1]) / shown_PC.sum(axis=1, keepdims=True)
            logits_PC -= spec.position_bias * _standardised(place_PC)
        return np.where(shown_PC, 1 / (1 + np.exp(-logits_PC)), 0.0)

    def _make_items(self) -> None:
        num_items, rows_N = self.spec.size.num_items, np.arange(self.spec.size.num_items)
        days = self.spec.num_rounds * (2 * np.sort(self.uniform("created", rows_N)) - 1)
        self.created_N: Ints = START + np.floor(days * DAY).astype(np.int64)
        num_communities, num_topics = len(text.COMMUNITIES), len(text.TOPICS[0])
        self.community_N: Ints = np.floor(self.uniform("community", rows_N) * num_communities).astype(np.int64)
        self.topic_N: Ints = np.floor(self.uniform("topic", rows_N) * num_topics).astype(np.int64)
        self.axes_N2: Ints = self.uniform("axes", rows_N[:, None], np.arange(self.spec.axes)).argsort(axis=1)[:, :2]
        self.sides_N2: Ints = (self.uniform("sides", rows_N[:, None], np.arange(2)) < 0.5).astype(np.int64)
        style_NA = np.zeros((num_items, self.spec.axes))
        np.put_along_axis(style_NA, self.axes_N2, 2.0 * self.sides_N2 - 1, axis=1)
        place_N = self.community_N + TOPIC_SPREAD * self.topic_N / num_topics
        angle_N = 2 * np.pi * place_N / num_communities
        theme_N2 = self.spec.theme_weight * np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1)
        self.latent_NR: Floats = np.concatenate([style_NA, theme_N2], axis=1)

    def _expose(self, users_P: Ints, rounds_P: Ints, times_P: Ints) -> Ints:
        """Draw one item from each of C equal strata of age of the items that exist, then shuffle the slots.

        Every item is equally likely (to the rounding of the strata) and none is drawn twice.
        """
        num_items_P1 = np.searchsorted(self.created_N, times_P, side="right")[:, None]
        spread = self.uniform("length", users_P, rounds_P) * (MAX_SLOTS - MIN_SLOTS + 1)
        length_P1 = MIN_SLOTS + spread.astype(np.int64)[:, None]
        slots_C = np.arange(MAX_SLOTS)
        keys = users_P[:, None], rounds_P[:, None], slots_C
        low_PC, high_PC = num_items_P1 * slots_C // length_P1, num_items_P1 * (slots_C + 1) // length_P1
        items_PC = low_PC + (self.uniform("item", *keys) * (high_PC - low_PC)).astype(np.int64)
        shown_PC = slots_C < length_P1
        order_PC = np.where(shown_PC, self.uniform("slot", *keys), 2.0).argsort(axis=1)
        return np.take_along_axis(np.where(shown_PC, items_PC, -1), order_PC, axis=1)

    def _click(self, users_P: Ints, rounds_P: Ints, probabilities_PC: Floats) -> Bools:
        """Draw independent clicks given that there is at least one: first its slot, then the slots after it."""
        slots_C = np.arange(MAX_SLOTS)
        none_before_PC = np.cumprod(1 - probabilities_PC[:, :-1], axis=1)
        none_before_PC = np.concatenate([np.ones_like(probabilities_PC[:, :1]), none_before_PC], axis=1)
        reached_PC = np.cumsum(probabilities_PC * none_before_PC, axis=1)
        level_P1 = (self.uniform("first click", users_P, rounds_P) * reached_PC[:, -1])[:, None]
        first_P1 = (reached_PC > level_P1).argmax(axis=1)[:, None]
        chance_PC = self.uniform("click", users_P[:, None], rounds_P[:, None], slots_C)
        return np.asarray((slots_C == first_P1) | ((slots_C > first_P1) & (chance_PC < probabilities_PC)))

    def _shift(self, rounds: Ints) -> Ints:
        return np.floor(self.uniform("shift", rounds) * self.spec.size.num_users).astype(np.int64)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finalise SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that scatters every input bit."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def _standardised(share: Floats) -> Floats:
    """Bring a share in [0, 1] that is uniform to mean 0 and variance 1."""
    return (share - 0.5) * 12**0.5


def _coprime(number: int) -> int:
    """Return a stride near the golden section of `number` that is coprime to it, so that its multiples visit all."""
    stride = max(1, int(number * 0.618))
    while np.gcd(stride, number) != 1:
        stride += 1
    return stride
