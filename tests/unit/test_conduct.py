"""What a launch runs, and what it only enters: runs that another row or another experiment has finished."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tastelab import presets
from tastelab.cluster.probing import Probing, Write
from tastelab.conduct import Conductor, Interrupted
from tastelab.config import ClusterConfig
from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData
from tastelab.evaluation import baselines
from tastelab.experiment import Experiment, Point, Size, Variants
from tastelab.metrics import ranking
from tastelab.results.probe_matrix import probe_matrix
from tastelab.results.rows import Row, comparable, make_rows
from tastelab.results.store import Record
from tastelab.stage import Options, Stage, prepare

NEEDED = SimpleNamespace(cluster=ClusterConfig())
METRICS = {"metrics": {"auc": {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 40}}}


def experiment(name: str, rows: dict[str, dict[str, Any]], baselines: tuple[str, ...] = ()) -> Experiment:
    size = Size({"data.max_tokens": 16}, seeds=(0, 1))
    base = presets.full_bi_encoder(optim__global_batch=16)
    sizes = {"default": size, "smoke": size}
    return Experiment(name, "Which?", base, "row", Variants(rows), sizes=sizes, baselines=baselines)


ROWS = {"plain": {}, "long": {"optim.epochs": 2}}


class Runs:
    """Stands in place of the cluster: every run ends as it is told to, and is remembered."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.status = "finished"
        self.most: int | None = None

    def grid(self, points: Sequence[Point], write: Callable[[str, Point, dict[str, Any]], Any]) -> None:
        for point in points[: self.most]:
            self.done.append((point.labels["row"], point.config.seed))
            write(self.status, point, {"result": json.dumps(METRICS if self.status == "finished" else {})})


Launch = Callable[..., tuple[Stage, Runs]]


