"""One run on Ray Train: its workers, its data, its numbers, its errors, and its going on after a cut."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle

from tastelab.cluster import session
from tastelab.cluster.trainer import RunFailed, fit
from tastelab.data.tables import PreparedData
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import this file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.usefixtures("local_ray")]

MakeJob = Callable[..., Job]
ReadCurve = Callable[[Path, str], list[tuple[int, float]]]

STEPS = 8
CUT = 5
"""The step at which a run is cut; its checkpoints are those of steps 2, 4, 6 and 8."""


@pytest.fixture(scope="module")
def make(make_job: MakeJob) -> MakeJob:
    """Function that describes a run of two workers that fits beside Ray Data on two CPUs.

    Histories of one click: the mean of two that are both candidates is as near to the one as to the other, and the last
    bit of a sum, which the number of workers may change, would decide between them.
    """
    values = {"evaluation.validations": 4, "data.max_history": 1}
    return partial(make_job, values, workers=2, cpus_per_worker=0.4)


@pytest.fixture(scope="module")
def alone(make: MakeJob) -> tuple[LocalSession, dict[str, Any]]:
    """The same run in this process, without Ray."""
    session = LocalSession(make())
    return session, run(session.job, session)


def spied_work(job: Job) -> dict[str, Any]:
    """Work, and describe the shards that batches were drawn from."""
    shards: dict[str, dict[str, Any]] = {}
    get_shard = ray.train.get_dataset_shard

    def spy(name: str) -> Any:
        shard = get_shard(name)
        dataset = shard._base_dataset
        shards[name] = {
            "is iterator": isinstance(shard, ray.data.DataIterator),
            "files": sorted(dataset.input_files()),
            "read": dataset._logical_plan.dag.name,
        }
        return shard

    ray.train.get_dataset_shard = spy
    return session.work(job) | {"shards": shards}


@pytest.fixture(scope="module")
def on_two(make: MakeJob, local_ray: None) -> tuple[Job, dict[str, Any]]:
    """A run of two workers on Ray, and its result."""
    job = make(keep=True)
    return job, fit(job, work=spied_work)


def test_two_workers_train_from_shards_over_parquet(
    on_two: tuple[Job, dict[str, Any]], tiny_data: PreparedData
) -> None:
    _, result = on_two
    assert result["workers"] == 2
    files = sorted(str(file) for file in tiny_data.files("train"))
    assert len(files) > 1
    shard = {"is iterator": True, "files": files, "read": "ReadImpression"}
    assert result["shards"] == {"train-epoch-0": shard, "train-epoch-1": shard}


def test_two_workers_have_the_trajectory_of_one_without_ray(
    on_two: tuple[Job, dict[str, Any]], alone: tuple[LocalSession, dict[str, Any]], read_curve: ReadCurve
) -> None:
    job, result = on_two
    local, expected = alone
    for name in ("train/loss", "train/mince", "train/uniformity", "train/redundancy", "train/grad_norm"):
        curve = dict(read_curve(job.folder / "tensorboard", name))
        assert curve == pytest.approx({int(s["step"]): s[name] for s in local.logged}, rel=1e-4, abs=1e-4), name
        assert list(curve) == list(range(1, STEPS + 1))
    validations = dict(read_curve(job.folder / "tensorboard", "val/auc"))
    assert validations == pytest.approx({int(s["step"]): s["val/auc"] for s in local.reported}, abs=1e-4)
    assert same_metrics(result, expected)
    assert (job.folder / "checkpoint" / "model.safetensors").is_file()


def test_one_worker_on_ray_has_the_trajectory_of_two(
    make: MakeJob, alone: tuple[LocalSession, dict[str, Any]], read_curve: ReadCurve
) -> None:
    job = make(workers=1, cpus_per_worker=0.9)
    result = fit(job)
    local, expected = alone
    assert result["workers"] == 1
    curve = dict(read_curve(job.folder / "tensorboard", "train/loss"))
    assert curve == pytest.approx({int(s["step"]): s["train/loss"] for s in local.logged}, rel=1e-4)
    assert same_metrics(result, expected)


def test_a_loss_that_becomes_nan_fails_the_run_by_name(make_job: MakeJob) -> None:
    job = make_job({"optim.learning_rate": 1e30, "optim.epochs": 1}, workers=2, cpus_per_worker=0.4)
    with pytest.raises(
        RunFailed,
        match=r"^NonFiniteLoss: The (loss|gradient norm) is (nan|inf) at step \d: try a lower learning rate\.$",
    ):
        fit(job)


def cut_work(job: Job, marker: Path, die: bool) -> dict[str, Any]:
    """Work, but once, after step `CUT`: die on rank 1, or end with an error on all ranks."""
    log = session.RaySession.log

    def cut(self: session.RaySession, step: int, scalars: dict[str, float]) -> None:
        log(self, step, scalars)
        if step == CUT and not die:
            raise OSError("the disk is full")
        if step == CUT and not marker.exists() and self.context.get_world_rank() == 1:
            marker.touch()
            os._exit(1)

    session.RaySession.log = cut  # type: ignore[method-assign]
    return session.work(job)


def assert_went_on(
    job: Job, result: dict[str, Any], alone: tuple[LocalSession, dict[str, Any]], read_curve: ReadCurve
) -> None:
    """The second attempt began after the last checkpoint, at step 4, and came to the same end."""
    local, expected = alone
    curve = read_curve(job.folder / "tensorboard", "train/loss")
    second = curve[-(STEPS - CUT + 1) :]
    assert [step for step, _ in second] == list(range(CUT, STEPS + 1))
    assert [step for step, _ in curve[: -len(second)]].count(1) <= 1, "the run began anew"
    logged = {int(s["step"]): s["train/loss"] for s in local.logged}
    assert dict(second) == pytest.approx({step: logged[step] for step, _ in second}, rel=1e-4)
    assert same_metrics(result, expected)


def test_a_worker_that_dies_is_replaced_and_the_run_goes_on(
    make: MakeJob, alone: tuple[LocalSession, dict[str, Any]], read_curve: ReadCurve, tmp_path: Path
) -> None:
    job = make()
    result = fit(job, work=partial(cut_work, marker=tmp_path / "died", die=True))
    assert (tmp_path / "died").exists()
    assert_went_on(job, result, alone, read_curve)


def test_a_run_that_ended_with_an_error_goes_on_when_it_is_started_again(
    make: MakeJob, alone: tuple[LocalSession, dict[str, Any]], read_curve: ReadCurve, tmp_path: Path
) -> None:
    job = make()
    with pytest.raises(RunFailed, match="OSError: the disk is full"):
        fit(job, work=partial(cut_work, marker=tmp_path / "unused", die=False))
    assert_went_on(job, fit(job), alone, read_curve)


def same_metrics(result: dict[str, Any], expected: dict[str, Any]) -> bool:
    assert result["counts"] == expected["counts"]
    for name, value in expected["metrics"].items():
        assert result["metrics"][name] == pytest.approx(value, abs=1e-4), name
    return True
