"""One run on Ray Train: TorchDDP workers around `training.run`, restarted from the last checkpoint if one dies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.data
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from tastelab.cluster.session import shard_name, work
from tastelab.config import to_dict
from tastelab.training.job import Job

WORKER_DEATHS = 3
"""Restarts of a run whose workers die or raise what `work` does not expect; an error that it names is final."""


class RunFailed(RuntimeError):
    """A run ended with an error of its own, such as a loss that became NaN."""


class EveryWorkerItsOwn(DataConfig):
    """Gives each worker the pipeline of its own rows, in the exact order, instead of a split that drops remainders."""

    def __init__(self, job: Job) -> None:
        """Plan the data of a job."""
        super().__init__(datasets_to_split=[])
        self.job = job

    def configure(self, datasets: dict[str, Any], world_size: int, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """Build the iterators of all workers."""
        pipeline = self.job.pipeline()
        return [
            {
                shard_name(epoch): pipeline.dataset(epoch, self.job.share(world_size, rank)).iterator()
                for epoch in range(self.job.config.optim.epochs)
            }
            for rank in range(world_size)
        ]


def fit(job: Job, callbacks: list[Any] | None = None, work: Callable[[Job], dict[str, Any]] = work) -> dict[str, Any]:
    """Carry out a job on Ray Train and return rank 0's result; `work` is what each worker does.

    A run that was cut off goes on from its last checkpoint, since its name and storage are those of its run id.

    Raises:
        RunFailed: the run ended with an error of its own, named in the message.
    """
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = job.cluster.workers
    resources = {"CPU": job.cluster.cpus_per_worker or 1.0}
    if job.cluster.gpus_per_worker:
        resources["GPU"] = job.cluster.gpus_per_worker
    # Workers may only ask for names given here; what they get comes from `EveryWorkerItsOwn`.
    whole = job.pipeline().dataset(0, job.share(1, 0))
    names = {shard_name(epoch): whole for epoch in range(max(1, job.config.optim.epochs))}
    trainer = TorchTrainer(
        lambda config: work(job),
        train_loop_config=to_dict(job.config),  # what the dashboard shows of the run
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=job.cluster.gpus_per_worker > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=job.run_id,
            storage_path=str(storage(job)),
            failure_config=FailureConfig(max_failures=WORKER_DEATHS),
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="validation", checkpoint_score_order="max"
            ),
            callbacks=callbacks or [],
        ),
        datasets=names,
        dataset_config=EveryWorkerItsOwn(job),
    )
    result = trainer.fit().return_value
    if not isinstance(result, dict):
        raise RunFailed(f"Run {job.run_id} returned no result.")
    if "error" in result:
        raise RunFailed(str(result["error"]))
    return result


def storage(job: Job) -> Path:
    """Where Ray Train keeps the state and the checkpoints of unfinished runs."""
    return job.cluster.home.resolve() / "train"


def clean_up(job: Job) -> None:
    """Remove the resumable state of a run whose record is written."""
    shutil.rmtree(storage(job) / job.run_id, ignore_errors=True)
