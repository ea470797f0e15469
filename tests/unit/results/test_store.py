from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tastelab.config import METHOD_VERSION
from tastelab.results.store import RecordStore, check_writable, distinct, lookup


def record(run_id: str = "a1", status: str = "finished", **changes: Any) -> dict[str, Any]:
    made = {"run_id": run_id, "experiment": "sweep", "role": "final", "status": status, "size": "default"}
    return made | {"method_version": METHOD_VERSION} | changes


def ids(store: RecordStore, experiment: str | None = None) -> list[str]:
    return [found["run_id"] for found in store.load(experiment)]


def test_a_record_comes_back_as_it_went_in(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    made = record(label="LoRA r=8 – “α”", metrics={"auc": {"mean": 0.1 + 0.2, "n": 3}}, seed=0, split=None)
    store.append(made)
    assert store.load() == [made | {"stale": False}]
    lines = (tmp_path / "runs" / "sweep.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [made]


def test_numpy_becomes_plain_and_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": np.inf, "e": np.array([1.0, np.nan])}
    store.append(record(metrics=values | {"f": (True, None)}))
    assert store.load()[0]["metrics"] == {"a": 0.5, "b": 3, "c": None, "d": None, "e": [1.0, None], "f": [True, None]}


def test_each_experiment_has_its_file_and_all_are_found_together(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1"))
    store.append(record("b1", experiment="losses"))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["losses.jsonl", "sweep.jsonl"]
    assert ids(store, "sweep") == ["a1"]
    assert ids(store, "none") == []
    assert sorted(ids(store)) == ["a1", "b1"]
    assert (store.finished("b1") or {})["experiment"] == "losses"


def test_the_last_line_of_a_run_counts_and_its_place_is_that_of_that_line(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for made in (record("a1", "failed"), record("b1"), record("a1", seed=4)):
        store.append(made)
    assert ids(store) == ["b1", "a1"]
    assert store.load()[1]["seed"] == 4


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_finished_run_is_never_displaced_by_an_unfinished_one(tmp_path: Path, status: str) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1", seed=1))
    store.append(record("a1", status, seed=2))
    assert [found["seed"] for found in store.load()] == [1]
    store.append(record("a1", seed=3))
    assert [found["seed"] for found in store.load()] == [3]


def test_a_run_may_stand_in_tables_of_two_sizes(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1", size="default"))
    store.append(record("a1", size="smoke"))
    assert [found["size"] for found in store.load()] == ["default", "smoke"]
    assert (store.finished("a1", size="smoke") or {})["size"] == "smoke"
    assert store.finished("a1", "sweep", "paper") is None
    assert store.finished("a1", "losses") is None


def test_finished_knows_neither_failed_nor_stale_nor_unknown_runs(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1", "failed"))
    store.append(record("b1", method_version=METHOD_VERSION - 1))
    assert [store.finished(run_id) for run_id in ("a1", "b1", "c1")] == [None, None, None]
    assert [found["stale"] for found in store.load()] == [False, True]


@pytest.mark.parametrize("cut", [2, 10, 60])
def test_a_torn_last_line_is_skipped_and_named_and_the_next_record_is_whole(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1"))
    store.append(record("b1"))
    path = tmp_path / "runs" / "sweep.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert ids(store) == ["a1"]
    assert "line 2 is cut off" in caplog.text
    store.append(record("c1"))
    assert ids(store) == ["a1", "c1"]
    assert len(path.read_bytes().splitlines()) == 3


def test_a_line_that_lacks_only_its_end_of_line_is_whole(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1"))
    path = tmp_path / "runs" / "sweep.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    store.append(record("b1"))
    assert ids(store) == ["a1", "b1"]


@pytest.mark.parametrize("line", [b"[1, 2]", b"\xff\xfe", b'{"run_id": "x"}'])
def test_a_damaged_line_between_others_is_skipped_and_named_once(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1"))
    path = tmp_path / "runs" / "sweep.jsonl"
    path.write_bytes(line + b"\n\n" + path.read_bytes())
    assert ids(store) == ids(store) == ["a1"]
    assert caplog.text.count("line 1 is damaged") == 1


def test_a_write_that_is_cut_short_raises_and_loses_nothing_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RecordStore(tmp_path)
    store.append(record("a1"))
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, line: real(file, line[:20]))
        with pytest.raises(OSError, match="No space is left"):
            store.append(record("b1"))
    store.append(record("c1"))
    assert ids(store) == ["a1", "c1"]


def _append_many(reports: Path, writer: int) -> None:
    for number in range(50):
        RecordStore(reports).append(record(f"{writer}-{number}", note="x" * 5_000))


def test_two_writers_at_once_never_mix_their_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(tmp_path, writer)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(ids(RecordStore(tmp_path))) == sorted(f"{w}-{n}" for w in range(2) for n in range(50))


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "/mnt/runs/a1/checkpoint"},
        {"error": "OSError: no space left: '/mnt/x.tmp'"},
        {"config": {"data": {"path": [str(Path.home() / "data")]}}},
        {"config": {str(Path.cwd()): 1}},
        {"hardware": {"node": "gondolin-7"}},
    ],
)
def test_a_record_that_names_the_machine_is_refused(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gondolin-7")
    with pytest.raises(ValueError, match="run a1 names this machine or a place on it"):
        RecordStore(tmp_path).append(record(**changes))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run_id": None}, "lacks run_id"),
        ({"method_version": None}, "lacks method_version"),
        ({"role": "finale"}, "role 'finale': use one of search, final, baseline"),
        ({"status": "done"}, "status 'done': use one of finished, pruned, failed"),
        ({"size": "huge"}, "size 'huge': use one of smoke, default, paper"),
        ({"experiment": "../sweep"}, "'../sweep' is no name for a file"),
        ({"config": {"home": Path("x")}}, "holds a PosixPath"),
    ],
)
def test_a_record_with_wrong_fields_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RecordStore(tmp_path).append(record(**changes))


def test_check_writable_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "reports")
    assert [path.name for path in (tmp_path / "new").rglob("*")] == ["reports", "runs"]


def test_check_writable_names_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"The reports folder .*reports cannot be written \(.+\): pass --reports"):
        check_writable(tmp_path / "file" / "reports")


def test_check_writable_names_records_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs" / "sweep.jsonl").mkdir(parents=True)
    with pytest.raises(ValueError, match="cannot be written"):
        check_writable(tmp_path)


def test_lookup_follows_dots_and_ends_in_none() -> None:
    made = {"a": {"b": {"c": 0}}, "d": None}
    assert [lookup(made, path) for path in ("a.b.c", "a.b", "a.x.c", "d.e", "a.b.c.d")] == [
        0,
        {"c": 0},
        None,
        None,
        None,
    ]


def test_distinct_keeps_order_and_joins_lists() -> None:
    made = [{"a": ["title", "body"]}, {"a": "x"}, {}, {"a": "x"}, {"a": ["title", "body"]}]
    assert distinct(made, "a") == ["title + body", "x"]
