"""The persistent study: how trials end in it, what a kill leaves behind, and what is suggested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from tastelab import presets
from tastelab.cluster.study import StudySearch, best_points, mend, num_finished, open_storage, open_study
from tastelab.cluster.trial import METRIC, TIME, point_of
from tastelab.config import RunConfig, run_id, value_at
from tastelab.experiment import Choice, Experiment, Float, Given, Point, Size

ROWS = ("full", "LoRA r=2", "LoRA r=4")
BASE = presets.bi_encoder()
EXPERIMENT = Experiment(
    name="ranks",
    question="Which rank?",
    base=BASE,
    group="model.adaptation",
    rows=Choice({"full": presets.full(), "LoRA r=2": presets.lora(2), "LoRA r=4": presets.lora(4)}),
    search={
        "optim.learning_rate": Given("model.adaptation", {"full": Float(1e-5, 1e-4)}, otherwise=Float(1e-3, 1e-2)),
        "objective.temperature": Float(0.02, 0.2, log=True),
        "model.pooling": Choice({"mean": presets.pooling("mean"), "mix": presets.pooling("mix")}),
    },
    sizes={"default": Size()},
)


def identify(point: Point) -> str:
    return run_id(point.config, "data", "encoder")


@dataclass
class Ledger:
    """What the records file is to the search: the last record of each run."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def write(self, status: str, point: Point, last: dict[str, Any]) -> dict[str, Any]:
        metrics = {"auc": {"mean": last[METRIC]}} if status == "finished" else {}
        record = {"run_id": identify(point), "status": status, "metrics": metrics, "error": last.get("error")}
        self.records[record["run_id"]] = record
        self.writes.append((record["run_id"], status))
        self.facts.append(last["trial"])
        return record


@dataclass
class Search:
    """A searcher with all that surrounds it."""

    storage: BaseStorage
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.study = open_study(self.storage, "ranks", EXPERIMENT)
        self.searcher = StudySearch(EXPERIMENT, BASE, self.study, self.storage, identify, self.ledger.write)

    def suggest(self, trial_id: str) -> Point:
        return point_of(self.searcher.suggest(trial_id))

    def finish(self, trial_id: str, value: float) -> None:
        last = {METRIC: value, TIME: 4, "finished": True, "done": True}
        self.searcher.on_trial_result(trial_id, last)
        self.searcher.on_trial_complete(trial_id, last)

    def prune(self, trial_id: str) -> None:
        last = {METRIC: float("nan"), TIME: 0, "pruned": True, "done": True}
        self.searcher.on_trial_result(trial_id, last)
        self.searcher.on_trial_complete(trial_id, last)

    def validate(self, trial_id: str, number: int, value: float) -> None:
        self.searcher.on_trial_result(trial_id, {METRIC: value, TIME: number, "step": 10 * number})

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.get_trials() if trial.state != TrialState.WAITING]

    def mend(self) -> None:
        mend(self.study, self.ledger.records.get)


@pytest.fixture(params=["memory", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    return InMemoryStorage() if request.param == "memory" else open_storage(tmp_path, "ranks")


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], Search]:
    """Open the same journal as another process would: what a restart sees."""
    ledger = Ledger()
    return lambda: Search(open_storage(tmp_path, "ranks"), ledger)


def test_the_first_trials_cover_every_row_within_its_own_range(storage: BaseStorage) -> None:
    search = Search(storage)
    points = [search.suggest(f"t{i}") for i in range(len(ROWS))]
    assert [point.labels["model.adaptation"] for point in points] == list(ROWS)
    rates = [point.config.optim.learning_rate for point in points]
    assert 1e-5 <= rates[0] <= 1e-4
    assert all(1e-3 <= rate <= 1e-2 for rate in rates[1:])


def test_a_suggestion_carries_its_run_id_and_labels_to_the_study(storage: BaseStorage) -> None:
    search = Search(storage)
    point = search.suggest("t0")
    stored = search.study.get_trials()[0]
    assert stored.user_attrs == {"run_id": identify(point), "labels": dict(point.labels)}
    assert stored.state == TrialState.RUNNING


def test_a_finished_trial_is_complete_with_the_value_of_its_record(storage: BaseStorage) -> None:
    search = Search(storage)
    search.suggest("t0")
    search.validate("t0", 1, 0.5)
    search.validate("t0", 2, 0.6)
    search.finish("t0", 0.61)
    trial = search.study.get_trials()[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.61)
    assert trial.intermediate_values == {1: 0.5, 2: 0.6}
    assert search.ledger.facts[0]["curve"] == [[10, 0.5], [20, 0.6]]
    assert set(search.ledger.facts[0]["params"]) == set(EXPERIMENT.space), "cases of a range share its path"


