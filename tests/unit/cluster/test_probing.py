"""Tasks that measure trained models: results as they come, and what failed by its place; Ray itself is stood in for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from tastelab.cluster import probing
from tastelab.cluster.probing import Probing, measure


class Tasks:
    """Carries out each task when its result is asked for, the latest first."""

    def __init__(self) -> None:
        self.resources: dict[str, Any] = {}

    def remote(self, **resources: Any) -> Callable[..., Any]:
        self.resources = resources
        return lambda function: SimpleNamespace(remote=lambda each: partial(function, each))

    def wait(self, waiting: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return waiting[-num_returns:], waiting[:-num_returns]

    def get(self, task: Callable[[], Any]) -> Any:
        try:
            return task()
        except ray.exceptions.RayError:
            raise
        except Exception as error:
            raise ray.exceptions.RayTaskError("measure", "traceback", error) from None


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Tasks:
    """Stands in place of a cluster."""
    made = Tasks()
    for name in ("remote", "wait", "get"):
        monkeypatch.setattr(ray, name, getattr(made, name))
    return made


def probing_of(name: str, *others: str, gpus: float = 1.0) -> Probing:
    made: Any = SimpleNamespace(name=name, cluster=SimpleNamespace(gpus_per_worker=gpus))
    measured: Any = tuple(SimpleNamespace(name=other) for other in others)
    return Probing(made, measured)


def test_what_fails_takes_nothing_else_with_it(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(job: Any, others: Any, device: Any) -> Any:
        if job.name == "damaged":
            raise ValueError("the checkpoint does not fit")
        if job.name == "killed":
            raise ray.exceptions.OutOfMemoryError("the worker was killed")
        for other in others:
            yield other, {"of": job.name, "device": device.type}

    monkeypatch.setattr(probing, "probe", probe)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    written: list[tuple[int, str, dict[str, Any]]] = []
    all_of_them = [probing_of("damaged", "a"), probing_of("whole", "a", "b"), probing_of("killed", "a")]

    def write(place: int, job: Any, result: dict[str, Any], seconds: float) -> None:
        written.append((place, job.name, result))

    failed = measure(all_of_them, 0.5, 1.0, write)
    assert tasks.resources == {"num_cpus": 0.5, "num_gpus": 1.0, "max_retries": 1}
    found = {"of": "whole", "device": "cpu"}
    assert written == [(1, "a", found), (1, "b", found)]
    assert failed[0] == "the checkpoint does not fit"
    assert failed.keys() == {0, 2} and "the worker was killed" in failed[2]


def test_a_task_finds_its_own_gpu_whatever_the_driver_has(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(probing, "probe", lambda job, others, device: seen.append(device.type) or [])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    measure([probing_of("one")], 1.0, 0.5, lambda *_: None)
    measure([probing_of("two", gpus=0.0)], 1.0, 0.0, lambda *_: None)
    assert seen == ["cuda", "cpu"]
