"""Sampled negatives: a pure function of (seed, epoch, step or click), whatever the number of workers (methods.md §6).

Draws are independent and with replacement: an accidental hit of the positive and a repetition stay, because the optimum
of the losses is the stated one only then. Shape letters: N examples, L negatives.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from tastelab.data.propensity import Distribution
from tastelab.data.sampling import slot_keys

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Drawer:
    """Draw items with probability p^power / sum p^power, and tell the logarithm of that."""

    def __init__(self, distribution: Distribution, power: float = 1.0) -> None:
        """Prepare to draw from a distribution; an item with p = 0 is never drawn, at any power.

        Raises:
            ValueError: the power is negative or not finite.
        """
        if not (np.isfinite(power) and power >= 0):
            raise ValueError(f"The power of a distribution is {power}: use a number from 0 (uniform) to 1 (as it is).")
        self.distribution, self.power = distribution, power
        self._log_p_N, log_total = _powered(distribution.log_p_N, power)
        self._floor = None if distribution.floor is None else power * distribution.floor - log_total

    def shared(self, num_negatives: int, seed: int, epoch: int, step: int) -> Ints:
        """Draw (L,) negatives for a whole global batch; where p depends on the user, from its mean over users."""
        # Clicks have rows from 0: a step hashes as a row that no click has.
        row_L = np.full(num_negatives, -2 - step)
        return _drawn(self._cumulative_N, slot_keys(seed, epoch, row_L, np.arange(num_negatives)))

    def each(self, num_negatives: int, rows_N: Ints, seed: int, epoch: int, last_items_N: Ints | None = None) -> Ints:
        """Draw (N, L) negatives, L for each example.

        Args:
            num_negatives: L.
            rows_N: the clicks to predict, their identities in the draw.
            seed: seed of the run.
            epoch: pass over the data, from 0.
            last_items_N: the last item that each user clicked, where p depends on it; -1: none. Without it, and for
                users whose item has no state, p is its mean over users.
        """
        shape = (len(rows_N), num_negatives)
        keys_NL = slot_keys(
            seed, epoch, np.broadcast_to(rows_N[:, None], shape), np.broadcast_to(np.arange(num_negatives), shape)
        )
        states_N = self._states(last_items_N)
        if states_N is None:
            return _drawn(self._cumulative_N, keys_NL)
        drawn_NL = np.empty(shape, np.int64)
        for state in np.unique(states_N).tolist():
            of = states_N == state
            cumulative = self._cumulative_N if state < 0 else self._cumulative_SN[state]
            drawn_NL[of] = _drawn(cumulative, keys_NL[of])
        return drawn_NL

    def log_p(self, ids: Ints, last_items_N: Ints | None = None) -> npt.NDArray[np.float32]:
        """Return the log-probability of items, of the shape of `ids`: (N,), (N, L), or any without `last_items_N`.

        An item that was never counted gets the probability of one counted once, so that a weight 1/p stays finite.

        Raises:
            ValueError: an item has p = 0 under a policy that is known: what it never shows cannot be clicked.
        """
        log_p, states_N = self._log_p_N[ids], self._states(last_items_N)
        if states_N is not None:
            states = states_N.reshape(-1, *[1] * (ids.ndim - 1))
            log_p = np.where(states >= 0, self._log_q_SN[np.maximum(states, 0), ids], log_p)
        unseen = np.isneginf(log_p)
        if unseen.any():
            if self._floor is None:
                raise ValueError(
                    f"The distribution '{self.distribution.kind}' gives item row {int(ids[unseen][0])} probability 0, "
                    "so its click has no weight: choose a distribution that covers every clicked item."
                )
            log_p = np.where(unseen, self._floor, log_p)
        return np.asarray(log_p, np.float32)

    def _states(self, last_items_N: Ints | None) -> Ints | None:
        states_N = self.distribution.state_of_item_N
        if last_items_N is None or states_N is None:
            return None
        return np.where(last_items_N >= 0, states_N[np.maximum(last_items_N, 0)], -1)

    @cached_property
    def _log_q_SN(self) -> Floats:
        assert self.distribution.log_q_SN is not None
        return np.stack([_powered(log_q_N, self.power)[0] for log_q_N in self.distribution.log_q_SN])

    @cached_property
    def _cumulative_N(self) -> Floats:
        return np.cumsum(np.exp(self._log_p_N))

    @cached_property
    def _cumulative_SN(self) -> Floats:
        return np.cumsum(np.exp(self._log_q_SN), axis=1)


def _powered(log_p_N: npt.NDArray[np.float32], power: float) -> tuple[Floats, float]:
    """Return power · log p less its normaliser, and the normaliser; 0^0 is 0 here."""
    log_p = np.full(len(log_p_N), -np.inf)
    seen = np.isfinite(log_p_N)
    log_p[seen] = power * log_p_N[seen].astype(np.float64)
    log_total = float(np.logaddexp.reduce(log_p[seen]))
    return log_p - log_total, log_total


def _drawn(cumulative_N: Floats, keys: npt.NDArray[np.uint64]) -> Ints:
    """Invert the distribution function at uniform 64-bit keys."""
    uniform = (keys >> np.uint64(11)) * 2.0**-53
    ids = np.searchsorted(cumulative_N, uniform * cumulative_N[-1], side="right")
    last = np.searchsorted(cumulative_N, cumulative_N[-1], side="left")  # rounding must not reach beyond what has p > 0
    return np.asarray(np.minimum(ids, last))
