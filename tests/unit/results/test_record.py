"""Records: what is written down of a run, of a baseline and of a comparison."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.config import METHOD_VERSION, Architecture, to_dict
from tastelab.experiment import Point
from tastelab.results.record import Recorder, encoder_of
from tastelab.results.store import RecordStore
from tastelab.training.job import Job

ORIGIN = {"git": {"commit": "c0ffee", "dirty": False}, "versions": {"python": "3"}, "hardware": {"cpus": 2}}
RESULT: dict[str, Any] = {
    "metrics": {"auc": {"mean": 0.6}},
    "counts": {"n_total": 40},
    "params_trained": 10,
    "params_total": 99,
    "workers": 3,
    "throughput": {"impressions_per_s": 12.5},
    "peak_memory_mb": 7.0,
    "latency_ms": {"warm_1": 1.5},
    "curves": {"val/auc": [[4], [0.6]]},
}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("main_table", "default", "row", {"name": "tiny", "fingerprint": "abc"}, ORIGIN)


@pytest.fixture
def words_job(make_job: Callable[..., Job]) -> Job:
    """A run of a model with words of its own."""
    job = make_job({"model.architecture": Architecture.named("nrms")})
    return dataclasses.replace(job, encoder_path="words")


def test_a_record_holds_all_that_a_run_returned(recorder: Recorder, make_job: Callable[..., Job]) -> None:
    job = make_job({"seed": 4}, keep=True)
    point = Point(job.config, {"row": "NRMS"})
    record = recorder.record("final", "finished", job, point, RESULT, 12.34567, trial={"number": 2})
    assert record.items() >= {name: value for name, value in RESULT.items() if name != "workers"}.items()
    assert record["hardware"] == {"cpus": 2, "workers": 3}
    assert (record["group"], record["label"], record["labels"]) == ("NRMS", "NRMS", {"row": "NRMS"})
    assert (record["experiment"], record["size"], record["role"], record["status"]) == (
        "main_table",
        "default",
        "final",
        "finished",
    )
    assert record["config"] == to_dict(job.config)
    assert (record["seed"], record["wall_time_s"], record["trial"]) == (4, 12.346, {"number": 2})
    assert record["encoder"] == {"name": "tiny-bert", "fingerprint": job.encoder_fingerprint}
    assert (record["method_version"], record["git"], record["versions"]) == (
        METHOD_VERSION,
        ORIGIN["git"],
        ORIGIN["versions"],
    )
    assert record["checkpoint"] == f"runs/{job.run_id}/checkpoint"
    assert record["values"] == f"runs/{job.run_id}/impressions.npz"
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(("keep", "status"), [(False, "finished"), (True, "failed")])
def test_a_place_is_named_only_where_something_is_kept(
    recorder: Recorder, make_job: Callable[..., Job], keep: bool, status: str
) -> None:
    job = make_job(keep=keep)
    record = recorder.record("final", status, job, Point(job.config, {"row": "x"}), {}, 1.0, error="/root/x broke")
    assert record["checkpoint"] is record["values"] is None
    assert (record["metrics"], record["latency_ms"], record["curves"]) == ({}, {}, {})
    assert record["hardware"]["workers"] == job.cluster.workers
    assert "/root" not in record["error"]


def test_a_model_of_words_has_no_encoder(recorder: Recorder, words_job: Job, make_job: Callable[..., Job]) -> None:
    record = recorder.record("final", "finished", words_job, Point(words_job.config, {"row": "NRMS"}), RESULT, 1.0)
    assert record["encoder"] is None
    assert encoder_of(words_job) is None
    assert encoder_of(make_job()) is not None


def test_a_comparison_is_stored_like_its_row(recorder: Recorder, make_job: Callable[..., Job], tmp_path: Path) -> None:
    job = make_job({"evaluation.split": "dev"})
    row = recorder.record("final", "finished", job, Point(job.config, {"row": "NRMS"}), RESULT, 1.0)
    found = {"metric": "auc", "against": "BCE", "runs": ["a"], "against_runs": ["b"], "p": 0.5, "seeds": [0]}
    record = recorder.comparison("d" * 12, "NRMS", row, found)
    assert (record["role"], record["status"], record["run_id"]) == ("comparison", "finished", "d" * 12)
    assert (record["group"], record["label"], record["size"]) == ("NRMS", "NRMS", "default")
    assert {key: record[key] for key in ("encoder", "split", "dialect", "data")} == {
        key: row[key] for key in ("encoder", "split", "dialect", "data")
    }
    assert record["comparison"] == found
    assert record["comparison"] is not found
    store = RecordStore(tmp_path)
    store.append(record)
    assert store.load() == [record | {"stale": False}]


def test_a_baseline_is_identified_by_what_it_reads(recorder: Recorder, make_job: Callable[..., Job]) -> None:
    job = make_job({"data.features": ("title", "abstract")})
    kept = {"metrics": RESULT["metrics"], "counts": RESULT["counts"], "wall_time_s": 0.5}
    text, popularity = (recorder.baseline(name, name.title(), "1" * 12, job, kept) for name in ("tfidf", "popularity"))
    assert (text["role"], text["group"], text["label"], text["encoder"]) == ("baseline", "tfidf", "Tfidf", None)
    assert (text["features"], popularity["features"]) == (["title", "abstract"], [])
    assert set(text["config"]) == {"baseline", "data", "evaluation"}
    assert (text["params_trained"], text["seed"]) == (0, 0)
