"""One run from configuration to result: build, train, evaluate, keep. Every worker calls it; Ray is not needed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tastelab.config import EvalConfig
from tastelab.data.order import fitting_and_validation
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation.collectives import rank, world_size
from tastelab.evaluation.evaluate import Evaluation, evaluate
from tastelab.modeling.ranker import build_ranker, num_parameters, num_trainable
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.job import Job
from tastelab.training.loop import Scalars, Session, train
from tastelab.training.module import TrainingModule


def run(job: Job, session: Session) -> dict[str, Any]:
    """Carry out a job.

    Returns:
        On rank 0 (and alike elsewhere): metrics, counts, parameters and cost, as plain values; only `stopped` and the
        steps done where the run was asked to end early.
    """
    start = time.perf_counter()
    config, data, store = job.config, job.open_data(), open_store(job.store_path)
    ranker = build_ranker(config.model, job.encoder_path, job.cluster.token_budget, config.seed)
    module = TrainingModule(ranker, config.objective, job.contrast_size).to(session.device)
    fitting, validation = fitting_and_validation(data, config.data)
    measure = partial(_measure, module, data, store, job, session)
    cost: Scalars = {}
    last: list[Evaluation] = []

    def validate() -> Scalars:
        rows = thin(validation, config.evaluation.max_impressions)
        last[:] = [measure("train", rows)]
        return {f"val/{name}": value["mean"] for name, value in last[0].metrics.items()}

    if config.optim.epochs:
        cost = train(module, session, config.optim, job.plan(len(fitting)), validate, job.about())
    if cost.get("stopped"):
        return {"stopped": True, "steps": int(cost["steps"]), "workers": world_size()}
    split, rows = job.evaluation_rows(data)
    seen = last[0] if last and config.evaluation.split == "validation" else None
    final = seen if seen is not None and len(seen.rows) == len(rows) else measure(split, rows)
    if job.keep and rank() == 0:
        _keep(job, module, final, int(cost.get("steps", 0)))
    rate = cost.get("perf/impressions_per_s_per_worker", 0.0) * world_size()
    return final.as_json() | {
        "params_trained": num_trainable(ranker) if config.optim.epochs else 0,
        "params_total": num_parameters(ranker),
        "throughput": {"impressions_per_s": rate} if rate else {},
        "train_time_s": time.perf_counter() - start,
        "peak_memory_mb": peak_memory_mb(session.device),
        "workers": world_size(),
    }


def thin(rows: Any, most: int | None) -> Any:
    """Take at most `most` rows, evenly spaced."""
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this worker: of the GPU where there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def _measure(
    module: TrainingModule, data: PreparedData, store: TokenStore, job: Job, session: Session, split: str, rows: Any
) -> Evaluation:
    chosen: EvalConfig = job.config.evaluation
    return evaluate(
        module.ranker,
        data,
        store,
        split,
        rows=rows,
        max_history=job.config.data.max_history,
        ks=chosen.ks,
        ties=chosen.ties,
        device=session.device,
        precision=job.config.optim.precision,
    )


def _keep(job: Job, module: TrainingModule, final: Evaluation, step: int) -> None:
    save_checkpoint(module, job.about(), step, None, job.folder / "checkpoint")
    partial_file = job.folder / ".impressions.partial.npz"
    np.savez_compressed(partial_file, rows=final.rows, **final.values)  # type: ignore[arg-type]
    partial_file.rename(job.folder / "impressions.npz")
