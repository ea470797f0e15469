"""A whole sweep as a person starts it: killed in the middle, started again, and started once more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tastelab.cluster.study import num_finished, open_storage
from tastelab.data.tables import PreparedData
from tastelab.results.rows import BASELINES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

HERE = Path(__file__).parent
TRIALS = 4
MARK = "TASTELAB_TEST_MARK"


@dataclass
class Sweep:
    """A home, a reports folder, and processes that all carry one mark."""

    folder: Path
    arguments: list[str]
    short: Path
    """Holds the folders of Ray; sockets lie in them, and the path of a socket has at most 107 letters."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def records_file(self) -> Path:
        return self.reports / "runs" / "small_sweep.jsonl"

    def records(self) -> list[dict[str, Any]]:
        if not self.records_file.exists():
            return []
        return [json.loads(line) for line in self.records_file.read_bytes().split(b"\n")[:-1]]

    def start(self) -> subprocess.Popen[str]:
        self.ray = Path(tempfile.mkdtemp(prefix="tl", dir=self.short))
        environment = os.environ | {
            MARK: self.mark,
            "RAY_TMPDIR": str(self.ray),
            "PYTHONPATH": str(HERE.parents[1] / "platform"),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("RAY_ADDRESS", None)
        places = ["--home", str(self.home), "--reports", str(self.reports)]
        return subprocess.Popen(
            [sys.executable, str(HERE / "small_sweep.py"), *self.arguments, *places],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> str:
        process = self.start()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End the process, and what it started, without any warning."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        while pids := self.marked():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.poll()  # a process that is not waited for stays in the list
            time.sleep(0.1)
        process.communicate()

    def marked(self) -> list[int]:
        """Processes that inherited the mark and still run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return [pid for pid in found if pid != os.getpid()]


@pytest.fixture(scope="module")
def sweep(tiny_data: PreparedData, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    arguments = ["--data", str(tiny_data.path), "--encoder", str(tiny_bert)]
    with tempfile.TemporaryDirectory(prefix="tl", dir="/tmp", ignore_cleanup_errors=True) as short:
        sweep = Sweep(tmp_path_factory.mktemp("sweep"), arguments, Path(short))
        yield sweep
        for pid in sweep.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def before(sweep: Sweep) -> bytes:
    """The records that a sweep left that was killed after its first trial, within its second."""
    process = sweep.start()
    deadline = time.monotonic() + 200

    def under_way() -> bool:
        recorded = {record["run_id"] for record in sweep.records()}
        return bool(recorded) and any(
            run.name not in recorded for run in (sweep.home / "runs").glob("*/tensorboard/..")
        )

    try:
        while not under_way():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        sweep.kill(process)
    return sweep.records_file.read_bytes()


@pytest.fixture(scope="module")
def said(sweep: Sweep, before: bytes) -> str:
    """What the same command said when it was started again, until its end."""
    return sweep.finish()


def test_the_kill_fell_into_the_search(sweep: Sweep, before: bytes) -> None:
    statuses = [json.loads(line)["role"] for line in before.splitlines()]
    assert 1 <= len(statuses) < TRIALS
    assert set(statuses) == {"search"}


def test_what_was_finished_before_the_kill_is_kept_byte_for_byte(sweep: Sweep, before: bytes, said: str) -> None:
    assert sweep.records_file.read_bytes().startswith(before)
    assert len(sweep.records_file.read_bytes()) > len(before)


def test_no_run_is_recorded_twice(sweep: Sweep, said: str) -> None:
    runs = Counter(record["run_id"] for record in sweep.records())
    assert max(runs.values()) == 1, runs


def test_the_study_holds_the_trials_that_were_asked_for(sweep: Sweep, said: str) -> None:
    storage = open_storage(sweep.home, "small_sweep")
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert num_finished(study) == TRIALS
    assert not study.get_trials(states=(TrialState.RUNNING,))
    searched = [record for record in sweep.records() if record["role"] == "search"]
    assert len(searched) == TRIALS
    # A trial that the kill met before it had drawn its parameters has no run id, and no record.
    told = {trial.user_attrs.get("run_id"): trial for trial in study.trials if trial.state != TrialState.WAITING}
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    assert all(told[record["run_id"]].state == states[record["status"]] for record in searched)


def test_a_trial_that_cannot_be_trained_is_recorded_by_name_and_the_sweep_goes_on(sweep: Sweep, said: str) -> None:
    broken = [record for record in sweep.records() if record["group"] == "LoRA r=4"]
    assert broken
    assert {(record["role"], record["status"]) for record in broken} == {("search", "failed")}
    assert all(record["error"].startswith("NonFiniteLoss: The ") for record in broken)
    assert "No trial succeeded for LoRA r=4" in said
    assert "NonFiniteLoss" in (sweep.reports / "tables" / "small_sweep.md").read_text()


def test_every_row_is_trained_again_and_reported_once_on_dev(sweep: Sweep, said: str) -> None:
    finals = [record for record in sweep.records() if record["role"] == "final"]
    assert sorted(record["group"] for record in finals) == ["LoRA r=2", "full"]
    for record in finals:
        assert (record["split"], record["status"], record["hardware"]["workers"]) == ("dev", "finished", 2)
        assert (sweep.home / record["checkpoint"] / "model.safetensors").is_file()
    searched = [record for record in sweep.records() if record["role"] == "search"]
    assert {record["split"] for record in searched} == {"validation"}, "choosing must not see dev"
    baselines = {record["group"] for record in sweep.records() if record["role"] == "baseline"}
    assert {"random", "popularity", "tfidf", "frozen"} <= baselines


def test_every_model_is_measured_under_the_probe(sweep: Sweep, said: str) -> None:
    finals = {r["run_id"] for r in sweep.records() if r["role"] == "final" and r["status"] == "finished"}
    probes = [r for r in sweep.records() if r["role"] == "probe"]
    assert {r["of"] for r in probes if r["group"] not in BASELINES} == finals
    assert {"frozen", "random"} <= {r["group"] for r in probes}
    assert len({r["run_id"] for r in probes}) == len(probes)
    assert all(r["config"]["data"]["title_words"] == 1 and 0 < r["metrics"]["auc"]["mean"] < 1 for r in probes)


def test_table_sheet_figures_and_index_are_written(sweep: Sweep, said: str) -> None:
    page = (sweep.reports / "tables" / "small_sweep.md").read_text()
    finals = {record["group"]: record for record in sweep.records() if record["role"] == "final"}
    for label, record in finals.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {label} "))
        assert f"{record['metrics']['auc']['mean']:.4f}".lstrip("0") in row
    assert (sweep.reports / "tables" / "small_sweep.csv").read_text().count("\n") > len(finals)
    for figure in ("small_sweep", "small_sweep_search"):
        (file,) = (sweep.reports / "figures").glob(f"{figure}-*.svg")  # one, of the one size and data set
        assert file.read_text().rstrip().endswith("</svg>")
    assert "small_sweep" in (sweep.reports / "README.md").read_text()


def test_nothing_of_the_machine_is_in_the_reports(sweep: Sweep, said: str) -> None:
    written = [file.read_text() for file in sweep.reports.rglob("*") if file.is_file()]
    assert not [text for text in written if str(sweep.folder) in text]


def test_started_once_more_it_runs_nothing(sweep: Sweep, said: str, snapshot: Callable[[Path], Any]) -> None:
    files = snapshot(sweep.reports)
    again = sweep.finish()
    assert snapshot(sweep.reports) == files
    assert not list(sweep.ray.iterdir()), "Ray was started"
    assert "Table:" in again


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Function that reads a folder's files."""
    return lambda folder: {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
