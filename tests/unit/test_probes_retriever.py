"""Which run retrieves for the probe of another: that of the row that is named, of the same seed, if it is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tastelab.config import RunConfig, replace_at
from tastelab.experiment import Experiment, Point, Variants
from tastelab.probes import RETRIEVER, Missing, _record, missing_probes, retrieved_by
from tastelab.results.record import Recorder
from tastelab.stage import Stage
from tastelab.training.job import Job

MakeJob = Callable[..., Job]
PROBE = {RETRIEVER: "Retrieval only"}
ROWS: dict[str, dict[str, Any]] = {"Ranking only": {}, "Retrieval only": {"objective.ranking_weight": 0.5}}
SEEDS = (0, 1)


@pytest.fixture
def stage(make_job: MakeJob) -> Stage:
    """A launch with two rows, whose runs of both seeds are finished; the retrieving one of seed 1 left no model."""
    template = make_job({"evaluation.retrieve": 20})
    data = template.open_data()
    experiment = Experiment("e", "?", template.config, "row", Variants(ROWS), probes={"two models": PROBE})
    kept = [template.at(config(template.config, row, seed), data.fingerprint) for row in ROWS for seed in SEEDS]
    for job in kept[:3]:
        job.folder.mkdir(parents=True)
        (job.folder / "impressions.npz").touch()
    origin = {"git": {}, "versions": {}, "hardware": {}}
    done = {job.run_id: {"run_id": job.run_id} for job in kept}
    fake = SimpleNamespace(
        experiment=experiment,
        template=template,
        data=data,
        store=SimpleNamespace(finished=done.get, load=lambda name: []),
        recorder=Recorder("e", "smoke", "row", {}, origin),
        options=SimpleNamespace(size="smoke"),
    )
    return cast(Stage, fake)


def config(base: RunConfig, row: str, seed: int) -> RunConfig:
    return dataclasses.replace(replace_at(base, ROWS[row]), seed=seed)


def points(stage: Stage) -> list[Point]:
    base = stage.template.config
    return [Point(config(base, row, seed), {"row": row}) for seed in SEEDS for row in ROWS]


def test_the_run_of_the_same_seed_retrieves(stage: Stage) -> None:
    all_points = points(stage)
    retriever = stage.template.at(all_points[1].config, stage.data.fingerprint)
    assert retrieved_by(stage, PROBE, all_points[0], all_points) == {RETRIEVER: retriever.run_id}
    assert retrieved_by(stage, PROBE, all_points[2], all_points) is None, "its model is not there"
    assert retrieved_by(stage, {"data.missing": 0.5}, all_points[2], all_points) == {"data.missing": 0.5}


def test_a_record_names_the_row_and_the_run(stage: Stage) -> None:
    """Seeds of a row are retrieved for by different runs, and are one configuration all the same."""
    missing = missing_probes(stage, points(stage))
    assert [(m.point.labels["row"], m.point.config.seed) for m in missing] == [
        ("Ranking only", 0),
        ("Retrieval only", 0),
    ]
    assert all(isinstance(m, Missing) and list(m.probes) == ["two models"] for m in missing)
    record = _record(stage, missing[0], "two models", "finished", {"metrics": {"auc": {"mean": 0.5}}}, 1.0)
    retriever = stage.template.at(points(stage)[1].config, stage.data.fingerprint)
    assert record["retriever"] == retriever.run_id == missing[0].probes["two models"].config.evaluation.retriever
    assert record["config"]["evaluation"]["retriever"] == "Retrieval only"
    assert record["of"] == missing[0].job.run_id
