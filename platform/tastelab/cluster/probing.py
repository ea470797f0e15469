"""Further evaluations of trained models as Ray tasks: a task a model, as many at once as the cluster has room for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from tastelab.training.job import Job
from tastelab.training.probe import probe

Write = Callable[[int, Job, dict[str, Any], float], None]


@dataclass(frozen=True)
class Probing:
    """A finished run, and the jobs that say how its model is measured again."""

    job: Job
    others: tuple[Job, ...]


def measure(probings: Sequence[Probing], cpus: float, gpus: float, write: Write) -> dict[int, str]:
    """Carry out all, in any order; return why the ones failed that did, by their place.

    Args:
        probings: models and how to measure them.
        cpus: CPUs of a task.
        gpus: GPUs of a task.
        write: called with place, job, result and seconds of each measurement, as its task ends.
    """
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=1)(_measure)
    waiting = {task.remote(each): place for place, each in enumerate(probings)}
    failed: dict[int, str] = {}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        place = waiting.pop(done)
        try:
            for job, result, seconds in ray.get(done):
                write(place, job, result, seconds)
        except ray.exceptions.RayError as error:  # the task's own, or a worker that was killed
            cause = getattr(error, "cause", None) or error
            failed[place] = str(cause).strip() or type(cause).__name__
    return failed


def _measure(probing: Probing) -> list[tuple[Job, dict[str, Any], float]]:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    device = torch.device("cuda" if probing.job.cluster.gpus_per_worker and torch.cuda.is_available() else "cpu")
    found, start = [], time.perf_counter()
    for job, result in probe(probing.job, probing.others, device):
        found.append((job, result, time.perf_counter() - start))
        start = time.perf_counter()
    return found
