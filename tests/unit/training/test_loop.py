"""The training loop: it goes on where it was cut off, stops by name, and says what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tastelab.losses.ranking import MINCE
from tastelab.training import loop
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.loop import Clock, NonFiniteLoss, Plan
from tastelab.training.optim import schedule
from tastelab.training.run import run

MakeJob = Callable[..., Job]
EVERY_STEP = {"evaluation.validations": 8, "evaluation.max_impressions": 5}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_run(make_job: MakeJob, tmp_path: Path, accumulation: int) -> None:
    """To the last bit: losses, weights, moments; from within an epoch, from its end, and from the end of the run."""
    job = make_job(EVERY_STEP, accumulation=accumulation)
    whole = LocalSession(job, tmp_path / "whole")
    run(job, whole)
    assert [scalars["step"] for scalars in whole.logged] == list(range(1, 9))
    last = tmp_path / "whole" / "step-8"
    for start in (3, 4, 6):
        resumed = LocalSession(job, tmp_path / f"from-{start}", tmp_path / "whole" / f"step-{start}")
        run(job, resumed)
        assert resumed.logged == whole.logged[start:]
        for file in ("model.safetensors", "optimizer.safetensors"):
            ours, theirs = load_file(tmp_path / f"from-{start}" / "step-8" / file), load_file(last / file)
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours), (start, file)
    finished = LocalSession(job, resume=last)
    result = run(job, finished)
    assert finished.logged == []
    assert result["metrics"]["auc"]["mean"] == pytest.approx(whole.reported[-1]["val/auc"], abs=0.2)


def test_a_run_is_repeated_to_the_last_bit_and_another_seed_is_another_run(make_job: MakeJob) -> None:
    sessions = [LocalSession(make_job({"seed": seed, "optim.epochs": 1})) for seed in (0, 0, 1)]
    for session in sessions:
        run(session.job, session)
    assert sessions[0].logged == sessions[1].logged
    assert sessions[0].logged[0]["train/loss"] != sessions[2].logged[0]["train/loss"]


def test_a_rate_far_too_high_ends_by_name(make_job: MakeJob, tmp_path: Path) -> None:
    session = LocalSession(make_job({"optim.learning_rate": 1e38}), tmp_path)
    with pytest.raises(NonFiniteLoss, match=r"The loss is (nan|inf) at step [2-4]: try a lower learning rate\."):
        run(session.job, session)
    assert not session.reported


def test_a_loss_that_becomes_nan_is_logged_and_not_saved(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def spoiled(self: MINCE, scores_BC: torch.Tensor, *_: object) -> torch.Tensor:
        calls.append(1)
        return scores_BC.sum(dim=1) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(MINCE, "__call__", spoiled)
    session = LocalSession(make_job(EVERY_STEP), tmp_path)
    with pytest.raises(NonFiniteLoss, match="The loss is nan at step 3"):
        run(session.job, session)
    assert [scalars["step"] for scalars in session.logged] == [1, 2, 3]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-1", "step-2"]


def test_each_step_is_logged_with_its_rate_and_epoch(make_job: MakeJob) -> None:
    job = make_job({"optim.warmup_steps": 3})
    session = LocalSession(job)
    run(job, session)
    assert [s["train/learning_rate"] for s in session.logged] == [1e-3 * f for f in schedule(job.config.optim, 8)]
    assert [s["train/epoch"] for s in session.logged] == [0.0] * 4 + [1.0] * 4
    names = {"loss", "mince", "uniformity", "redundancy", "learning_rate", "epoch", "grad_norm", "temperature"}
    assert all(set(s) == {f"train/{name}" for name in names} | {"step"} for s in session.logged)
    for s in session.logged:
        whole = s["train/mince"] + 0.1 * s["train/uniformity"] + 0.1 * s["train/redundancy"]
        assert s["train/loss"] == pytest.approx(whole, abs=1e-6)


def test_the_gradient_norm_is_that_before_clipping(make_job: MakeJob) -> None:
    sessions = [LocalSession(make_job({"optim.clip_norm": norm, "optim.epochs": 1})) for norm in (1e-6, 1e6)]
    for session in sessions:
        run(session.job, session)
    tight, loose = ([s["train/grad_norm"] for s in session.logged] for session in sessions)
    assert tight[0] == loose[0] > 0.01
    assert tight[1] != loose[1], "clipping changed nothing"


def test_training_lowers_the_loss(make_job: MakeJob) -> None:
    session = LocalSession(make_job({"optim.epochs": 6, "optim.learning_rate": 3e-3}))
    run(session.job, session)
    losses = [s["train/mince"] for s in session.logged]
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4])


@pytest.mark.parametrize(
    ("total", "validations", "steps"),
    [(8, 4, [2, 4, 6, 8]), (10, 4, [3, 5, 8, 10]), (7, 1, [7]), (7, 0, [7]), (3, 5, [1, 2, 3])],
)
def test_validations_are_evenly_spaced_and_the_last_step_is_one(total: int, validations: int, steps: list[int]) -> None:
    plan = Plan(total, 1, 1, validations)
    assert [step for step in range(1, total + 1) if plan.validates(step)] == steps
    numbers = [plan.validation(step) for step in steps]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == max(1, validations)


def test_a_report_holds_the_validation_and_the_step(make_job: MakeJob) -> None:
    job = make_job({"evaluation.validations": 4})
    session = LocalSession(job)
    run(job, session)
    assert [(r["step"], r["validation"]) for r in session.reported] == [(2, 1), (4, 2), (6, 3), (8, 4)]
    for report, logged in zip(session.reported, session.logged[1::2], strict=True):
        assert {"val/auc", "val/mrr", "val/ndcg@5", "val/ndcg@10", "perf/impressions_per_s_per_worker"} <= set(report)
        assert report.items() >= logged.items()
    assert json.dumps(session.reported)


def test_the_clock_leaves_out_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 100.0, 104.0, 200.0, 206.0])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now))
    clock = Clock()
    assert clock.scalars() == {"perf/impressions_per_s_per_worker": 0.0}
    for _ in range(3):
        with clock.training(20):
            pass
    assert clock.scalars() == {"perf/impressions_per_s_per_worker": 4.0}
