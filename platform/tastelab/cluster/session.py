"""What a training worker is to Ray Train: its shard of the data, its reports, its device."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from tastelab.evaluation.collectives import gather_objects
from tastelab.training.carry_out import carry_out
from tastelab.training.job import Job
from tastelab.training.loop import Scalars
from tastelab.training.sparse import ignore_tables
from tastelab.training.trainable import Trainable

PREFETCH_BATCHES = 4


class RaySession:
    """Implements `training.loop.Session` on a Ray Train worker."""

    def __init__(self, job: Job) -> None:
        """Stand in a worker of `job`."""
        self.job = job
        self.context = ray.train.get_context()
        self.device = ray.train.torch.get_device()
        self.share = job.share(self.context.get_world_size(), self.context.get_world_rank())
        self._writer: SummaryWriter | None = None

    def wrap(self, module: Trainable) -> nn.Module:
        """Move the module to the device and wrap it in DDP where there is more than one worker."""
        ignore_tables(module)
        wrapped: nn.Module = ray.train.torch.prepare_model(module)
        return wrapped

    def batches(self, epoch: int) -> Iterator[Any]:
        """Iterate over this worker's micro-batches of an epoch, in order."""
        shard = ray.train.get_dataset_shard(shard_name(epoch))
        batches = shard.iter_torch_batches(
            batch_size=self.share.micro_batch,
            collate_fn=self.job.collate(epoch),
            prefetch_batches=PREFETCH_BATCHES,
        )
        return iter(batches)

    def resume_from(self) -> Path | None:
        """Folder of the checkpoint to go on from, if any."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        folder = checkpoint.to_directory()
        return Path(folder)

    def asked_to_stop(self) -> bool:
        """Look for the file by which the scheduler ends a poor trial."""
        return self.context.get_world_rank() == 0 and self.job.stop_file.exists()

    def log(self, step: int, scalars: Scalars) -> None:
        """Write scalars of a step to TensorBoard, on rank 0."""
        if self.context.get_world_rank() == 0:
            self._writer = self._writer or SummaryWriter(str(self.job.folder / "tensorboard"))
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)

    def report(self, step: int, scalars: Scalars, save: Callable[[Path], None]) -> None:
        """Report a validation with a checkpoint of rank 0; if it cannot be saved, every rank raises the same error."""
        metrics = scalars | {"step": step}
        self.log(step, {name: value for name, value in scalars.items() if name.startswith(("val/", "perf/"))})
        if self._writer is not None:
            self._writer.flush()  # it would keep two minutes to itself, and a kill would lose them
        with tempfile.TemporaryDirectory(dir=_scratch(self.job)) as folder:
            problem, checkpoint = None, None
            if self.context.get_world_rank() == 0:
                try:
                    save(Path(folder) / "checkpoint")
                    checkpoint = ray.train.Checkpoint.from_directory(str(Path(folder) / "checkpoint"))
                except OSError as error:
                    problem = str(error)
            # A rank that raised alone would leave the others waiting in the barrier below.
            if problems := [text for text in gather_objects(problem) if text]:
                raise OSError(problems[0])
            ray.train.report(metrics, checkpoint=checkpoint)


def shard_name(epoch: int) -> str:
    """Name of the dataset of one epoch: each has an order of its own, so each is a dataset of its own."""
    return f"train-epoch-{epoch}"


def work(job: Job) -> dict[str, Any]:
    """Carry out a job on a Ray Train worker; what a user can mend comes back as `{"error": …}`, not as a retry."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        return carry_out(job, RaySession(job))
    except (ArithmeticError, ValueError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _scratch(job: Job) -> Path:
    folder = job.cluster.home / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
