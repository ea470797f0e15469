"""Waiting for the GPUs of a cluster that scales from zero."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import ray.autoscaler.sdk

from tastelab.cluster.runtime import Resources, await_gpus


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
    """What was asked of the autoscaler; nodes with two GPUs appear at the second look."""
    requests: list[list[dict[str, float]]] = []
    looks = iter([{"CPU": 4.0}, {"CPU": 20.0, "GPU": 2.0}])
    monkeypatch.setattr(ray.autoscaler.sdk, "request_resources", lambda bundles: requests.append(bundles))
    monkeypatch.setattr(ray, "cluster_resources", lambda: next(looks))
    monkeypatch.setattr("time.sleep", lambda _: None)
    return requests


def test_a_cluster_that_scales_from_zero_is_asked_and_the_request_taken_back(asked: list[Any]) -> None:
    found = await_gpus(Resources(4.0, 0.0, None), num_workers=2, cpus=1.0, gpus=1.0)
    assert found == Resources(20.0, 2.0, None)
    assert asked == [[{"CPU": 1.0, "GPU": 1.0}] * 2, []]


def test_a_cluster_that_has_the_gpus_is_not_asked(asked: list[Any]) -> None:
    enough = Resources(20.0, 2.0, None)
    assert await_gpus(enough, num_workers=2, cpus=1.0, gpus=1.0) is enough
    assert asked == []
