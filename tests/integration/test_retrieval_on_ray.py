"""Candidate generation on Ray: clicks streamed by Ray Data to DDP workers, and an experiment from clicks to a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.cluster.trainer import fit
from tastelab.config import RetrievalConfig
from tastelab.data.tables import PreparedData
from tastelab.presets import retrieval as presets
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.retrieve import retrieve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
MakeJob = Callable[..., Job]
ReadCurve = Callable[[Path, str], list[tuple[int, float]]]
VALUES = {
    "retrieval": RetrievalConfig(ks=(5, 10), metric="hr@10"),
    "retrieval.items.width": 8,
    "optim.global_batch": 32,
    "optim.epochs": 2,
    "evaluation.split": "dev",
    **presets.multi_clrec(num_intents=3, queue=32, intent_queue=8),
}


@pytest.mark.usefixtures("local_ray")
def test_two_workers_on_ray_have_the_trajectory_of_one_without(make_job: MakeJob, read_curve: ReadCurve) -> None:
    job = make_job(VALUES, keep=True, workers=2, cpus_per_worker=0.4)
    result = fit(job)
    local = LocalSession(make_job(VALUES))
    expected = retrieve(local.job, local)
    for name in ("train/loss", "train/contrast", "train/grad_norm", "queue/staleness", "queue/filled"):
        curve = dict(read_curve(job.folder / "tensorboard", name))
        assert curve == pytest.approx({int(s["step"]): s[name] for s in local.logged}, rel=2e-3, abs=1e-4), name
    assert result["workers"] == 2
    assert result["counts"] == expected["counts"]
    assert result["metrics"]["hr@10"]["mean"] == pytest.approx(expected["metrics"]["hr@10"]["mean"], abs=0.03)
    assert (job.folder / "checkpoint" / "model.safetensors").is_file()


def test_an_experiment_goes_from_clicks_to_a_table(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    with tempfile.TemporaryDirectory(prefix="tl", dir="/tmp", ignore_cleanup_errors=True) as short:
        places = ["--home", str(tmp_path / "home"), "--reports", str(reports), "--data", str(tiny_data.path)]
        environment = os.environ | {"RAY_TMPDIR": short, "PYTHONPATH": str(HERE.parents[1] / "platform")}
        command = [sys.executable, str(HERE / "small_retrieval.py"), "--encoder", str(tiny_bert), *places]
        first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert first.returncode == 0, first.stdout + first.stderr
    records: list[dict[str, Any]] = [
        json.loads(line) for line in (reports / "runs" / "small_retrieval.jsonl").read_text().splitlines()
    ]
    roles = [record["role"] for record in records]
    assert roles.count("search") == 2
    assert roles.count("final") == 2
    assert {record["group"] for record in records if record["role"] == "baseline"} == {"random", "popularity", "frozen"}
    comparison = next(record for record in records if record["role"] == "comparison")
    assert comparison["comparison"]["metric"] == "hr@10"
    page = (reports / "tables" / "small_retrieval.md").read_text()
    assert "HR@10" in page
    assert "%" in page
    assert any((reports / "figures").glob("small_retrieval_degrees*.svg"))
