"""The world of known policy and preferences: its log against what it says of itself, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tastelab.data import exposure_log
from tastelab.data.catalog import names, resolve
from tastelab.data.exposure_log import prepare
from tastelab.data.exposure_truth import FILE, Truth, has_truth, read_truth
from tastelab.data.exposure_world import SESSION, SIZES, ExposureSpec, ExposureWorld
from tastelab.data.tables import PreparedData

TINY = ExposureSpec(num_train=500, num_dev=100, num_items=24, num_states=3, num_intents=4)
MANY = ExposureSpec(num_train=20_000, num_dev=1, num_items=24, num_states=3, num_intents=4, click_bias=-4.0)
"""Clicks are so rare that many users come back."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(tmp_path_factory.mktemp("exposure") / "many", MANY)


@pytest.fixture(scope="module")
def counts(many: PreparedData) -> tuple[np.ndarray, np.ndarray, Truth]:
    """What was shown and what was clicked in each state, and the truth."""
    truth = read_truth(many)
    shown_SN, clicked_SN = np.zeros(truth.q_SN.shape), np.zeros(truth.q_SN.shape)
    table = many.impressions("train", ["history", "candidates", "labels"])
    for (signature,), candidates, labels in zip(*(column.to_pylist() for column in table), strict=True):
        state = truth.state_of_item_N[signature]
        np.add.at(shown_SN[state], candidates, 1)
        np.add.at(clicked_SN[state], np.array(candidates)[np.array(labels) == 1], 1)
    return shown_SN, clicked_SN, truth


def within_chance(counts_N: np.ndarray, p_N: np.ndarray, errors: float = 4.5) -> bool:
    """Tell whether counts are as multinomial draws from p: every one within some standard errors."""
    total = counts_N.sum()
    return bool((np.abs(counts_N - total * p_N) <= errors * np.sqrt(total * p_N * (1 - p_N)) + 1e-9).all())


def test_what_was_shown_in_a_state_are_draws_from_its_policy(
    counts: tuple[np.ndarray, np.ndarray, Truth],
) -> None:
    shown_SN, _, truth = counts
    assert shown_SN.sum() > 4 * 20_000
    for state in range(truth.num_states):
        assert within_chance(shown_SN[state], truth.q_SN[state])
        assert not within_chance(shown_SN[state], truth.data_SN[state])


def test_what_was_clicked_are_draws_from_p_data(counts: tuple[np.ndarray, np.ndarray, Truth]) -> None:
    _, clicked_SN, truth = counts
    for state in range(truth.num_states):
        assert within_chance(clicked_SN[state], truth.data_SN[state])
        assert not within_chance(clicked_SN[state], truth.q_SN[state])
    assert within_chance(clicked_SN.sum(axis=0), truth.data_N)
    assert within_chance(clicked_SN.sum(axis=1), truth.share_S)


def test_shown_items_are_clicked_as_often_as_is_said(counts: tuple[np.ndarray, np.ndarray, Truth]) -> None:
    shown_SN, clicked_SN, truth = counts
    error_SN = np.sqrt(shown_SN * truth.click_SN * (1 - truth.click_SN))
    assert (np.abs(clicked_SN - shown_SN * truth.click_SN) <= 5 * error_SN + 2).all()


