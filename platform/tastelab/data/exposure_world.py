"""A synthetic world for [B]'s Theorem 1: one click per user, drawn from a policy q and preferences that are both known.

A state x of a user is what tells users apart. Each user has clicked the signature item of their state, which is never
shown, and then asks for recommendations until one is clicked. So the last click of a history names the state exactly,
and whatever learns from (signature, click) can be held against the optimum of each state.

Policy. `q(y|x) = Σ_h π(h|x) q(y|h)`: an intent h, which is the item's category, is drawn by the state; within it
items follow Zipf's law over one order of all items. That order is what an optimised system would show, of correlation
`optimised` with how much an item is liked on average; `personal` says how far π follows what the state likes.

Preferences. `p(click = 1|x, y) = sigmoid(bias + taste_x(style and category of y) + appeal_y)`: being shown often is no
reason to be clicked.

Log. A session is up to 16 draws from q, one after the other, and ends with the first click; who clicked nothing comes
back for another. Whether a session goes on never depends on what would come next, so what was shown in a state counts
as draws from q; the same item may come twice.

Shape letters: S states, N items that may be shown, M those and the signature items, H intents, A style axes, U users,
P sessions, C slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tastelab.data import synthetic_text as text
from tastelab.data.exposure_truth import Floats, Ints, Truth

SESSION = 16
"""Recommendations after which a user who clicked none leaves, and comes back."""

TOPICS = tuple(topic for topics in text.TOPICS for topic in topics)
AXES = len(text.AXES)


@dataclass(frozen=True)
class ExposureSpec:
    """All that defines a world beside the seed."""

    num_train: int
    """Clicks, one a user."""
    num_dev: int
    num_items: int = 200
    """Items that may be shown; one signature item a state comes on top."""
    num_states: int = 8
    num_intents: int = 8
    skew: float = 1.0
    """Exponent of Zipf's law of exposure within an intent; 0 shows all items of it alike."""
    optimised: float = 0.7
    """Correlation, 0 to 1, of an item's place in the order of exposure with how much it is liked on average."""
    personal: float = 0.75
    """How far the policy follows what a state likes; 0 shows the same to all."""
    taste: float = 2.0
    """Spread over states of the click logit of an item."""
    appeal: float = 0.3
    """Spread over items of the click logit in every state."""
    click_bias: float = -1.5

    def __post_init__(self) -> None:
        """Reject what no world can be made of."""
        if min(self.num_train, self.num_dev, self.num_states) < 1:
            raise ValueError("A world of exposure needs at least one state, one click to train on and one for dev.")
        if not 1 <= self.num_intents <= len(TOPICS):
            raise ValueError(f"A world of exposure has 1 to {len(TOPICS)} intents, not {self.num_intents}.")
        if self.num_items < 2 * self.num_intents:
            raise ValueError(
                f"{self.num_intents} intents need at least {2 * self.num_intents} items, not {self.num_items}."
            )
        if not 0 <= self.optimised <= 1 or min(self.skew, self.personal, self.taste, self.appeal) < 0:
            raise ValueError("`optimised` is a correlation between 0 and 1, and no spread may be negative.")


SIZES: dict[str, ExposureSpec] = {
    "smoke": ExposureSpec(num_train=600, num_dev=200, num_items=60, num_states=4, num_intents=4),
    "default": ExposureSpec(num_train=50_000, num_dev=5_000),
    "large": ExposureSpec(num_train=400_000, num_dev=40_000, num_items=1_000, num_states=16, num_intents=16),
}
"""Named sizes. A model can come no nearer to an optimum than the clicks tell: about items · states / (2 · clicks) nats
where all items are shown alike, some times that where they are not."""


@dataclass(frozen=True)
class ShownTo:
    """P sessions in the order of users, and of each user's time."""

    users_P: Ints
    rounds_P: Ints
    """How many sessions without a click the user had before."""
    items_PC: Ints
    lengths_P: Ints
    clicked_P: Ints
    """1 where the last item shown was clicked, 0 where none was."""