@pytest.fixture
def launch(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> Launch:
    """Function that carries out an experiment on a cluster that computes nothing."""
    places = ClusterConfig(home=tmp_path / "home", reports=tmp_path / "reports", cpus_per_worker=0.1)
    options = Options(data=str(tiny_data.path), encoder=str(tiny_bert), cluster=places)

    def carry_out(made: Experiment, runs: Runs | None = None, **changes: Any) -> tuple[Stage, Runs]:
        stage = prepare(made, dataclasses.replace(options, **changes))
        runs = runs or Runs()
        conductor = Conductor(stage, ExitStack())
        conductor.__dict__["trials"] = runs
        conductor.run()
        return stage, runs

    return carry_out


def rows_of(stage: Stage, size: str = "default") -> dict[str, Row]:
    """Rows as a table shows them."""
    return {row.group: row for row in make_rows(comparable(stage.store.load(stage.experiment.name), size)[0])}


def finals(stage: Stage) -> list[Record]:
    return [r for r in stage.store.load(stage.experiment.name) if r["role"] == "final"]


def test_what_is_recorded_is_not_run_again(launch: Launch) -> None:
    stage, first = launch(experiment("pair", ROWS))
    assert first.done == [("plain", 0), ("long", 0), ("plain", 1), ("long", 1)]
    before = stage.store.load()
    stage, second = launch(experiment("pair", ROWS))
    assert second.done == []
    assert stage.store.load() == before
    assert launch(experiment("pair", ROWS), seeds=3)[1].done == [("plain", 2), ("long", 2)]


def test_a_run_of_another_experiment_is_entered_under_this_rows_label(launch: Launch) -> None:
    theirs, _ = launch(experiment("losses", {"MINCE": {}}))
    stage, runs = launch(experiment("components", {"Bi-encoder MINCE": {}, "long": {"optim.epochs": 2}}))
    assert runs.done == [("long", 0), ("long", 1)]
    ours = rows_of(stage)["Bi-encoder MINCE"]
    assert [run["run_id"] for run in ours.runs] == [run["run_id"] for run in rows_of(theirs)["MINCE"].runs]
    for run in ours.runs:
        assert (run["experiment"], run["group"], run["label"], run["role"]) == (
            "components",
            "Bi-encoder MINCE",
            "Bi-encoder MINCE",
            "final",
        )
        assert run["metrics"] == METRICS["metrics"]
    assert [r["group"] for r in finals(theirs)] == ["MINCE", "MINCE"], "the other experiment's records stay"
    before = stage.store.load()
    launch(experiment("components", {"Bi-encoder MINCE": {}, "long": {"optim.epochs": 2}}))
    assert stage.store.load() == before, "it is entered once"


def test_a_run_of_another_size_is_entered_at_this_size(launch: Launch) -> None:
    launch(experiment("pair", ROWS))
    stage, runs = launch(experiment("pair", ROWS), size="smoke")
    assert runs.done == []
    assert all(len(rows_of(stage, size)[label].runs) == 2 for size in ("default", "smoke") for label in ROWS)


def test_one_run_stands_in_two_rows_of_an_experiment(launch: Launch) -> None:
    """Whether the second row is added later or both are new: the run is made once and both rows show it."""
    launch(experiment("later", {"plain": {}}))
    later, added = launch(experiment("later", {"plain": {}, "the same": {}}))
    at_once, both = launch(experiment("at_once", {"one": {"optim.epochs": 2}, "the same": {"optim.epochs": 2}}))
    assert added.done == []
    assert both.done == [("one", 0), ("one", 1)], "two at once would write into one folder"
    for stage, labels in ((later, ("plain", "the same")), (at_once, ("one", "the same"))):
        rows = rows_of(stage)
        ids = [[run["run_id"] for run in rows[label].runs] for label in labels]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 2
        before = stage.store.load()
        launch(stage.experiment)
        assert stage.store.load() == before


def test_a_row_goes_back_to_a_configuration_that_it_had_before(launch: Launch) -> None:
    old, _ = launch(experiment("pair", {"row": {}}))
    launch(experiment("pair", {"row": {"optim.epochs": 2}}))
    stage, runs = launch(experiment("pair", {"row": {}}))
    assert runs.done == []
    shown = rows_of(stage)["row"].runs
    assert [run["config"]["optim"]["epochs"] for run in shown] == [1, 1]
    assert {run["run_id"] for run in shown} == {r["run_id"] for r in finals(old) if r["config"]["optim"]["epochs"] == 1}


def test_a_failed_run_is_run_again(launch: Launch) -> None:
    failing = Runs()
    failing.status = "failed"
    stage, _ = launch(experiment("pair", {"row": {}}), failing)
    assert rows_of(stage)["row"].status == "failed"
    stage, runs = launch(experiment("pair", {"row": {}, "the same": {}}))
    assert runs.done == [("row", 0), ("row", 1)]
    assert [row.status for row in list(rows_of(stage).values())[:2]] == ["finished", "finished"]


def test_an_interrupt_leaves_runs_open_and_says_how_to_go_on(launch: Launch) -> None:
    cut = Runs()
    cut.most = 3
    with pytest.raises(Interrupted, match="Interrupted with 1 final runs open: the same command goes on from here"):
        launch(experiment("pair", ROWS), cut)
    assert launch(experiment("pair", ROWS))[1].done == [("long", 1)]


def test_the_frozen_baseline_is_one_wherever_its_run_came_from(launch: Launch) -> None:
    """A row may be the frozen encoder itself: as a baseline it stays a baseline, and the row a row."""
    frozen = {"model.adaptation": presets.frozen(), "optim.epochs": 0}
    stage, runs = launch(experiment("pair", {"the encoder": frozen}, ("frozen",)), seeds=1)
    assert runs.done == [("the encoder", 0)]
    other, more = launch(experiment("other", ROWS, ("frozen",)), seeds=1)
    assert more.done == [("plain", 0), ("long", 0)]
    third, last = launch(experiment("third", {"as it comes": frozen}), seeds=1)
    assert last.done == []
    for made, label in ((stage, "the encoder"), (third, "as it comes")):
        assert [row.baseline for row in make_rows(finals(made)) if row.group == label and row.runs] == [False]
    for made in (stage, other):
        (baseline,) = [row for row in rows_of(made).values() if row.group == "frozen"]
        assert baseline.baseline
        assert len(baseline.runs) == 1


def test_a_finished_trial_becomes_a_final_run_and_is_a_trial_no_more(launch: Launch) -> None:
    """As a trial it would bind the whole table to its study."""
    stage, _ = launch(experiment("sweep", {"row": {}}), seeds=1)
    (record,) = stage.store.load("sweep")
    stage.store.append(record | {"experiment": "search", "role": "search", "trial": {"study": "s", "number": 3}})
    (stage.store.folder / "sweep.jsonl").unlink()
    stage, runs = launch(experiment("sweep", {"row": {}}), seeds=1)
    assert runs.done == []
    (entered,) = stage.store.load("sweep")
    assert (entered["role"], "trial" in entered) == ("final", False)


def test_plain_baselines_are_scored_once_over_all_experiments(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []

    def score(stage: Stage, name: str, impressions: Any, *_: Any) -> dict[str, Any]:
        scored.append(name)
        return {**METRICS, "counts": {"n_total": len(impressions)}, "wall_time_s": 0.1, "slices": {}}

    monkeypatch.setattr("tastelab.conduct.score_baseline", score)
    for name in ("pair", "other", "pair"):
        stage, _ = launch(experiment(name, {"row": {}}, ("random", "popularity")), seeds=1)
        rows = rows_of(stage)
        assert [rows[baseline].status for baseline in ("random", "popularity")] == ["finished"] * 2
        assert [rows[baseline].baseline for baseline in ("random", "popularity")] == [True, True]
    assert scored == ["random", "popularity"]


def probed(probes: dict[str, dict[str, Any]]) -> Experiment:
    return dataclasses.replace(experiment("probed", ROWS), probes=probes)


@pytest.fixture
def models_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every final run leaves its values behind, as if it had been carried out."""

    def kept(self: Conductor, wanted: list[Point]) -> None:
        finals_of(self, wanted)
        for record in self.stage.store.load():
            folder = self.stage.template.cluster.home / "runs" / record["run_id"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "impressions.npz").touch()

    finals_of = Conductor.finals
    monkeypatch.setattr(Conductor, "finals", kept)
    monkeypatch.setattr(Runs, "template", NEEDED, raising=False)


@pytest.mark.usefixtures("models_kept")
def test_probes_of_finished_runs_are_made_once(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def measure(probings: Sequence[Probing], cpus: float, gpus: float, write: Write) -> dict[int, str]:
        for place, each in enumerate(probings):
            asked.append((each.job.run_id, tuple(other.config.data.features[0] for other in each.others)))
            for other in each.others:
                write(place, other, METRICS | {"slices": {}}, 1.0)
        return {}

    monkeypatch.setattr("tastelab.probes.measure", measure)
    one = {"titles": {"data.features": ("title",)}}
    stage, runs = launch(probed(one), seeds=1)
    assert runs.done == [("plain", 0), ("long", 0)]
    assert [features for _, features in asked] == [("title",), ("title",)]
    probes = [r for r in stage.store.load("probed") if r["role"] == "probe"]
    assert [(r["group"], r["probe"], r["probe_order"], r["features"]) for r in probes] == [
        ("plain", "titles", 0, ["title"]),
        ("long", "titles", 0, ["title"]),
    ]
    assert [r["of"] for r in probes] == [run_id for run_id, _ in asked]
    assert not {r["run_id"] for r in probes} & {r["of"] for r in probes}
    asked.clear()
    stage, runs = launch(probed({**one, "abstracts": {"data.features": ("abstract",)}}), seeds=1)
    assert runs.done == [], "a further column trains nothing"
    assert [features for _, features in asked] == [("abstract",), ("abstract",)]
    asked.clear()
    launch(probed(one), seeds=1)
    assert asked == []
    stage, runs = launch(probed(one), seeds=1, size="smoke")
    assert runs.done == [] and len(asked) == 2, "a table shows the probes of its own size"
    launch(probed({"only titles": one["titles"]}), seeds=1, size="smoke")
    assert len(asked) == 4, "a column of another name is filled"
    named = [r["probe"] for r in stage.store.load("probed") if r["role"] == "probe" and r["size"] == "smoke"]
    assert named == ["only titles", "only titles"]


def test_a_run_without_its_model_is_named_and_left(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    stage, _ = launch(probed({"titles": {"data.features": ("title",)}}), seeds=1)
    assert "of 'plain' is not probed: its model is not under" in capsys.readouterr().out
    assert not [r for r in stage.store.load("probed") if r["role"] == "probe"]


def test_baselines_are_measured_under_the_probes_that_they_know(launch: Launch) -> None:
    """Random reads nothing, so it is the same everywhere; TF-IDF reads other features and no shortened titles."""
    probes = {"abstracts": {"data.features": ("abstract",)}, "short": {"data.title_words": 1}}
    made = dataclasses.replace(probed(probes), baselines=("random", "tfidf"))
    stage, _ = launch(made, seeds=1)
    records = stage.store.load("probed")
    whole = {r["group"]: r for r in records if r["role"] == "baseline"}
    found = {(r["group"], r["probe"]): r for r in records if r["role"] == "probe"}
    assert set(found) == {("random", "abstracts"), ("random", "short"), ("tfidf", "abstracts")}
    assert {r["of"] for (group, _), r in found.items() if group == "tfidf"} == {whole["tfidf"]["run_id"]}
    for label in probes:
        assert found["random", label]["metrics"] == whole["random"]["metrics"]
    impressions = stage.data.impressions("dev")
    scores = baselines.score("tfidf", stage.data, impressions, features=("abstract",))
    labels, offsets = flat(impressions["labels"])
    expected = ranking.summary(ranking.per_impression(scores, labels, offsets, ks=(5, 10), ties="expected"))
    assert found["tfidf", "abstracts"]["metrics"] == expected != whole["tfidf"]["metrics"]
    slices = found["tfidf", "abstracts"]["slices"]
    assert sum(each["n"] for each in slices["users"]) == expected["auc"]["n"]
    matrix = probe_matrix(records, "default")
    assert [row.label for row in matrix.rows if row.baseline] == ["Random", "TF-IDF", "Frozen encoder"]
    assert matrix.value(matrix.rows[-2], matrix.columns[1], "auc") is None
    assert all(matrix.zero_shot(row, "auc") is None for row in matrix.rows)
    before = stage.store.load("probed")
    launch(made, seeds=1)
    assert stage.store.load("probed") == before


@pytest.mark.usefixtures("models_kept")
def test_a_probe_that_failed_is_recorded_with_its_reason_and_tried_again(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def measure(probings: Sequence[Probing], *_: Any) -> dict[int, str]:
        asked.append(len(probings))
        return dict.fromkeys(range(len(probings)), "out of memory")

    monkeypatch.setattr("tastelab.probes.measure", measure)
    stage, _ = launch(probed({"titles": {"data.features": ("title",)}}), seeds=1)
    failed = [r for r in stage.store.load("probed") if r["role"] == "probe"]
    assert {(r["status"], r["error"]) for r in failed} == {("failed", "out of memory")}
    assert "The probes of 'plain' failed: out of memory" in capsys.readouterr().out
    launch(probed({"titles": {"data.features": ("title",)}}), seeds=1)
    assert asked == [2, 2]