def test_a_trial_that_was_stopped_early_is_pruned_with_its_last_validation(storage: BaseStorage) -> None:
    search = Search(storage)
    search.suggest("t0")
    search.validate("t0", 1, 0.5)
    search.validate("t0", 2, 0.52)
    search.prune("t0")
    trial = search.study.get_trials()[0]
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.52)
    assert trial.intermediate_values == {1: 0.5, 2: 0.52}
    assert [status for _, status in search.ledger.writes] == ["pruned"]


def test_a_failed_trial_is_failed_with_its_reason_and_counts(storage: BaseStorage) -> None:
    search = Search(storage)
    search.suggest("t0")
    search.searcher.on_trial_result("t0", {METRIC: float("nan"), TIME: 0, "error": "NonFiniteLoss: The loss is nan."})
    search.searcher.on_trial_complete("t0", error=True)
    trial = search.study.get_trials()[0]
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"] == "NonFiniteLoss: The loss is nan."
    assert num_finished(search.study) == 1


def test_a_trial_that_was_only_interrupted_stays_open(storage: BaseStorage) -> None:
    search = Search(storage)
    search.suggest("t0")
    search.validate("t0", 1, 0.5)
    search.searcher.on_trial_complete("t0", {METRIC: 0.5, TIME: 1, "step": 10, "done": True})
    assert search.states() == [TrialState.RUNNING]
    assert search.ledger.writes == []
    assert num_finished(search.study) == 0


def test_num_finished_counts_trials_that_came_to_an_end_of_their_own(storage: BaseStorage) -> None:
    search = Search(storage)
    for i in range(4):
        search.suggest(f"t{i}")
    search.finish("t0", 0.6)
    search.prune("t1")
    search.searcher.on_trial_complete("t2", {"error": "ValueError: no"}, error=True)
    assert search.states() == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert num_finished(search.study) == 3


@pytest.mark.parametrize(
    ("status", "state", "value"),
    [
        ("finished", TrialState.COMPLETE, 0.7),
        ("pruned", TrialState.PRUNED, 0.5),
        ("failed", TrialState.FAIL, None),
    ],
)
def test_mend_closes_a_trial_whose_record_was_written_just_before_the_kill(
    reopen: Callable[[], Search], status: str, state: TrialState, value: float | None
) -> None:
    killed = reopen()
    point = killed.suggest("t0")
    killed.validate("t0", 1, 0.5)
    killed.ledger.write(status, point, {METRIC: 0.7, "error": "ValueError: no", "trial": {}})

    restarted = reopen()
    restarted.mend()
    trial = restarted.study.get_trials()[0]
    assert (trial.state, trial.value) == (state, value)
    assert num_finished(restarted.study) == 1, "it came to its end and must not be run again"
    assert restarted.suggest("t1").labels["model.adaptation"] == ROWS[1]


def test_mend_queues_a_trial_without_a_record_again_with_its_own_parameters(reopen: Callable[[], Search]) -> None:
    killed = reopen()
    killed.suggest("t0")
    killed.finish("t0", 0.6)
    orphan = killed.suggest("t1")
    last_row = killed.suggest("t2")
    killed.finish("t2", 0.55)

    restarted = reopen()
    restarted.mend()
    assert restarted.states() == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert num_finished(restarted.study) == 2
    again = restarted.suggest("t0")
    assert again == orphan, "the run id is the same, so its training goes on from the last checkpoint"
    restarted.finish("t0", 0.58)
    assert num_finished(restarted.study) == 3
    assert last_row.labels["model.adaptation"] == ROWS[2]


def test_mend_keeps_a_row_that_was_asked_for_but_not_drawn(reopen: Callable[[], Search]) -> None:
    reopen().study.ask()  # killed between the question and the draw: the study knows no parameters yet
    restarted = reopen()
    restarted.mend()
    rows = [restarted.suggest(f"t{i}").labels["model.adaptation"] for i in range(len(ROWS))]
    assert sorted(rows) == sorted(ROWS)


def test_mending_twice_changes_nothing(reopen: Callable[[], Search]) -> None:
    reopen().suggest("t0")
    first = reopen()
    first.mend()
    before = [(trial.state, trial.params) for trial in first.study.get_trials()]
    second = reopen()
    second.mend()
    assert [(trial.state, trial.params) for trial in second.study.get_trials()] == before


