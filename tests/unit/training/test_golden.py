"""A loss trajectory kept in `tests/golden/trajectory.json`: a change of code that moves it is a change of results.

Two epochs of the tiny data on the tiny encoder, float32, one thread. Losses may differ by 1e-3, other machines adding
in another order; gradient norms by 1 %. After a change that is meant to move them: `python tests/golden/renew.py`,
which the change's description has to defend.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run

GOLDEN = Path(__file__).parents[2] / "golden" / "trajectory.json"
LOSSES = ("train/loss", "train/mince", "train/uniformity", "train/redundancy", "train/temperature")


@pytest.mark.usefixtures("one_thread")
def test_the_trajectory_is_the_golden_one(job: Job) -> None:
    session = LocalSession(job)
    run(job, session)
    if os.environ.get("TASTELAB_RENEW_GOLDEN"):
        steps = [{name: round(s[name], 6) for name in (*LOSSES, "train/grad_norm")} for s in session.logged]
        GOLDEN.write_text(json.dumps({"run_id": job.run_id, "steps": steps}, indent=2) + "\n")
        pytest.skip(f"{GOLDEN.name} was written anew")
    golden = json.loads(GOLDEN.read_text())["steps"]
    assert len(session.logged) == len(golden) == 8
    for ours, theirs in zip(session.logged, golden, strict=True):
        assert {name: ours[name] for name in LOSSES} == pytest.approx({n: theirs[n] for n in LOSSES}, abs=1e-3)
        assert ours["train/grad_norm"] == pytest.approx(theirs["train/grad_norm"], rel=1e-2)


def test_the_golden_run_is_this_run(make_job: Callable[..., Job]) -> None:
    """Configuration, data and encoder are those that the file was written for."""
    assert json.loads(GOLDEN.read_text())["run_id"] == make_job().run_id