class ExposureWorld:
    """Items, policy and preferences of an `ExposureSpec`, and sessions drawn from them."""

    def __init__(self, spec: ExposureSpec, seed: int = 0) -> None:
        """Draw items and tastes; sessions are drawn when asked for."""
        self.spec, self.seed = spec, seed
        rng = np.random.default_rng([seed, 0])
        num_items, num_states = spec.num_items, spec.num_states
        self.intent_N: Ints = rng.permutation(np.arange(num_items) % spec.num_intents)
        self.axes_N2: Ints = rng.random((num_items, AXES)).argsort(axis=1)[:, :2]
        self.sides_N2: Ints = (rng.random((num_items, 2)) < 0.5).astype(np.int64)
        self.style_taste_SA: Floats = rng.standard_normal((num_states, AXES))
        self.intent_taste_SH: Floats = rng.standard_normal((num_states, spec.num_intents))
        self.appeal_N: Floats = spec.appeal * rng.standard_normal(num_items)
        self.luck_N: Floats = rng.standard_normal(num_items)

    @cached_property
    def click_SN(self) -> Floats:
        """p(click = 1|x, y)."""
        style_NA = np.zeros((self.spec.num_items, AXES))
        np.put_along_axis(style_NA, self.axes_N2, (2.0 * self.sides_N2 - 1) / 2**0.5, axis=1)
        liking_SN = (self.style_taste_SA @ style_NA.T + self.intent_taste_SH[:, self.intent_N]) / 2**0.5
        return np.asarray(1 / (1 + np.exp(-(self.spec.click_bias + self.spec.taste * liking_SN + self.appeal_N))))

    @cached_property
    def share_SH(self) -> Floats:
        """π(h|x), what the policy takes for the state's intents."""
        members_NH = self.intent_N[:, None] == np.arange(self.spec.num_intents)
        liking_SH = self.click_SN @ members_NH / members_NH.sum(axis=0)
        weights_SH = np.exp(self.spec.personal * _standardised(liking_SH))
        return np.asarray(weights_SH / weights_SH.sum(axis=1, keepdims=True))

    @cached_property
    def q_of_intent_N(self) -> Floats:
        """q(y|h) of each item in its own intent."""
        optimised = self.spec.optimised
        favour_N = optimised * _standardised(self.click_SN.mean(axis=0)) + (1 - optimised**2) ** 0.5 * self.luck_N
        weights_N = (1.0 + (-favour_N).argsort(kind="stable").argsort(kind="stable")) ** -self.spec.skew
        return np.asarray(weights_N / np.bincount(self.intent_N, weights_N)[self.intent_N])

    @cached_property
    def q_SN(self) -> Floats:
        """q(y|x)."""
        return np.asarray(self.share_SH[:, self.intent_N] * self.q_of_intent_N)

    def truth(self) -> Truth:
        """Return what is known, of all items: those that may be shown, then the signature items of the states."""
        num_states = self.spec.num_states
        never_SS = np.zeros((num_states, num_states))
        click_SM, q_SM = (np.concatenate([known, never_SS], axis=1) for known in (self.click_SN, self.q_SN))
        states_M = np.concatenate([np.full(self.spec.num_items, -1), np.arange(num_states)])
        return Truth(click_SM, q_SM, states_M, np.full(num_states, 1 / num_states))

    def states(self) -> Ints:
        """Return the state of every user, train before dev; all states are equally likely."""
        num_users = self.spec.num_train + self.spec.num_dev
        return np.random.default_rng([self.seed, 1]).integers(self.spec.num_states, size=num_users)

    def sessions(self, users_U: Ints, states_U: Ints, rng: np.random.Generator) -> ShownTo:
        """Draw the sessions of users until each has clicked."""
        rounds: list[tuple[Ints, ...]] = []
        waiting, cumulative = np.arange(len(users_U)), _ladder(self.q_SN)
        while len(waiting):
            states_P1 = states_U[waiting][:, None]
            levels_PC = states_P1 + rng.random((len(waiting), SESSION))
            items_PC = np.searchsorted(cumulative, levels_PC, side="right") - states_P1 * self.spec.num_items
            items_PC = np.minimum(items_PC, self.spec.num_items - 1)  # a level may be rounded up to the next state's
            clicks_PC = rng.random(items_PC.shape) < self.click_SN[states_P1, items_PC]
            clicked_P = clicks_PC.any(axis=1)
            lengths_P = np.where(clicked_P, clicks_PC.argmax(axis=1) + 1, SESSION)
            numbers_P = np.full(len(waiting), len(rounds))
            rounds.append((users_U[waiting], numbers_P, items_PC, lengths_P, clicked_P.astype(np.int64)))
            waiting = waiting[~clicked_P]
        users_P, rounds_P, items_PC, lengths_P, clicked_P = (
            np.concatenate(parts) for parts in zip(*rounds, strict=True)
        )
        order_P = np.lexsort((rounds_P, users_P))
        return ShownTo(*(values[order_P] for values in (users_P, rounds_P, items_PC, lengths_P, clicked_P)))


def _ladder(q_SN: Floats) -> Floats:
    """Return cumulative probabilities of all states end to end, state s between s and s + 1, for one search in all."""
    cumulative_SN = np.cumsum(q_SN, axis=1)
    cumulative_SN[:, -1] = 1.0
    ladder_SN: Floats = np.minimum(cumulative_SN, 1.0) + np.arange(len(q_SN))[:, None]
    return ladder_SN.ravel()


def _standardised(values: Floats) -> Floats:
    """Bring values to mean 0 and variance 1; equal values to 0."""
    spread = values.std()
    return np.asarray((values - values.mean()) / spread if spread > 0 else np.zeros_like(values))
