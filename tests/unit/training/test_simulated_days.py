from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tastelab.config import SimulationConfig
from tastelab.data.population import Population, Response
from tastelab.data.population_log import PopulationLog
from tastelab.data.synthetic_world import Floats, Ints, World, WorldSize, WorldSpec
from tastelab.training.simulated_days import Diary, live, measure, recommend
from tastelab.training.simulated_policies import UNTRAINED, OraclePolicy, PopularityPolicy, RandomPolicy

SPEC = WorldSpec(WorldSize(num_items=240, num_users=80, num_train=100, num_dev=20))
CONFIG = SimulationConfig(users=80, slots=4, retrieved=12, warmup_days=3, days=4, appeal=0.5)


def population(**changes: object) -> Population:
    return Population(World(SPEC, 3), replace(CONFIG, **changes), seed=0)


class Scripted:
    """Prefers the items of the lowest rows, and notes what it was shown of the log."""

    greedy = True

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []

    def learn(self, log: PopulationLog, day: int) -> None:
        self.heard.append((day, int(log.shown_N.sum())))

    def scores(self, users_P: Ints, day: int) -> Floats:
        return np.tile(-np.arange(240.0), (len(users_P), 1))


def test_each_day_is_learned_from_before_the_next() -> None:
    people, policy = population(), Scripted()
    diary, log = live(people, policy)
    came = [4 * len(people.users_of(day)) for day in range(7)]
    assert policy.heard == [(day, sum(came[:day])) for day in range(3, 7)]
    assert diary.days == [1, 2, 3, 4]
    assert diary.counts() == {
        "n_users": len(set().union(*(people.users_of(day).tolist() for day in range(3, 7)))),
        "n_shown": sum(came[3:]),
        "n_clicks": sum(int(r.clicks_PS.sum()) for r in diary.responses),
        "n_days": 4,
    }
    assert log.shown_N.sum() == sum(came)
    assert diary.metrics()["diversity"]["mean"] == 4


def test_metrics_are_those_of_the_days_by_hand() -> None:
    diary = Diary(num_users=3, share_N=np.array([0.5, 0.25, 0.25, 0.0]))
    nan = np.nan

    def response(clicks: list[list[int]], dwell: list[list[float]]) -> Response:
        shape = np.array(clicks)
        return Response(shape.astype(bool), np.array(dwell, np.float32), shape, shape * 0.5)

    days = [
        (np.array([0, 2]), np.array([[0, 1], [0, 3]]), response([[1, 0], [1, 1]], [[10, nan], [20, 30]])),
        (np.array([0]), np.array([[0, 2]]), response([[0, 1]], [[nan, 60]])),
    ]
    for number, (users, slates, answer) in enumerate(days, start=1):
        diary.add(number, users, slates, answer, measure(answer, slates, diary.share_N) | {"regret": 0.1 * number})
    found = diary.metrics()
    assert found["ctr"]["mean"] == pytest.approx(4 / 6)
    assert found["dwell"]["mean"] == pytest.approx(120 / 4)
    assert found["diversity"]["mean"] == 4
    assert found["popularity"]["mean"] == pytest.approx((0.5 + 0.25 + 0.5 + 0 + 0.5 + 0.25) / 6)
    assert found["regret"]["mean"] == pytest.approx(0.15)
    assert [found[name]["n"] for name in ("ctr", "dwell", "diversity", "popularity")] == [2, 2, 2, 2]
    assert diary.curves()["sim/ctr"] == [[1, 2], [0.75, 0.5]]
    assert diary.curves()["sim/dwell"] == [[1, 2], [20.0, 60.0]]
    assert diary.curves()["sim/diversity"] == [[1, 2], [3.0, 2.0]]
    values = diary.user_values()
    assert values["rows"].tolist() == [0, 2]
    assert values["ctr"].mean() == pytest.approx(4 / 6)


def test_a_day_without_clicks_has_no_dwell_time() -> None:
    clicks = np.zeros((2, 2), bool)
    answer = Response(clicks, np.full((2, 2), np.nan, np.float32), clicks.astype(np.int64), clicks * 0.5)
    found = measure(answer, np.array([[0, 1], [0, 1]]), np.array([1.0, 0.0, 0.0]))
    assert found["ctr"] == 0
    assert np.isnan(found["dwell"])
    diary = Diary(2, np.array([1.0, 0.0, 0.0]))
    diary.add(1, np.array([0, 1]), np.array([[0, 1], [0, 1]]), answer, found | {"regret": 0.0})
    assert diary.curves()["sim/dwell"] == [[], []]
    assert diary.curves()["sim/ctr"] == [[1], [0.0]]
    assert np.isnan(diary.metrics()["dwell"]["mean"])


def test_the_oracle_has_no_regret_and_random_shows_most() -> None:
    found = {name: live(population(), make(population()))[0].metrics() for name, make in UNTRAINED.items()}
    assert found["oracle"]["regret"]["mean"] == pytest.approx(0, abs=1e-12)
    assert found["oracle"]["ctr"]["mean"] > 1.5 * found["popularity"]["ctr"]["mean"]
    assert found["popularity"]["ctr"]["mean"] > found["random"]["ctr"]["mean"]
    assert found["random"]["regret"]["mean"] > found["popularity"]["regret"]["mean"] > 0
    assert found["random"]["diversity"]["mean"] > found["oracle"]["diversity"]["mean"]
    assert found["popularity"]["diversity"]["mean"] <= 4 * 12
    assert found["popularity"]["popularity"]["mean"] == max(f["popularity"]["mean"] for f in found.values())


def test_regret_is_the_expected_click_rate_that_was_missed() -> None:
    people = population()
    diary, _ = live(people, Scripted())
    users = people.users_of(3)
    chances = people.click_probability(users, 3)
    missed = np.sort(chances, axis=1)[:, -4:].mean() - chances[:, :4].mean()
    assert diary.rows[0]["regret"] == pytest.approx(missed)


def test_the_same_seed_gives_the_same_days() -> None:
    first, second = (live(population(), RandomPolicy(population()))[0].curves() for _ in range(2))
    assert first == second


def test_seen_items_are_left_out_on_demand() -> None:
    people = population()
    _, log = live(people, OraclePolicy(people))
    users = people.users_of(7)
    seen = log.clicked_pairs(users)
    slates = recommend(people, OraclePolicy(people), log, users, 7, exclude_seen=True)
    assert not np.take_along_axis(seen, slates, axis=1).any()
    kept = recommend(people, OraclePolicy(people), log, users, 7, exclude_seen=False)
    assert np.take_along_axis(seen, kept, axis=1).any()


def test_the_popularity_policy_follows_the_log() -> None:
    people, policy = population(), PopularityPolicy(population())
    log = PopulationLog(80, 240)
    log.clicked_N[:] = np.arange(240)
    policy.learn(log, 3)
    scores = policy.scores(np.array([1, 2]), 3)
    assert scores.shape == (2, people.num_items)
    assert scores[0].argmax() == 239
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_simulation_ends_early_when_told_to() -> None:
    diary, _ = live(population(), Scripted(), after_day=lambda day, scalars: day == 2)
    assert diary.days == [1, 2]
