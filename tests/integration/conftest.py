"""A small Ray for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tastelab.cluster.settings import prepare_environment

prepare_environment(local=True)  # here, since Ray reads some of it when it is first imported


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """Ray on two CPUs of this machine, on its loopback."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()
