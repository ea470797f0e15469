"""A trial on two Ray nodes, one of which is lost while it trains."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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


class Loss(threading.Thread):
    """Adds a node for the workers of a trial that waits for room, and takes it away once they have a checkpoint."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
        super().__init__(daemon=True)
        self.cluster, self.job = cluster, job
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.blocker = Blocker.options(num_cpus=1.5, scheduling_strategy=here).remote()
        ray.get(self.blocker.ready.remote())
        self.used_cpus = 0.0

    def run(self) -> None:
        node = self.cluster.add_node(**NODE)
        train = self.job.cluster.home / "train" / self.job.run_id
        while not any(train.glob("checkpoint_*/model.safetensors")):
            time.sleep(0.05)
        self.used_cpus = self._used(node.node_id)
        ray.kill(self.blocker)
        self.cluster.remove_node(node, allow_graceful=False)

    def _used(self, node_id: str) -> float:
        total = ray._private.state.total_resources_per_node()[node_id]
        available = ray._private.state.available_resources_per_node()[node_id]
        return float(total["CPU"] - available.get("CPU", 0.0))


def test_a_trial_goes_on_when_the_node_of_its_workers_is_lost(
    head: Cluster, make_job: Callable[..., Job], read_curve: Callable[[Path, str], list[tuple[int, float]]]
) -> None:
    job = make_job(VALUES, workers=2, cpus_per_worker=0.4)
    fingerprint = job.open_data().fingerprint
    ended: list[tuple[str, str, dict[str, Any]]] = []

    def write(status: str, point: Point, last: dict[str, Any]) -> None:
        ended.append((status, point.labels["row"], last))

    loss = Loss(head, job)
    loss.start()
    Trials(job, fingerprint, 1, "two-nodes").grid([Point(job.config, {"row": "only"})], write)
    loss.join(timeout=10)

    assert not loss.is_alive()
    assert loss.used_cpus >= 0.8, "the workers were on the node that was lost"
    assert len(ray.nodes()) == 2
    assert [node["Alive"] for node in ray.nodes()].count(True) == 1
    assert [(status, row) for status, row, _ in ended] == [("finished", "only")]
    local = LocalSession(make_job(VALUES))
    expected = run(local.job, local)
    curve = read_curve(job.folder / "tensorboard", "train/loss")
    steps = [step for step, _ in curve]
    restart = next(i for i in range(1, len(steps)) if steps[i] <= steps[i - 1])
    assert steps[restart] > 1, "it went on from a checkpoint"
    assert steps[restart] % STEPS_PER_EPOCH == 1
    assert steps[restart:] == list(range(steps[restart], EPOCHS * STEPS_PER_EPOCH + 1))
    assert dict(curve) == pytest.approx({int(s["step"]): s["train/loss"] for s in local.logged}, rel=1e-3)
    assert ended[0][2]["val/auc"] == pytest.approx(expected["metrics"]["auc"]["mean"], abs=5e-3)
