"""Distributions and draws: counts by hand, a chi-square test, purity, what has probability 0."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tastelab.config import DataConfig
from tastelab.data.clicks import examples_of, fitting_and_validation_clicks
from tastelab.data.exposure_truth import Truth
from tastelab.data.negatives import Drawer
from tastelab.data.propensity import KINDS, Distribution, distribution
from tastelab.data.ragged import flat
from tastelab.data.sequences import Sequences, prepare_sequences
from tastelab.data.tables import PreparedData
from tastelab.losses.contrast import DISTRIBUTIONS

P = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])


def of(p: np.ndarray, **more: object) -> Distribution:
    with np.errstate(divide="ignore"):
        return Distribution("clicks", np.log(p).astype(np.float32), **{"floor": -5.0} | more)  # type: ignore[arg-type]


def with_states() -> Distribution:
    q_SN = np.array([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.0, 0.0, 0.75, 0.0]])
    with np.errstate(divide="ignore"):
        log_q_SN = np.log(q_SN).astype(np.float32)
    return of(P, floor=None, log_q_SN=log_q_SN, state_of_item_N=np.array([0, 1, -1, 0, 1, 1]))


@pytest.fixture(scope="module")
def clicked(tiny_data: PreparedData) -> tuple[PreparedData, Sequences, np.ndarray]:
    """Tiny data, its sequences and its fitting clicks."""
    sequences = prepare_sequences(tiny_data)
    return tiny_data, sequences, fitting_and_validation_clicks(sequences, DataConfig())[0]


def test_the_kinds_are_those_that_losses_ask_for() -> None:
    assert KINDS == DISTRIBUTIONS


def test_counts_become_probabilities(clicked: tuple[PreparedData, Sequences, np.ndarray]) -> None:
    data, sequences, fitting = clicked
    uniform = distribution(data, sequences, "uniform", fitting)
    np.testing.assert_allclose(np.exp(uniform.log_p_N), 1 / data.num_items, rtol=1e-6)
    table = data.impressions("train", ["candidates", "time"])
    until = sequences.times[fitting].max()
    earlier = table.filter(table["time"].cast("timestamp[s]").cast("int64").to_numpy() <= until)
    assert 0 < len(earlier) < len(table), "what is shown after the last fitted click does not count"
    shown = np.bincount(flat(earlier["candidates"])[0], minlength=data.num_items)
    counts = {"clicks": np.bincount(sequences.items[fitting], minlength=data.num_items), "logged": shown}
    for kind, counts_N in counts.items():
        found = distribution(data, sequences, kind, fitting)
        assert (found.kind, found.num_items, found.log_p_N.dtype) == (kind, data.num_items, np.float32)
        np.testing.assert_allclose(np.exp(found.log_p_N), counts_N / counts_N.sum(), rtol=1e-6)
        assert found.floor == pytest.approx(-np.log(counts_N.sum()))


def test_the_true_policy_weighs_its_states_as_the_fitting_clicks_do(
    clicked: tuple[PreparedData, Sequences, np.ndarray], tmp_path: Path
) -> None:
    data, sequences, fitting = clicked
    with pytest.raises(ValueError, match="'tiny' is no world of known policy"):
        distribution(data, sequences, "true", fitting)
    rng = np.random.default_rng(0)
    states = rng.integers(-1, 3, data.num_items)
    q_SN = rng.dirichlet(np.ones(data.num_items), 3)
    Truth(np.full_like(q_SN, 0.5), q_SN, states, np.full(3, 1 / 3)).save(tmp_path / "truth.npz")
    found = distribution(PreparedData(tmp_path, data.meta), sequences, "true", fitting)
    last = states[examples_of(sequences, fitting, 1).history_NH[:, 0]]
    share = np.bincount(last[last >= 0], minlength=3) / (last >= 0).sum()
    np.testing.assert_allclose(np.exp(found.log_p_N), share @ q_SN, rtol=1e-5)
    assert found.log_q_SN is not None and found.floor is None
    np.testing.assert_allclose(np.exp(found.log_q_SN), q_SN, rtol=1e-5)


def test_a_click_that_the_true_policy_never_shows_is_refused_before_training(
    clicked: tuple[PreparedData, Sequences, np.ndarray], tmp_path: Path
) -> None:
    data, sequences, fitting = clicked
    last, target = examples_of(sequences, fitting[:1], 1).history_NH[0, 0], sequences.items[fitting[0]]
    for state in (0, -1):  # in a state, and of a user whose item has none
        q_SN = np.ones((1, data.num_items))
        q_SN[0, target] = 0.0
        states = np.full(data.num_items, -1)
        states[last] = state
        Truth(np.full_like(q_SN, 0.5), q_SN / q_SN.sum(), states, np.ones(1)).save(tmp_path / "truth.npz")
        with pytest.raises(ValueError, match=f"1 clicked items probability 0, the first is item row {target}"):
            distribution(PreparedData(tmp_path, data.meta), sequences, "true", fitting[:1])


def test_what_cannot_be_counted_is_refused(clicked: tuple[PreparedData, Sequences, np.ndarray]) -> None:
    data, sequences, fitting = clicked
    with pytest.raises(ValueError, match="no distribution 'popular': choose among uniform, clicks, logged, true"):
        distribution(data, sequences, "popular", fitting)
    with pytest.raises(ValueError, match="'clicks' counts nothing in these data: choose 'uniform'"):
        distribution(data, sequences, "clicks", fitting[:0])


@pytest.mark.parametrize("power", [1.0, 0.75, 0.0])
def test_draws_follow_the_distribution(power: float) -> None:
    drawer = Drawer(of(P), power)
    expected = np.where(P > 0, P**power, 0)
    expected /= expected.sum()
    np.testing.assert_allclose(np.exp(drawer.log_p(np.flatnonzero(P))), expected[P > 0], rtol=1e-6)
    draws = (drawer.shared(40_000, 1, 2, 3), drawer.each(50, np.arange(800), 1, 2).ravel())
    for ids in draws:
        counts = np.bincount(ids, minlength=len(P))
        assert not counts[P == 0].any()
        assert stats.chisquare(counts[P > 0], expected[P > 0] * len(ids)).pvalue > 1e-3
    assert not np.array_equal(*draws)


def test_slots_steps_epochs_and_seeds_draw_independently() -> None:
    drawer = Drawer(of(np.full(16, 1 / 16)))
    base = drawer.shared(20_000, 1, 2, 3)
    others = [drawer.shared(20_000, *key) for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4))]
    each_NL = drawer.each(2, np.arange(20_000), 1, 2)
    for ids, other in [*((base, other) for other in others), (each_NL[:, 0], each_NL[:, 1]), (base, each_NL[:, 0])]:
        pairs = np.bincount(16 * ids + other, minlength=256)
        assert stats.chisquare(pairs).pvalue > 1e-3


def test_no_worker_no_order_and_no_neighbour_changes_a_draw() -> None:
    rows, last = np.array([5, 900, 17, 3]), np.array([0, 4, -1, 1])
    for drawer in (Drawer(of(P), 0.75), Drawer(with_states())):
        together = drawer.each(7, rows, 1, 0, last)
        copy = pickle.loads(pickle.dumps(drawer))
        assert np.array_equal(np.concatenate([copy.each(7, rows[[i]], 1, 0, last[[i]]) for i in range(4)]), together)
        assert np.array_equal(drawer.each(3, rows[::-1], 1, 0, last[::-1]), together[::-1, :3])
        assert np.array_equal(drawer.shared(9, 1, 0, 4)[:5], copy.shared(5, 1, 0, 4))


def test_a_policy_draws_by_the_state_of_the_user() -> None:
    drawer = Drawer(with_states())
    rows, last = np.arange(3_000), np.tile([0, 4, -1], 1_000)
    ids_NL = drawer.each(10, rows, 0, 0, last)
    assert set(ids_NL[last == 0].ravel().tolist()) == {1}
    for item, expected in ((4, [0.25, 0.75]), (-1, [0.5, 0.3, 0.2])):
        counts = np.bincount(ids_NL[last == item].ravel(), minlength=6)
        assert stats.chisquare(counts[counts > 0], np.array(expected) * counts.sum()).pvalue > 1e-3
    log_p_NL = drawer.log_p(ids_NL, last)
    assert log_p_NL.dtype == np.float32 and not log_p_NL[last == 0].any()
    np.testing.assert_allclose(drawer.log_p(np.array([4, 4, 4]), np.array([1, 2, -1])), np.log([0.75, 0.2, 0.2]), 1e-6)
    np.testing.assert_allclose(drawer.log_p(np.array([4, 3])), np.log([0.2, 0.3]), 1e-6)


def test_an_item_that_was_never_counted_weighs_as_one_counted_once() -> None:
    drawer = Drawer(of(np.array([0.75, 0.25, 0.0]), floor=float(np.log(1 / 4))), 0.5)
    np.testing.assert_allclose(
        np.exp(drawer.log_p(np.array([0, 1, 2]))), np.sqrt([3, 1, 1]) / (np.sqrt(3) + 1), rtol=1e-6
    )


def test_a_click_that_the_policy_never_shows_is_an_error() -> None:
    drawer = Drawer(with_states())
    with pytest.raises(ValueError, match="gives item row 3 probability 0, so its click has no weight"):
        drawer.log_p(np.array([1, 3]), np.array([0, 0]))
    with pytest.raises(ValueError, match=r"The power of a distribution is -1\.0"):
        Drawer(of(P), -1.0)


def test_the_largest_key_draws_an_item_that_has_a_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    from tastelab.data import negatives

    def extreme(seed: int, epoch: int, rows: np.ndarray, slots: np.ndarray) -> np.ndarray:
        return np.where(slots % 2 == 0, np.uint64(2**64 - 1), np.uint64(0))

    monkeypatch.setattr(negatives, "slot_keys", extreme)
    assert Drawer(of(P)).shared(2, 0, 0, 0).tolist() == [4, 1]
