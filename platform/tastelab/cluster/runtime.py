"""Ray itself: started on this machine, on loopback only, or joined where an address says it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tastelab.cluster.trainer import environment

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
    _settings(local=address is None)
    import ray

    try:
        context = _start(num_cpus) if address is None else _join(address)
        found = ray.cluster_resources()
        yield Resources(found.get("CPU", 0.0), found.get("GPU", 0.0), context.dashboard_url)
    finally:
        ray.shutdown()


def _settings(local: bool) -> None:
    """Set what Ray and its workers read from the environment when they start."""
    if local:
        # Ray binds to the machine's outward address unless this is set before its import.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")  # lists Train runs in the dashboard
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # records and TensorBoard files are our own
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output prints every trial whatever its verbosity
    # A trial that ASHA stops would otherwise train on, and hold its CPUs, for ten minutes (ray#54305).
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name in ("ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _start(num_cpus: int | None):  # type: ignore[no-untyped-def]
    import ray

    return ray.init(
        num_cpus=num_cpus or max(2, os.cpu_count() or 2),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str):  # type: ignore[no-untyped-def]
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
