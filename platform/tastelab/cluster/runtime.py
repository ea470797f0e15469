"""Ray itself: started on this machine, on loopback only, or joined where an address says it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tastelab.cluster.preflight import local_cpus
from tastelab.cluster.settings import environment, prepare_environment

OBJECT_STORE_BYTES = 512 * 2**20
"""Batches are small: this much holds all that a trial reads ahead."""


@dataclass(frozen=True)
class Resources:
    """What a cluster has."""

    cpus: float
    gpus: float
    dashboard: str | None


@contextmanager
def cluster(address: str | None, num_cpus: int | None = None) -> Iterator[Resources]:
    """Start Ray here (`address` None) or join a running cluster, and leave it at the end.

    Raises:
        ValueError: no cluster answers at `address`.
    """
    prepare_environment(local=address is None)
    import ray

    try:
        context = _start(num_cpus) if address is None else _join(address)
        found = ray.cluster_resources()
        yield Resources(found.get("CPU", 0.0), found.get("GPU", 0.0), context.dashboard_url)
    finally:
        ray.shutdown()


def _start(num_cpus: int | None) -> Any:
    import ray

    return ray.init(
        num_cpus=num_cpus or local_cpus(),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str) -> Any:
    import ray

    try:
        return ray.init(
            address=address,
            runtime_env={"env_vars": environment()},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"No Ray cluster answers at '{address}' ({error}): start one with "
            "`ray up cluster.yaml`, or leave --address out."
        ) from error


def await_gpus(found: Resources, num_workers: int, cpus: float, gpus: float, timeout_s: float = 900.0) -> Resources:
    """Ask an autoscaling cluster for the nodes of one trial and wait until their GPUs are there, or the time is up.

    A cluster that scales from zero shows only its head at first, on which no GPU trial fits.
    """
    if found.gpus >= num_workers * gpus:
        return found
    import ray
    from ray.autoscaler.sdk import request_resources

    print(f"Waiting up to {timeout_s / 60:.0f} min for {num_workers * gpus:g} GPUs, the cluster has {found.gpus:g}.")
    request_resources(bundles=[{"CPU": cpus, "GPU": gpus}] * num_workers)
    deadline = time.monotonic() + timeout_s
    while found.gpus < num_workers * gpus and time.monotonic() < deadline:
        time.sleep(min(5.0, timeout_s))
        total = ray.cluster_resources()
        found = Resources(total.get("CPU", 0.0), total.get("GPU", 0.0), found.dashboard)
    request_resources(bundles=[])  # a request that stands would keep idle nodes for good
    return found
