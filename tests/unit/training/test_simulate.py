from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tastelab.config import CandidateLoss, ItemTowerConfig, RetrievalConfig, SimulationConfig, UserTower
from tastelab.data import synthetic
from tastelab.data.synthetic_world import WorldSize, WorldSpec
from tastelab.data.tables import PreparedData
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.simulate import simulate
from tastelab.training.simulated_system import logged

SIMULATION = SimulationConfig(users=60, slots=8, retrieved=20, warmup_days=4, days=3, exposure_taste=0.8)
RETRIEVAL = RetrievalConfig(
    items=ItemTowerConfig(width=16, text="none"),
    loss=CandidateLoss.named("clrec", queue=24),
    metric="ctr",
    simulation=SIMULATION,
)
Build = Callable[..., Job]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    size = WorldSize(num_items=240, num_users=80, num_train=60, num_dev=20)
    return synthetic.prepare(tmp_path_factory.mktemp("world") / "data", WorldSpec(size))


@pytest.fixture(scope="module")
def build(make_job: Callable[..., Job], world: PreparedData) -> Build:
    """Function that builds a small simulated job: `build(policy="oracle")`, fields of the job by dotted path first."""

    def make(
        values: dict[str, Any] | None = None, data: PreparedData = world, keep: bool = False, **simulation: Any
    ) -> Job:
        retrieval = replace(RETRIEVAL, simulation=replace(SIMULATION, **simulation))
        settings = {"retrieval": retrieval, "optim.global_batch": 16, "optim.epochs": 2, **(values or {})}
        return make_job(settings, keep=keep, data=data)

    return make


def simulated(job: Job) -> tuple[dict[str, Any], LocalSession]:
    session = LocalSession(job)
    return simulate(job, session), session


@pytest.mark.usefixtures("one_thread")
def test_a_trained_system_serves_learns_and_reports(build: Build) -> None:
    job = build(keep=True)
    found, session = simulated(job)
    assert set(found["metrics"]) == {"ctr", "dwell", "diversity", "popularity", "gini", "regret"}
    for name in ("ctr", "dwell", "diversity", "popularity"):
        value = found["metrics"][name]
        assert value["low"] <= value["mean"] <= value["high"]
        assert value["n"] > 20
    assert found["curves"]["sim/ctr"][0] == [1, 2, 3]
    assert len(found["curves"]["train/loss"][0]) > 3
    assert found["params_trained"] > 0
    assert found["counts"]["n_days"] == 3
    assert [report["validation"] for report in session.reported] == [1, 2]
    assert session.reported[-1]["objective"] == session.reported[-1]["val/ctr"]
    assert session.reported[-1]["val/ctr"] == pytest.approx(found["curves"]["sim/ctr"][1][-1], rel=1e-4)
    with np.load(job.folder / "impressions.npz") as kept:
        assert kept["ctr"].mean() == pytest.approx(found["metrics"]["ctr"]["mean"])
        assert len(kept["rows"]) == found["counts"]["n_users"]
    with safe_open(job.folder / "checkpoint" / "model.safetensors", "pt") as tensors:
        assert any("user_tower" in name for name in tensors.keys())  # noqa: SIM118
    again, _ = simulated(build())
    assert again["curves"] == found["curves"]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": CandidateLoss.named("sampled_softmax", negatives=20)},
        {"loss": CandidateLoss.named("sampled_softmax", negatives=20, correct=False, distribution="logged")},
        {"loss": CandidateLoss.named("negative_sampling", negatives=4, shared=False)},
        {"loss": CandidateLoss.named("clrec", queue=24, cached=True)},
        {"loss": CandidateLoss.named("ipw", propensity="logged")},
        {
            "loss": CandidateLoss.named("sampled_softmax", negatives=20),
            "user": UserTower.named("multi_interest", num_interests=2),
        },
        {
            "loss": CandidateLoss.named("multi_clrec", queue=24, intent_queue=8),
            "user": UserTower.named("multi_clrec", num_intents=3, hidden_width=8),
        },
        {"exclude_seen": True},
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_every_system_can_be_simulated(build: Build, changes: dict[str, Any]) -> None:
    short = replace(RETRIEVAL, simulation=replace(SIMULATION, days=2), **changes)
    found, _ = simulated(build({"retrieval": short, "optim.epochs": 1}))
    assert 0 < found["metrics"]["ctr"]["mean"] < 1
    assert np.isfinite(found["curves"]["train/loss"][1]).all()


