"""A session in this process, without Ray: for tests, benchmarks and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tastelab.data.order import epoch_windows
from tastelab.evaluation.collectives import rank, world_size
from tastelab.training.job import Job
from tastelab.training.loop import Scalars
from tastelab.training.sparse import ignore_tables
from tastelab.training.trainable import Trainable


class LocalSession:
    """Reads the same windows in the same order as the Ray pipeline, keeps what is logged and reported."""

    def __init__(self, job: Job, checkpoints: Path | None = None, resume: Path | None = None) -> None:
        """Run `job` here; checkpoints go to `checkpoints`, training goes on from `resume`."""
        self.job, self.checkpoints, self._resume = job, checkpoints, resume
        self.device = torch.device("cpu")
        self.logged: list[Scalars] = []
        self.reported: list[Scalars] = []

    def wrap(self, module: Trainable) -> nn.Module:
        """Wrap in DDP where a process group is up."""
        ignore_tables(module)
        return DistributedDataParallel(module) if world_size() > 1 else module

    def batches(self, epoch: int) -> Iterator[Any]:
        """Iterate over this worker's micro-batches of an epoch, in order."""
        pipeline, collate = self.job.pipeline(), self.job.collate(epoch)
        share = self.job.share(world_size(), rank())
        pending = None
        windows = epoch_windows(list(pipeline.groups), pipeline.seed, epoch)
        for window in windows:
            padding = pipeline.padding(share) if window is windows[-1] else 0
            for table in pipeline.sampled(window, epoch, share, padding):
                pending = table if pending is None else pa.concat_tables([pending, table])
                while len(pending) >= share.micro_batch:
                    yield collate(pending.slice(0, share.micro_batch))
                    pending = pending.slice(share.micro_batch)

    def resume_from(self) -> Path | None:
        """Folder of the checkpoint to go on from, if any."""
        return self._resume

    def asked_to_stop(self) -> bool:
        """Never: nobody watches."""
        return False

    def log(self, step: int, scalars: Scalars) -> None:
        """Keep the scalars of a step."""
        self.logged.append(scalars | {"step": float(step)})

    def report(self, step: int, scalars: Scalars, save: Callable[[Path], None]) -> None:
        """Keep a validation; save a checkpoint where a folder was given."""
        self.reported.append(scalars | {"step": float(step)})
        if self.checkpoints is not None and rank() == 0:
            save(self.checkpoints / f"step-{step}")
