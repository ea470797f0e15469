from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tastelab.config import SimulationConfig
from tastelab.data.population import Population, world_of
from tastelab.data.synthetic_world import World, WorldSize, WorldSpec

SPEC = WorldSpec(WorldSize(num_items=240, num_users=60, num_train=100, num_dev=20))
CONFIG = SimulationConfig(users=60, slots=5, retrieved=20, appeal=0.5)


def population(seed: int = 0, **changes: object) -> Population:
    return Population(World(SPEC, 3), replace(CONFIG, **changes), seed)


def test_the_world_is_rebuilt_from_what_its_data_say() -> None:
    world = world_of({"source": "synthetic", "name": "w", "spec": asdict(SPEC), "seed": 3})
    np.testing.assert_array_equal(world.latent_NR, World(SPEC, 3).latent_NR)
    assert world.spec == SPEC


def test_data_without_known_preferences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'mind' has no known preferences.*--data synthetic"):
        world_of({"source": "mind", "name": "mind"})


@pytest.mark.parametrize(
    ("changes", "words"), [({"users": 61}, "61 users .* world of 60"), ({"slots": 241, "retrieved": 241}, "241 slots")]
)
def test_a_population_larger_than_its_world_is_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        population(**changes)


def test_probabilities_are_those_of_the_formula() -> None:
    people = population()
    users = np.array([4, 17])
    taste = people.world.taste(users, np.full(2, 1_704_067_200 + (16 + 2) * 86_400))
    logit = -5.2 + people.world.latent_NR[7] @ taste[1] + 0.5 * people.world.normal("appeal", 7)
    assert people.click_probability(users, 2)[1, 7] == pytest.approx(1 / (1 + np.exp(-logit)))


def test_a_response_depends_on_user_day_and_item_alone() -> None:
    people = population()
    users = np.array([4, 17, 30])
    slates = np.tile(np.arange(200), (3, 1))
    whole = people.respond(users, 3, slates)
    alone = people.respond(users[[2]], 3, slates[[2], ::-1])
    np.testing.assert_array_equal(alone.clicks_PS[0], whole.clicks_PS[2, ::-1])
    np.testing.assert_array_equal(alone.dwell_PS[0], whole.dwell_PS[2, ::-1])
    np.testing.assert_allclose(whole.probabilities_PS, people.click_probability(users, 3)[:, :200], rtol=1e-12)
    assert (population(seed=1).respond(users, 3, slates).clicks_PS != whole.clicks_PS).any()


def test_clicks_come_as_often_as_their_probabilities_say() -> None:
    people = population(appeal=2.0)
    users = np.arange(60)
    responses = [people.respond(users, day, np.tile(np.arange(240), (60, 1))) for day in range(6)]
    clicks = np.concatenate([r.clicks_PS for r in responses])
    probabilities = np.concatenate([r.probabilities_PS for r in responses])
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.0)):
        cell = (probabilities >= low) & (probabilities < high)
        deviation = np.sqrt((probabilities * (1 - probabilities))[cell].sum())
        assert abs(clicks[cell].sum() - probabilities[cell].sum()) < 4 * deviation


def test_dwell_time_has_the_known_mean_and_grows_with_affinity_alone() -> None:
    people = population(appeal=3.0, dwell_gain=2.0)
    users, slates = np.arange(60), np.tile(np.arange(240), (60, 1))
    affinity = people.affinity(users, 0)
    found = people.respond(users, 0, slates)
    expected = 30 * np.exp(2.0 * affinity / people.largest_affinity)
    ratio = (found.dwell_PS / expected)[found.clicks_PS]
    assert len(ratio) > 400
    assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / len(ratio) ** 0.5)
    assert np.isnan(found.dwell_PS[~found.clicks_PS]).all()
    assert affinity.max() <= people.largest_affinity


def test_the_production_policy_prefers_few_items() -> None:
    skewed, even = population(exposure_skew=1.5, exposure_taste=0.0), population(exposure_skew=0.0, exposure_taste=0.0)
    users = np.arange(60)
    shares = []
    for people in (skewed, even):
        shown = np.concatenate([people.production_slates(users, day).ravel() for day in range(5)])
        counts = np.sort(np.bincount(shown, minlength=240))
        shares.append(counts[-24:].sum() / counts.sum())
    assert shares[0] > 0.5
    assert shares[1] < 0.25


def test_first_slots_of_the_production_policy_follow_its_softmax() -> None:
    people = population(exposure_skew=1.0, exposure_taste=0.0)
    users, days = np.arange(60), 60
    first = np.concatenate([people.production_slates(users, day)[:, 0] for day in range(days)])
    weights = np.exp(people.exposure_N)
    best = np.argsort(-weights)[:3]
    expected = weights[best] / weights.sum()
    found = np.bincount(first, minlength=240)[best] / len(first)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(expected.max() / len(first)))


def test_slates_hold_retrieved_items_once_and_by_temperature() -> None:
    people = population()
    users = np.array([1, 2])
    items = np.array([[9, 3, 5, 7, 11, 200], [1, 2, 3, 4, 5, 6]])
    scores = np.array([[0.0, 9.0, 1.0, 8.0, 7.0, 6.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    np.testing.assert_array_equal(people.slates(users, 0, items, scores, 0.0), [[3, 7, 11, 200, 5], [1, 2, 3, 4, 5]])
    drawn = people.slates(users, 0, items, scores, 1.0)
    for row, allowed in zip(drawn, items, strict=True):
        assert len(set(row.tolist())) == 5
        assert set(row.tolist()) <= set(allowed.tolist())
    np.testing.assert_array_equal(drawn[[1]], people.slates(users[[1]], 0, items[[1]], scores[[1]], 1.0))


def test_too_few_retrieved_items_are_named() -> None:
    items = np.array([[9, 3, 5, 7, -1, -1]])
    with pytest.raises(ValueError, match="fewer than 5 items"):
        population().slates(np.array([1]), 0, items, np.zeros((1, 6)), 0.0)


def test_users_come_on_some_days() -> None:
    people = population()
    share = np.mean([len(people.users_of(day)) for day in range(30)]) / 60
    assert 0.45 < share < 0.75
    assert people.users_of(3).tolist() == sorted(set(people.users_of(3).tolist()))
    assert people.users_of(3).tolist() != people.users_of(4).tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": "best"}, "no simulated policy 'best': choose one of trained, random"),
        ({"days": 0}, "at least one user"),
        ({"slots": 60}, "60 slots cannot be filled from 20"),
        ({"slate_temperature": -1.0}, "negative"),
    ],
)
def test_settings_that_cannot_be_served_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(CONFIG, **changes)