def test_every_user_has_a_signature_and_one_click(many: PreparedData) -> None:
    table = many.impressions("train")
    users, labels = table["user_id"].to_pylist(), table["labels"].to_pylist()
    clicks: dict[str, int] = {}
    for user, shown in zip(users, labels, strict=True):
        assert sum(shown[:-1]) == 0 and 1 <= len(shown) <= SESSION
        assert shown[-1] or len(shown) == SESSION, "who clicked nothing saw a whole session"
        assert not clicks.get(user), "nothing is shown after the click"
        clicks[user] = clicks.get(user, 0) + shown[-1]
    assert set(clicks.values()) == {1} and len(clicks) == 20_000
    assert len(users) > 20_500, "some came back"
    signatures = np.array(table["history"].to_pylist())
    assert signatures.shape[1] == 1 and signatures.min() >= 24
    assert max(item for shown in table["candidates"].to_pylist() for item in shown) < 24
    times = many.impressions("train", ["time"])["time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    assert many.impressions("dev", ["time"])["time"].to_numpy().astype("datetime64[s]").astype(np.int64) > times.max()


def test_the_truth_is_what_the_world_computed(many: PreparedData) -> None:
    world, truth = ExposureWorld(MANY), read_truth(many)
    np.testing.assert_array_equal(truth.q_SN[:, :24], world.q_SN)
    np.testing.assert_array_equal(truth.click_SN[:, :24], world.click_SN)
    assert not truth.q_SN[:, 24:].any() and many.num_items == 27
    np.testing.assert_allclose(truth.q_SN.sum(axis=1), 1)
    assert truth.state_of_item_N.tolist() == [-1] * 24 + [0, 1, 2]
    assert truth.item_of_state_S().tolist() == [24, 25, 26]
    np.testing.assert_allclose(truth.optimum_SN[:, :24], world.click_SN / world.click_SN.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        truth.data_SN, truth.optimum_SN * truth.q_SN / (truth.optimum_SN * truth.q_SN).sum(axis=1, keepdims=True)
    )


def test_the_policy_is_a_mixture_over_intents_that_are_the_categories(many: PreparedData) -> None:
    world = ExposureWorld(MANY)
    np.testing.assert_allclose(world.share_SH.sum(axis=1), 1)
    for intent in range(4):
        members = world.intent_N == intent
        within_SN = world.q_SN[:, members] / world.share_SH[:, [intent]]
        np.testing.assert_allclose(within_SN.sum(axis=1), 1)
        np.testing.assert_allclose(within_SN, within_SN[[0]].repeat(3, axis=0))
    items = many.items(["category", "title"])
    categories = np.array(items["category"].to_pylist())
    assert len(set(categories)) == 4
    for intent in range(4):
        assert len(set(categories[:24][world.intent_N == intent])) == 1
    assert all(items["title"].to_pylist())


def test_options_do_what_they_say() -> None:
    same = ExposureWorld(ExposureSpec(1, 1, personal=0.0))
    np.testing.assert_allclose(same.q_SN, same.q_SN[[0]].repeat(8, axis=0))
    level = ExposureWorld(ExposureSpec(1, 1, skew=0.0, personal=0.0))
    np.testing.assert_allclose(level.q_SN, 1 / 200)
    liked = {}
    for optimised in (0.0, 1.0):
        worlds = [ExposureWorld(ExposureSpec(1, 1, optimised=optimised, num_intents=1), seed) for seed in range(20)]
        liked[optimised] = [np.corrcoef(np.log(world.q_SN[0]), world.click_SN.mean(axis=0))[0, 1] for world in worlds]
    assert abs(np.mean(liked[0.0])) < 0.1 and min(liked[1.0]) > 0.8


def test_the_seed_alone_decides_the_tables(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = prepare(tmp_path / "first", TINY, seed=3, progress=lambda *counts: told.append(counts))
    again, other = prepare(tmp_path / "again", TINY, seed=3), prepare(tmp_path / "other", TINY, seed=4)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert told == [(500, 600), (600, 600)]
    assert first.name == "exposure-custom"


def test_names_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"exposure-smoke", "exposure", "exposure-large"} <= set(names())
    data = resolve("exposure-smoke", tmp_path, progress=False)
    assert data.name == "exposure-smoke" and data.path.parent == tmp_path / "datasets"
    assert data.num_impressions("train") >= SIZES["smoke"].num_train and has_truth(data)
    monkeypatch.setattr(exposure_log, "prepare", None)
    assert resolve("exposure-smoke", tmp_path, progress=False) == data
    monkeypatch.setattr(exposure_log, "VERSION", -1)
    with pytest.raises(TypeError):  # another version is written anew
        resolve("exposure-smoke", tmp_path, progress=False)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: prepare(Path("nowhere"), "huge"), "no world of exposure of size 'huge': choose one of smoke, default"),
        (lambda: ExposureSpec(0, 1), "at least one state, one click"),
        (lambda: ExposureSpec(1, 1, num_intents=26), "has 1 to 25 intents, not 26"),
        (lambda: ExposureSpec(1, 1, num_items=7), "8 intents need at least 16 items, not 7"),
        (lambda: ExposureSpec(1, 1, optimised=1.5), "between 0 and 1"),
        (lambda: ExposureSpec(1, 1, skew=-1.0), "no spread may be negative"),
    ],
)
def test_impossible_worlds_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def truth_of(**changes: np.ndarray) -> Truth:
    known = {
        "click_SN": np.array([[0.5, 0.2, 0.0]]),
        "q_SN": np.array([[0.5, 0.5, 0.0]]),
        "state_of_item_N": np.array([-1, -1, 0]),
        "share_S": np.array([1.0]),
    }
    return Truth(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"q_SN": np.array([[0.5, 0.4, 0.0]])}, "no distribution: give probabilities that sum to 1"),
        ({"q_SN": np.array([[1.5, -0.5, 0.0]])}, "no distribution"),
        ({"q_SN": np.array([[np.nan, 1.0, 0.0]])}, "no distribution"),
        ({"click_SN": np.array([[0.5, 1.2, 0.0]])}, r"must lie in \[0, 1\]"),
        ({"click_SN": np.array([[0.0, 0.0, 0.3]])}, "never clicks: of each, some item that is shown"),
        ({"state_of_item_N": np.array([-1, 0])}, "shapes of truth.npz disagree"),
        ({"share_S": np.array([0.5, 0.5])}, "shapes of truth.npz disagree"),
    ],
)
def test_a_truth_that_no_clicks_can_come_from_is_refused(changes: dict[str, np.ndarray], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        truth_of(**changes)


def test_each_state_needs_an_item_that_names_it() -> None:
    assert truth_of().item_of_state_S().tolist() == [2]
    with pytest.raises(ValueError, match="names items of 0 of 1 states"):
        truth_of(state_of_item_N=np.array([-1, -1, -1])).item_of_state_S()


def test_what_nothing_is_known_of_is_refused(tiny_data: PreparedData) -> None:
    assert not has_truth(tiny_data)
    with pytest.raises(ValueError, match="'tiny' is no world of known policy: choose --data exposure"):
        read_truth(tiny_data)


def test_states_click_alike_often_where_no_shares_are_said(many: PreparedData, tmp_path: Path) -> None:
    truth = read_truth(many)
    np.savez(tmp_path / FILE, click_SN=truth.click_SN, q_SN=truth.q_SN, state_of_item_N=truth.state_of_item_N)
    np.testing.assert_allclose(read_truth(PreparedData(tmp_path, {"name": "old"})).share_S, 1 / 3)
