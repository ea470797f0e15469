"""A trial on two Ray nodes, one of which is lost while it trains."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tastelab.cluster.trial import METRIC
from tastelab.cluster.tuner import Trials
from tastelab.experiment import Point
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EPOCHS, STEPS_PER_EPOCH = 20, 4
VALUES = {"optim.epochs": EPOCHS, "evaluation.validations": EPOCHS, "optim.learning_rate": 1e-4}
NODE = {"num_cpus": 2, "object_store_memory": 150 * 2**20}


@ray.remote
class Blocker:
    """Holds CPUs of a node, so that others go elsewhere."""

    def ready(self) -> bool:
        return True


@pytest.fixture
def head() -> Iterator[Cluster]:
    """A cluster of one node, which this process belongs to."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def blocker(head: Cluster) -> Any:
    """Holds so much of the first node that the driver of a trial fits there, but not its workers."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    blocker = Blocker.options(num_cpus=1.5, scheduling_strategy=here).remote()
    ray.get(blocker.ready.remote())
    return blocker


def await_until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cpus_in_use(node_id: str) -> float:
    total = ray._private.state.total_resources_per_node()[node_id]
    available = ray._private.state.available_resources_per_node()[node_id]
    return float(total["CPU"] - available.get("CPU", 0.0))


def actors(**of: str) -> list[dict[str, Any]]:
    """Living actors of a class, or on a node."""
    living = (actor for actor in ray._private.state.actors().values() if actor["State"] == "ALIVE")
    return [
        actor
        for actor in living
        if of.get("named", "") in actor["ActorClassName"] and of.get("node", "") in actor["Address"]["NodeID"]
    ]


def lose(cluster: Cluster, node: Any) -> None:
    """End a node and its workers at once; the workers would live on for seconds that may be enough for the run."""
    pids = [actor["Pid"] for actor in actors(node=node.node_id)]
    cluster.remove_node(node, allow_graceful=False)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_trial_goes_on_when_the_node_of_its_workers_is_lost(
    head: Cluster,
    blocker: Any,
    make_job: Callable[..., Job],
    read_curve: Callable[[Path, str], list[tuple[int, float]]],
) -> None:
    job = make_job(VALUES, workers=2, cpus_per_worker=0.4)
    trials = Trials(job, job.open_data().fingerprint, 1, "two-nodes")
    ended: list[tuple[str, dict[str, Any]]] = []
    folders = job.cluster.home / "train" / job.run_id
    checkpoints: set[Path] = set()

    def two_checkpoints() -> bool:  # one that was reported just before the loss may be lost with it
        checkpoints.update(file.parent for file in folders.glob("checkpoint_*/model.safetensors"))
        return len(checkpoints) >= 2

    with ThreadPoolExecutor(1) as pool:  # nodes can be added in the main thread only
        point = Point(job.config, {"row": "only"})
        grid = pool.submit(trials.grid, [point], lambda status, _, last: ended.append((status, last)))
        await_until(lambda: len(actors(named="TrainController")) == 1)
        node = head.add_node(**NODE)
        await_until(lambda: grid.done() or two_checkpoints())
        used = cpus_in_use(node.node_id)
        ray.kill(blocker)
        lose(head, node)
        grid.result(timeout=200)

    assert used >= 0.8, "the workers were not on the node that was lost"
    assert [node["Alive"] for node in ray.nodes()].count(True) == 1
    assert [status for status, _ in ended] == ["finished"]
    local = LocalSession(make_job(VALUES))
    expected = run(local.job, local)
    curve = read_curve(job.folder / "tensorboard", "train/loss")
    # What the lost workers had not written yet is gone, so the curve of the first need not overlap the second's.
    files = sorted((job.folder / "tensorboard").glob("events*"), key=lambda file: file.stat().st_mtime)
    assert len(files) == 2, "each start of the run writes a file"
    again = [step for step, _ in read_curve(files[1], "train/loss")]
    assert again[0] > 1, "it went on from a checkpoint"
    assert again[0] % STEPS_PER_EPOCH == 1
    assert again == list(range(again[0], EPOCHS * STEPS_PER_EPOCH + 1))
    assert {step for step, _ in curve} == set(range(1, EPOCHS * STEPS_PER_EPOCH + 1))
    assert dict(curve) == pytest.approx({int(s["step"]): s["train/loss"] for s in local.logged}, rel=1e-3)
    assert ended[0][1][METRIC] == pytest.approx(expected["metrics"]["auc"]["mean"], abs=5e-3)
