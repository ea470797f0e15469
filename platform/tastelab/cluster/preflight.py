"""Arithmetic that must hold before any work starts: a cluster that is too small hangs without a message.

Ray Data runs its tasks on CPUs that nobody has reserved. When trials and their workers hold them all, the first
batch never comes, so one whole CPU is always left to Data.
"""

from __future__ import annotations

import math
import os

DATA_CPUS = 1.0
"""CPUs that stay unreserved for Ray Data."""
DRIVER_CPU = 0.01
"""What a trial's own process reserves: it only waits for its workers, but Tune refuses to schedule it for nothing."""
ROUNDING = 1e-9
"""Sums of shares like 0.01 + 2 · 0.4 must not lose a whole trial to the last bit of a float."""


def local_cpus() -> int:
    """Return the CPUs that Ray is started with on this machine: all, and 2 where there is one, since none would fit."""
    return max(2, os.cpu_count() or 2)


def concurrency(
    cluster_cpus: float,
    cluster_gpus: float,
    workers: int,
    cpus_per_worker: float,
    gpus_per_worker: float,
    driver_cpu: float = DRIVER_CPU,
) -> int:
    """Return how many trials fit on the cluster at once.

    The largest t with t · (driver_cpu + workers · cpus_per_worker) + 1 ≤ cluster_cpus and
    t · workers · gpus_per_worker ≤ cluster_gpus. Totals are counted, not single machines: a worker that no machine can
    hold is for Ray to report.

    Args:
        cluster_cpus: CPUs of all nodes, as Ray counts them.
        cluster_gpus: GPUs of all nodes.
        workers: Training processes of one trial.
        cpus_per_worker: CPUs that each of them reserves.
        gpus_per_worker: GPUs that each of them reserves.
        driver_cpu: CPUs that the trial's own process reserves.

    Raises:
        ValueError: Not even one trial fits; the sentence says what is there, what is needed and what to change.
    """
    _at_least_one("workers", workers)
    cpus = driver_cpu + workers * cpus_per_worker
    gpus = workers * gpus_per_worker
    if cpus + DATA_CPUS > cluster_cpus + ROUNDING:
        raise ValueError(
            f"One trial of {_count(workers, 'worker')} needs {cpus + DATA_CPUS:g} CPUs ({cpus_per_worker:g} per worker,"
            f" {driver_cpu:g} for its driver, {DATA_CPUS:g} for data) but the cluster has {cluster_cpus:g}: use fewer"
            " workers, give each a smaller share, or add CPUs."
        )
    if gpus > cluster_gpus + ROUNDING:
        raise ValueError(
            f"One trial of {_count(workers, 'worker')} needs {gpus:g} GPUs ({gpus_per_worker:g} per worker) but the"
            f" cluster has {cluster_gpus:g}: use fewer workers, set the GPUs per worker to 0, or add GPUs."
        )
    by_cpu = math.floor((cluster_cpus - DATA_CPUS) / cpus + ROUNDING)
    return min(by_cpu, math.floor(cluster_gpus / gpus + ROUNDING)) if gpus else by_cpu


def worker_cpus(cluster_cpus: float, workers: int, requested: float | None = None) -> float:
    """Return the CPUs that each worker of a trial reserves.

    What was requested is taken as it is. Otherwise a worker gets one CPU where there are enough, because more trials
    at once use a large cluster better than more threads a worker do, and on a small machine the share that lets one
    trial fit: what Data and the driver leave, divided among the workers and rounded down to a tenth (2 CPUs and
    2 workers give 0.4).

    Raises:
        ValueError: The request is not positive, or the machine is too small for so many workers.
    """
    _at_least_one("workers", workers)
    if requested is not None:
        if requested <= 0:
            raise ValueError(f"CPUs per worker must be above 0, not {requested:g}.")
        return requested
    free = cluster_cpus - DATA_CPUS - DRIVER_CPU
    share = math.floor(10 * free / workers + ROUNDING) / 10
    if share < 0.1:
        room = max(0, math.floor(10 * free + ROUNDING))
        change = f"use at most {_count(room, 'worker')} or add CPUs" if room else "use a machine with 2 CPUs or more"
        raise ValueError(
            f"{cluster_cpus:g} CPUs are too few for {_count(workers, 'worker')} beside the {DATA_CPUS:g} that reading"
            f" data needs: {change}."
        )
    return min(1.0, share)


def batch_per_worker(global_batch: int, workers: int, accumulation: int) -> int:
    """Return the impressions that one worker takes per micro-step: global_batch / (workers · accumulation).

    Raises:
        ValueError: The division leaves a remainder; the sentence names the nearest choices that leave none.
    """
    for name, value in (("global batch", global_batch), ("workers", workers), ("accumulation", accumulation)):
        _at_least_one(name, value)
    parts = workers * accumulation
    if global_batch % parts == 0:
        return global_batch // parts
    below = global_batch // parts * parts
    batches = f"{below} or {below + parts}" if below else f"{parts}"
    raise ValueError(
        f"A global batch of {global_batch} cannot be shared by {_count(workers, 'worker')} × accumulation"
        f" {accumulation}: use a global batch of {batches}, or let workers × accumulation be"
        f" {_nearest_divisors(global_batch, parts)}."
    )


def _nearest_divisors(number: int, target: int) -> str:
    """Name the divisors of `number` on either side of `target`, which is none of them."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    below = [d for d in divisors if d < target][-1:]
    above = [d for d in divisors if d > target][:1]
    return " or ".join(str(d) for d in below + above)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"The number of {name} must be at least 1, not {value}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