@pytest.mark.usefixtures("one_thread")
def test_training_learns_what_users_like(build: Build) -> None:
    settings = {"optim.epochs": 10, "optim.learning_rate": 5e-3, "optim.global_batch": 32}
    trained, _ = simulated(build(settings, warmup_days=10, users=80))
    chance, _ = simulated(build(settings, warmup_days=10, users=80, policy="random"))
    best, _ = simulated(build(settings, warmup_days=10, users=80, policy="oracle"))
    ctr = [found["metrics"]["ctr"]["mean"] for found in (chance, trained, best)]
    assert 2 * ctr[0] < ctr[1] < ctr[2]


@pytest.mark.parametrize("policy", ["random", "popularity", "oracle"])
def test_policies_that_train_nothing_report_no_training(build: Build, policy: str) -> None:
    job = build(policy=policy, keep=True)
    found, session = simulated(job)
    assert (found["params_trained"], found["throughput"], session.reported) == (0, {}, [])
    assert (job.folder / "impressions.npz").is_file()


def test_a_run_ends_early_when_asked_to(build: Build) -> None:
    job = build({"optim.epochs": 1})
    session = LocalSession(job)
    session.asked_to_stop = lambda: True  # type: ignore[method-assign]
    found = simulate(job, session)
    assert found["stopped"]
    assert found["steps"] > 0
    assert len(session.reported) <= 1


@pytest.mark.slow
def test_two_workers_come_to_what_one_does(build: Build, tmp_path: Path) -> None:
    job = build({"optim.epochs": 1}, days=2)
    alone, _ = simulated(job)
    code = (
        "import pickle, sys, torch, torch.distributed as dist\n"
        "from tastelab.training.local import LocalSession\n"
        "from tastelab.training.simulate import simulate\n"
        "folder, rank = sys.argv[1], int(sys.argv[2])\n"
        "torch.set_num_threads(1)\n"
        "dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)\n"
        "job = pickle.load(open(f'{folder}/job', 'rb'))\n"
        "pickle.dump(simulate(job, LocalSession(job)), open(f'{folder}/{rank}', 'wb'))\n"
        "dist.destroy_process_group()\n"
    )
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    paths = {"PYTHONPATH": str(Path(__file__).parents[3] / "platform"), "GLOO_SOCKET_IFNAME": "lo"}
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(rank)], env=os.environ | paths)
        for rank in range(2)
    ]
    try:
        assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    first, second = (pickle.loads((tmp_path / str(rank)).read_bytes()) for rank in range(2))
    assert first["metrics"] == second["metrics"]
    assert first["workers"] == 2
    early = slice(0, 3)
    np.testing.assert_allclose(
        first["curves"]["train/loss"][1][early], alone["curves"]["train/loss"][1][early], rtol=1e-4
    )
    # Rounding may turn single draws of a slate, and so one click in the log of the next day.
    assert first["metrics"]["ctr"]["mean"] == pytest.approx(alone["metrics"]["ctr"]["mean"], abs=0.02)
    assert first["curves"]["sim/ctr"][1][0] == pytest.approx(alone["curves"]["sim/ctr"][1][0], abs=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": "window"}, "single clicks of all days"),
        ({"days": "weekdays"}, "single clicks of all days"),
        ({"metric": "hr@50"}, r"does not measure 'hr@50': set retrieval.metric to 'ctr'"),
        ({"loss": CandidateLoss.named("clrec", queue=100_000)}, "queue"),
    ],
)
def test_what_a_simulation_cannot_do_is_refused(build: Build, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulated(build({"retrieval": replace(RETRIEVAL, **changes)}))


def test_data_of_real_people_are_refused(build: Build, tiny_data: PreparedData) -> None:
    with pytest.raises(ValueError, match="no known preferences"):
        simulated(build(data=tiny_data))


def test_the_true_policy_is_no_distribution_that_a_log_knows() -> None:
    from tastelab.data.population_log import PopulationLog

    log = PopulationLog(2, 4)
    log.clicked_N[:] = [3, 1, 0, 0]
    log.shown_N[:] = [4, 4, 4, 4]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(logged(log, "clicks").log_p_N, np.log([0.75, 0.25, 0, 0]), rtol=1e-6)
    np.testing.assert_allclose(np.exp(logged(log, "logged").log_p_N), 0.25, rtol=1e-6)
    with pytest.raises(ValueError, match="no 'true' distribution"):
        logged(log, "true")
