"""Paired comparisons: which rows are tested, on which values, and when a test is made again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tastelab import presets
from tastelab.compare import compare
from tastelab.config import ClusterConfig
from tastelab.data.tables import PreparedData
from tastelab.experiment import Experiment, Size, Variants, seeded
from tastelab.results.comparisons import with_comparisons
from tastelab.results.rows import Row, comparable, make_rows
from tastelab.results.statistics import paired_bootstrap, paired_permutation
from tastelab.results.store import Record
from tastelab.stage import Options, Stage, prepare

ROWS = {"first": {}, "second": {"optim.epochs": 2}, "third": {"optim.epochs": 3}}
EXPERIMENT = Experiment(
    name="pairs",
    question="Which?",
    base=presets.full_bi_encoder(optim__global_batch=16),
    group="row",
    rows=Variants(ROWS),
    sizes={name: Size({"data.max_tokens": 16}, seeds=(0, 1)) for name in ("default", "smoke")},
    baselines=(),
)
NUM = 60

Finish = Callable[..., str]


@pytest.fixture
def stage(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> Stage:
    places = ClusterConfig(home=tmp_path / "home", reports=tmp_path / "reports", cpus_per_worker=0.1)
    return prepare(EXPERIMENT, Options(data=str(tiny_data.path), encoder=str(tiny_bert), cluster=places))


@pytest.fixture
def finish(stage: Stage) -> Finish:
    """Function that records a finished run of a row and seed, with its values per impression in the home folder."""

    def add(label: str, seed: int, values: np.ndarray | None, **changes: Any) -> str:
        point = next(p for p in EXPERIMENT.grid(stage.base) if p.labels["row"] == label)
        job = stage.template.at(seeded([point], (seed,))[0].config, stage.data.fingerprint, keep=True)
        run_id = str(changes.pop("run_id", job.run_id))
        record = stage.recorder.record("final", "finished", dataclasses.replace(job, run_id=run_id), point, {}, 1.0)
        stage.store.append(record | {"metrics": {"auc": {"mean": 0.5}}} | changes)
        if values is not None:
            folder = stage.template.cluster.home / "runs" / run_id
            folder.mkdir(parents=True, exist_ok=True)
            order = np.random.default_rng(seed).permutation(len(values))  # values lie in any order
            np.savez(folder / "impressions.npz", rows=order, auc=values[order], mrr=np.zeros(len(values)))
        return run_id

    return add


def values(seed: int, shift: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(NUM) + shift
    return np.where(np.arange(NUM) % 7 == 0, np.nan, drawn)


def compared(stage: Stage) -> list[Record]:
    compare(stage)
    return [r for r in stage.store.load("pairs") if r["role"] == "comparison"]


def shown(stage: Stage, size: str = "default") -> dict[str, Row]:
    """Rows as a table shows them, by label."""
    records = comparable(stage.store.load("pairs"), size)[0]
    rows = make_rows(records, rows=[(label, label) for label in ROWS], baselines=False)
    return {row.group: row for row in with_comparisons(rows, records)}


def test_each_row_is_tested_against_the_first_over_impressions(stage: Stage, finish: Finish) -> None:
    sides: dict[str, list[np.ndarray]] = {"first": [], "second": []}
    ids: dict[str, list[str]] = {"first": [], "second": []}
    for seed in (1, 0):  # finished in another order than that of seeds
        for label, shift in (("first", 0.0), ("second", 0.05)):
            sides[label].insert(0, values(10 * seed + (label == "second"), shift))
            ids[label].insert(0, finish(label, seed, sides[label][0]))
    (record,) = compared(stage)
    second, first = (np.mean(sides[label], axis=0) for label in ("second", "first"))
    test, bounds = paired_permutation(second, first), paired_bootstrap(second, first)
    assert record["comparison"] == {
        "metric": "auc",
        "against": "first",
        "runs": ids["second"],
        "against_runs": ids["first"],
        "seeds": [0, 1],
        "difference": pytest.approx(np.nanmean(second) - np.nanmean(first)),
        "low": bounds.low,
        "high": bounds.high,
        "p": test.p,
        "n": int((~np.isnan(second)).sum()),
        "test": "paired permutation",
    }
    assert (record["group"], record["label"], record["size"], record["status"]) == (
        "second",
        "second",
        "default",
        "finished",
    )
    assert record["encoder"]["name"] == "tiny-bert"
    assert (record["split"], record["dialect"]) == ("validation", "expected")
    rows = shown(stage)
    assert (rows["second"].comparison or {})["run_id"] == record["run_id"]
    assert rows["first"].comparison is rows["third"].comparison is None


def test_a_test_is_made_once_and_again_when_a_row_shows_other_runs(stage: Stage, finish: Finish) -> None:
    for label in ("first", "second"):
        finish(label, 0, values(len(label)))
    (before,) = compared(stage)
    lines = (stage.store.folder / "pairs.jsonl").read_bytes()
    compare(stage)
    assert (stage.store.folder / "pairs.jsonl").read_bytes() == lines
    finish("second", 1, values(5))
    found = compared(stage)
    assert [len(r["comparison"]["runs"]) for r in found] == [1, 2]
    assert [len(r["comparison"]["against_runs"]) for r in found] == [1, 1]
    assert found[1]["comparison"]["seeds"] == [0], "only a seed that both rows have is compared"
    assert found[1]["comparison"]["difference"] == before["comparison"]["difference"]
    assert (shown(stage)["second"].comparison or {})["run_id"] == found[1]["run_id"]


def test_rows_without_a_common_seed_or_without_their_values_wait(stage: Stage, finish: Finish) -> None:
    finish("first", 0, values(0))
    finish("second", 1, values(1))
    finish("third", 0, None)
    assert compared(stage) == []
    finish("third", 0, values(2))
    assert [r["group"] for r in compared(stage)] == ["third"]


def test_nothing_is_tested_while_the_first_row_is_open_or_failed(stage: Stage, finish: Finish) -> None:
    finish("second", 0, values(0))
    finish("third", 0, values(1))
    assert compared(stage) == []
    finish("first", 0, values(2), status="failed")
    assert compared(stage) == []


def test_records_of_other_data_and_other_sizes_stay_out(stage: Stage, finish: Finish) -> None:
    elsewhere = {"name": "tiny", "fingerprint": "elsewhere"}
    finish("first", 0, values(0), data=elsewhere, run_id="a" * 12)
    finish("second", 0, values(1))
    assert compared(stage) == []
    finish("first", 0, values(0), size="smoke", run_id="b" * 12)
    assert compared(stage) == []
    run_id = finish("first", 0, values(0))
    for label in ("first", "second"):  # the last that was measured, but not what this launch is about
        finish(label, 0, values(3), data=elsewhere, run_id=label * 2)
    (record,) = compared(stage)
    assert record["data"] == {"name": "tiny", "fingerprint": stage.data.fingerprint}
    assert record["comparison"]["against_runs"] == [run_id]


def test_two_rows_of_one_run_differ_by_nothing(stage: Stage, finish: Finish) -> None:
    run_id = finish("first", 0, values(0))
    finish("second", 0, values(0), run_id=run_id)
    (record,) = compared(stage)
    assert record["comparison"]["runs"] == record["comparison"]["against_runs"] == [run_id]
    assert (record["comparison"]["difference"], record["comparison"]["p"]) == (0.0, 1.0)


def test_a_metric_without_a_value_for_each_is_not_tested(stage: Stage, finish: Finish) -> None:
    finish("first", 0, values(0))
    run_id = finish("second", 0, values(1))
    file = stage.template.cluster.home / "runs" / run_id / "impressions.npz"
    with np.load(file) as kept:
        np.savez(file, rows=kept["rows"], mrr=kept["mrr"])
    assert compared(stage) == []
