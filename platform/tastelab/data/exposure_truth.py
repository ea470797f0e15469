"""What is known of a world whose exposure policy and preferences are known: the file `truth.npz` beside its tables.

Shape letters: S states, N items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tastelab.data.tables import PreparedData

FILE = "truth.npz"
TOLERANCE = 1e-6

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Policy and preferences of a synthetic world, [B]'s q(y|x) and p(click = 1|x, y).

    A user's state x is that of the item that they clicked last. Rows of `q_SN` sum to 1 over the items that may be
    shown and are 0 elsewhere. One recommendation at a time is drawn from q and clicked or not, so clicks follow
    p_data(y|x) ∝ q(y|x) p(click = 1|x, y).
    """

    click_SN: Floats
    q_SN: Floats
    state_of_item_N: Ints
    """State of a user who clicked the item last; -1: none."""
    share_S: Floats
    """Share of the clicks that are made in each state."""

    def __post_init__(self) -> None:
        """Reject what no clicks can have come from."""
        states_items = self.q_SN.shape
        if (self.click_SN.shape, (*self.share_S.shape, *self.state_of_item_N.shape)) != (states_items, states_items):
            raise ValueError(
                f"The shapes of {FILE} disagree ({self.click_SN.shape}, {self.q_SN.shape}, "
                f"{self.state_of_item_N.shape}, {self.share_S.shape}): prepare the data again."
            )
        if not (self.q_SN.min() >= 0 and np.abs(self.q_SN.sum(axis=1) - 1).max() <= TOLERANCE):
            raise ValueError(
                f"A row of q in {FILE} is no distribution: give probabilities that sum to 1 in each state."
            )
        if not (self.click_SN.min() >= 0 and self.click_SN.max() <= 1):
            raise ValueError(f"Click probabilities in {FILE} must lie in [0, 1].")
        if not (self.q_SN * self.click_SN).sum(axis=1).min() > 0:
            raise ValueError(
                f"A state in {FILE} never clicks: of each, some item that is shown must be clicked at times."
            )

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.q_SN)

    @property
    def shown_SN(self) -> Bools:
        """Items that the policy ever shows in a state: only of these can anything be learned."""
        return self.q_SN > 0

    @property
    def optimum_SN(self) -> Floats:
        """The r(y|x) of [B]'s Theorem 1: p_data(y|x) / q(y|x), normalised, which is ∝ p(click = 1|x, y)."""
        return normalised(np.where(self.shown_SN, self.click_SN, 0.0))

    @property
    def data_SN(self) -> Floats:
        """p_data(y|x): what is clicked in each state."""
        return normalised(self.q_SN * self.click_SN)

    @property
    def data_N(self) -> Floats:
        """p_data(y): what is clicked, over all states."""
        return np.asarray(self.share_S @ self.data_SN)

    @property
    def q_N(self) -> Floats:
        """q(y): what is recommended to someone, when each state asks as often as it clicks."""
        return np.asarray(self.share_S @ self.q_SN)

    def item_of_state_S(self) -> Ints:
        """Return an item of each state: a history that ends with it is in that state."""
        states, rows = np.unique(self.state_of_item_N, return_index=True)
        items_S = rows[states >= 0]
        if len(items_S) != self.num_states:
            raise ValueError(f"{FILE} names items of {len(items_S)} of {self.num_states} states: each needs one.")
        return np.asarray(items_S)

    def save(self, file: Path) -> None:
        """Write the file."""
        np.savez_compressed(
            file,
            click_SN=self.click_SN,
            q_SN=self.q_SN,
            state_of_item_N=self.state_of_item_N,
            share_S=self.share_S,
        )


def has_truth(data: PreparedData) -> bool:
    """Tell whether a data set's policy and preferences are known."""
    return (data.path / FILE).is_file()


def read_truth(data: PreparedData) -> Truth:
    """Read what is known of a world; without shares, all states click alike often.

    Raises:
        ValueError: nothing is known of the data set, or what is known is inconsistent.
    """
    if not has_truth(data):
        raise ValueError(f"'{data.name}' is no world of known policy: choose --data exposure, or another distribution.")
    with np.load(data.path / FILE, allow_pickle=False) as held:
        click_SN, q_SN = held["click_SN"].astype(np.float64), held["q_SN"].astype(np.float64)
        share_S = held["share_S"] if "share_S" in held else np.full(len(q_SN), 1 / len(q_SN))
        return Truth(click_SN, q_SN, held["state_of_item_N"].astype(np.int64), share_S)


def normalised(weights: Floats) -> Floats:
    """Divide each row by its sum."""
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
