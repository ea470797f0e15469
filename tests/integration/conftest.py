"""One small Ray for all tests of this folder, and a look at what runs leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tastelab.cluster.settings import prepare_environment

prepare_environment(local=True)  # here, since Ray reads some of it when it is first imported

Curve = list[tuple[int, float]]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """Ray on two CPUs of this machine, on its loopback."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def read_curve() -> Callable[[Path, str], Curve]:
    """Function that reads (step, value) pairs of a scalar from a folder of TensorBoard files, in order of writing."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(folder: Path, name: str) -> Curve:
        events = EventAccumulator(str(folder), purge_orphaned_data=False)  # type: ignore[no-untyped-call]
        events.Reload()  # type: ignore[no-untyped-call]
        return [(event.step, event.value) for event in events.Scalars(name)]  # type: ignore[no-untyped-call]

    return read