def test_a_kill_within_the_mending_neither_loses_nor_repeats_a_trial(
    reopen: Callable[[], Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = reopen().suggest("t0")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optuna.Study, "tell", interrupt)
        reopen().mend()
    restarted = reopen()
    restarted.mend()
    points = [restarted.suggest(f"t{i}") for i in range(4)]
    assert points.count(point) == 1


def test_a_kill_while_the_rows_are_queued_loses_no_row(
    reopen: Callable[[], Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue, queued = optuna.Study.enqueue_trial, []

    def one(study: optuna.Study, params: dict[str, Any], **rest: Any) -> None:
        interrupt() if queued else queued.append(params)
        enqueue(study, params, **rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optuna.Study, "enqueue_trial", one)
        reopen()
    restarted = reopen()
    rows = [restarted.suggest(f"t{i}").labels["model.adaptation"] for i in range(len(ROWS))]
    assert rows == list(ROWS)


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_best_points_prefers_complete_trials_and_leaves_out_rows_without_any(storage: BaseStorage) -> None:
    search = Search(storage)
    full, _, stopped = (search.suggest(f"t{i}") for i in range(3))
    search.finish("t0", 0.5)
    search.searcher.on_trial_complete("t1", {"error": "ValueError: no"}, error=True)
    search.validate("t2", 1, 0.9)
    search.prune("t2")
    search.study.enqueue_trial({"model.adaptation": "full"})
    search.suggest("t3")
    search.validate("t3", 1, 0.9)  # more than the complete trial's, after less training
    search.prune("t3")
    best = best_points(search.study, EXPERIMENT, BASE)
    assert best == {"full": full, "LoRA r=4": stopped}


def test_best_points_takes_the_highest_value_of_a_row(storage: BaseStorage) -> None:
    search = Search(storage)
    for _ in range(2):
        search.study.enqueue_trial({"model.adaptation": "LoRA r=2"})
    points = [search.suggest(f"t{i}") for i in range(5)]
    for i, value in enumerate((0.5, 0.6, 0.5, 0.7, 0.65)):
        search.finish(f"t{i}", value)
    assert best_points(search.study, EXPERIMENT, BASE)["LoRA r=2"] == points[3]


def suggestions(storage: BaseStorage, trials: int = 14) -> list[RunConfig]:
    """Answer each suggestion by a function of it, beyond the random start-up trials of TPE."""
    search = Search(storage)
    configs = []
    for i in range(trials):
        point = search.suggest(f"t{i}")
        configs.append(point.config)
        search.finish(f"t{i}", 1.0 - point.config.objective.temperature)
    return configs


def test_suggestions_are_a_function_of_the_seed_and_the_results(tmp_path: Path) -> None:
    first = suggestions(InMemoryStorage())
    assert suggestions(InMemoryStorage()) == first
    assert suggestions(open_storage(tmp_path, "ranks")) == first
    temperatures = [value_at(config, "objective.temperature") for config in first]
    assert len(set(temperatures)) == len(temperatures), "each trial is another configuration"


def test_a_restart_draws_other_points_than_before(reopen: Callable[[], Search]) -> None:
    before = reopen()
    first = [before.suggest(f"t{i}") for i in range(4)]
    for i in range(4):
        before.finish(f"t{i}", 0.5)
    after = reopen()
    second = [after.suggest(f"t{i}") for i in range(4)]
    assert not {identify(point) for point in first} & {identify(point) for point in second}


def test_studies_of_other_data_encoders_or_bases_are_other_studies() -> None:
    names = {
        EXPERIMENT.study_name(BASE, "default", ("d1", "e1")),
        EXPERIMENT.study_name(BASE, "default", ("d2", "e1")),
        EXPERIMENT.study_name(BASE, "default", ("d1", "e2")),
        EXPERIMENT.study_name(presets.bi_encoder(optim__epochs=2), "default", ("d1", "e1")),
        EXPERIMENT.study_name(BASE, "smoke", ("d1", "e1")),
    }
    assert len(names) == 5
    assert EXPERIMENT.study_name(BASE, "default", ("d1", "e1")) in names


def test_a_database_url_is_opened_as_a_database(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, "ranks", f"sqlite:///{tmp_path / 'study.db'}")
    search = Search(storage)
    search.suggest("t0")
    search.finish("t0", 0.6)
    assert optuna.load_study(study_name="ranks", storage=storage).trials[0].value == 0.6


def test_an_even_search_queues_every_row_equally_often_however_often_it_is_opened() -> None:
    even = dataclasses.replace(EXPERIMENT, even=True)
    storage = open_storage(Path(), even.name, "sqlite://")
    rows = list(even.rows.values)
    for _ in range(2):
        study = open_study(storage, "even", even, num_trials=2 * len(rows) + 1)
        waiting = [trial.system_attrs["fixed_params"][even.group] for trial in study.get_trials()]
        assert waiting == [*rows, *rows]
