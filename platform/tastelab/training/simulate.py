"""A simulated online experiment: a population that is served day by day by a system that learns from its own log.

[B] measures CTR, dwell time and popularity on people; here the people are simulated, and every figure that comes of it
is one of a simulation (methods.md §6).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from tastelab.config import RetrievalConfig, SimulationConfig
from tastelab.data.population import Population, world_of
from tastelab.evaluation.collectives import any_rank, rank, world_size
from tastelab.modeling.ranker import num_parameters, num_trainable
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.job import Job
from tastelab.training.loop import Scalars, Session
from tastelab.training.run import peak_memory_mb
from tastelab.training.simulated_days import Diary, Policy, live
from tastelab.training.simulated_policies import UNTRAINED
from tastelab.training.simulated_system import TrainedSystem


def simulate(job: Job, session: Session) -> dict[str, Any]:
    """Carry out a job whose configuration has a simulation; every worker calls it.

    Every worker simulates the whole population, alike; training and serving are shared out. What is drawn depends on
    seeds alone, so a run that is cut off starts again and comes to the same.

    Returns:
        What `training.run.run` returns of a ranking job: `metrics` as `simulated_days.Diary.metrics` says, `curves`
        over days beside those over training steps; only `stopped` and the steps done where it was asked to end early.

    Raises:
        ValueError: the data are no synthetic world, or the population or the log does not suffice for the settings.
    """
    start = time.perf_counter()
    config, simulation = checked(job.config.retrieval)
    population = Population(world_of(job.open_data().meta), simulation, job.config.seed)
    trained = simulation.policy == "trained"
    system = TrainedSystem(job, session, population) if trained else None
    policy: Policy = system if system is not None else UNTRAINED[simulation.policy](population)
    stopped_after: list[int] = []

    def after_day(day: int, scalars: Scalars) -> bool:
        if system is not None:
            _report(job, session, system, day, scalars, simulation.days)
        if day < simulation.days and any_rank(session.asked_to_stop(), session.device):
            stopped_after.append(day)
        return bool(stopped_after)

    diary, _ = live(population, policy, config.exclude_seen, after_day)
    if stopped_after:
        return {"stopped": True, "steps": system.step if system else 0, "workers": world_size()}
    if job.keep and rank() == 0:
        _keep(job, system, diary)
    rate = system.clock.scalars()["perf/impressions_per_s_per_worker"] * world_size() if system else 0.0
    return {
        "metrics": diary.metrics(),
        "counts": diary.counts(),
        "params_trained": num_trainable(system.model) if system else 0,
        "params_total": num_parameters(system.model) if system else 0,
        "throughput": {"impressions_per_s": rate} if rate else {},
        "train_time_s": time.perf_counter() - start,
        "peak_memory_mb": peak_memory_mb(session.device),
        "latency_ms": {},
        "curves": {**(system.curves.as_json() if system else {}), **diary.curves()},
        "workers": world_size(),
    }


def checked(config: RetrievalConfig | None) -> tuple[RetrievalConfig, SimulationConfig]:
    """Return the parts of a configuration that a simulation reads.

    Raises:
        ValueError: it asks for what a simulation does not do.
    """
    assert config is not None and config.simulation is not None
    if config.targets != "each" or config.days != "all":
        raise ValueError(
            "A simulation learns from single clicks of all days: leave retrieval.targets at 'each' and retrieval.days "
            "at 'all'."
        )
    if config.metric not in METRICS:
        raise ValueError(f"A simulation does not measure '{config.metric}': set retrieval.metric to 'ctr'.")
    return config, config.simulation


METRICS = ("ctr", "dwell", "diversity")
"""What a search may look at in a simulation."""


def _keep(job: Job, system: TrainedSystem | None, diary: Diary) -> None:
    """Leave the towers as they stand after the last day, and the CTR of each user."""
    if system is not None and system.module is not None:
        save_checkpoint(system.module, job.about(), system.step, None, job.folder / "checkpoint")
    job.folder.mkdir(parents=True, exist_ok=True)
    partial_file = job.folder / ".impressions.partial.npz"
    np.savez_compressed(partial_file, **diary.user_values())  # type: ignore[arg-type]
    partial_file.rename(job.folder / "impressions.npz")


def _report(job: Job, session: Session, system: TrainedSystem, day: int, scalars: Scalars, days: int) -> None:
    """Report a day as a validation: as many as the configuration asks for, evenly spread, and the last day."""
    session.log(system.step, {f"sim/{name}": value for name, value in scalars.items()})
    validations = max(1, min(job.config.evaluation.validations, days))
    number = day * validations // days
    if number > (day - 1) * validations // days:
        assert job.config.retrieval is not None
        values = {f"val/{name}": value for name, value in scalars.items()}
        values |= {"objective": scalars[job.config.retrieval.metric], "validation": float(number)}
        assert system.module is not None
        save = partial(save_checkpoint, system.module, job.about(), system.step, None)
        session.report(system.step, values, save)
