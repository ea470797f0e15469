"""What a job is about: ranking, candidate generation, or a simulated feed."""

from __future__ import annotations

from typing import Any

from tastelab.training.job import Job
from tastelab.training.loop import Session
from tastelab.training.retrieve import retrieve
from tastelab.training.run import run
from tastelab.training.simulate import simulate


def carry_out(job: Job, session: Session) -> dict[str, Any]:
    """Train and measure what a job is about; every worker calls it, and rank 0's result is what is recorded."""
    retrieval = job.config.retrieval
    if retrieval is None:
        return run(job, session)
    return retrieve(job, session) if retrieval.simulation is None else simulate(job, session)
