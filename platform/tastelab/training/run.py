"""One run from configuration to result: build, train, evaluate, keep. Every worker calls it; Ray is not needed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tastelab.data.order import fitting_and_validation
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation.collectives import rank, world_size
from tastelab.evaluation.encode import encode_items
from tastelab.evaluation.evaluate import Evaluation, evaluate, items_of
from tastelab.evaluation.health import representation_health
from tastelab.evaluation.latency import latency
from tastelab.evaluation.pipeline import check_retrieve, pipeline
from tastelab.evaluation.slices import slices
from tastelab.evaluation.whitening import Whitening, fit_whitening
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, num_parameters, num_trainable
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.curves import Curves
from tastelab.training.job import Job
from tastelab.training.loop import Scalars, Session, train
from tastelab.training.module import TrainingModule

Ints = npt.NDArray[np.int64]

HEALTH_IMPRESSIONS = 64
"""Validation impressions whose candidates show the health of the representation: a fixed sample, the same all along."""


def run(job: Job, session: Session) -> dict[str, Any]:
    """Carry out a job.

    Returns:
        On rank 0 (and alike elsewhere): metrics, counts, parameters, curves and cost, as plain values; only `stopped`
        and the steps done where the run was asked to end early.
    """
    start = time.perf_counter()
    config, data, store = job.config, job.open_data(), open_store(job.store_path)
    reuse_mb = job.cluster.reuse_mb if config.optim.epochs else 0  # untrained, an item is encoded once or twice
    resources = Resources(job.encoder_path, job.cluster.token_budget, data.num_items, reuse_mb, data.has_feedback)
    ranker = build_ranker(config.model, resources, config.seed)
    if config.evaluation.retrieve is not None:
        check_retrieve(config.evaluation.retrieve, data, ranker)
    module = TrainingModule(ranker, config.objective, job.contrast_size).to(session.device)
    fitting, validation = fitting_and_validation(data, config.data)
    tools = Tools(job, ranker, data, store, session.device, fitting)
    curves, cost, last = Curves(), Scalars(), list[Evaluation]()
    sample = thin(validation, HEALTH_IMPRESSIONS)

    def validate() -> Scalars:
        rows = thin(validation, config.evaluation.max_impressions)
        last[:] = [tools.measure("train", rows)]
        scalars = {f"val/{name}": value["mean"] for name, value in last[0].metrics.items()} | tools.health(sample)
        return scalars | {"objective": scalars["val/auc"]}

    curves.add(0, tools.health(sample))
    if config.optim.epochs:
        save = partial(save_checkpoint, tokenizer=job.tokenizer)
        cost = train(module, session, config.optim, job.plan(len(fitting)), validate, job.about(), curves, save)
    if cost.get("stopped"):
        return {"stopped": True, "steps": int(cost["steps"]), "workers": world_size()}
    split, rows = job.evaluation_rows(data)
    seen = last[0] if last and config.evaluation.split == "validation" else None
    final = seen if seen is not None and len(seen.rows) == len(rows) else tools.measure(split, rows)
    final = tools.with_retrieval(final, split, rows)
    whitening = tools.whitening() if job.keep else None
    if job.keep and rank() == 0:
        _keep(job, module, final, int(cost.get("steps", 0)), whitening)
    seen_rows = fitting if config.optim.epochs else np.zeros(0, np.int64)
    rate = cost.get("perf/impressions_per_s_per_worker", 0.0) * world_size()
    return final.as_json() | {
        "params_trained": num_trainable(ranker) if config.optim.epochs else 0,
        "params_total": num_parameters(ranker),
        "throughput": {"impressions_per_s": rate} if rate else {},
        "train_time_s": time.perf_counter() - start,
        "peak_memory_mb": peak_memory_mb(session.device),
        "latency_ms": tools.latency(split, rows) if job.keep else {},
        "curves": curves.as_json(),
        "workers": world_size(),
        **({"slices": slices(data, split, final, seen_rows, config.data.max_history)} if job.keep else {}),
        **({} if ranker.gamma is None else {"gamma": ranker.gamma}),
    }


@dataclass(frozen=True)
class Tools:
    """What a run measures its model with."""

    job: Job
    ranker: Ranker
    data: PreparedData
    store: TokenStore
    device: torch.device
    fitting: Ints

    def measure(self, split: str, rows: Ints) -> Evaluation:
        """Evaluate the model as it stands on rows of a split; every rank calls it."""
        chosen, config = self.job.config.evaluation, self.job.config
        return evaluate(
            self.ranker,
            self.data,
            self.store,
            split,
            rows=rows,
            max_history=config.data.max_history,
            ks=chosen.ks,
            ties=chosen.ties,
            device=self.device,
            precision=config.optim.precision,
            whitening=self.whitening(),
        )

    def with_retrieval(self, final: Evaluation, split: str, rows: Ints) -> Evaluation:
        """Add what the model retrieves of the whole catalogue and then ranks, if asked for; every rank calls it."""
        config = self.job.config
        if config.evaluation.retrieve is None:
            return final
        retrieved = pipeline(
            self.ranker,
            self.data,
            self.store,
            split,
            config.evaluation.retrieve,
            rows=rows,
            max_history=config.data.max_history,
            device=self.device,
            precision=config.optim.precision,
            whitening=self.whitening(),
        )
        return final.joined(retrieved)

    def health(self, rows: Ints) -> Scalars:
        """Measure the representation of the candidates of some impressions (methods.md §5); every rank calls it."""
        return representation_health(
            self.ranker,
            self.data,
            self.store,
            rows,
            self.job.config.data.max_history,
            self.device,
            self.job.config.optim.precision,
        )

    def latency(self, split: str, rows: Ints) -> Scalars:
        """Measure what scoring an impression takes, on rank 0 while the others wait at the run's end."""
        if rank():
            return {}
        return latency(
            self.ranker,
            self.data,
            self.store,
            split,
            rows,
            self.job.config.data.max_history,
            self.device,
            self.job.config.optim.precision,
        )

    def whitening(self) -> Whitening | None:
        """Fit the whitening of the training items' vectors as they stand, if it is asked for; every rank calls it."""
        if not self.job.config.evaluation.whitening:
            return None
        items = items_of(self.data, "train", self.fitting, self.job.config.data.max_history)
        was_training = self.ranker.training
        self.ranker.eval()
        found = encode_items(self.ranker, self.store, items, self.device, self.job.config.optim.precision)
        self.ranker.train(was_training)
        assert found.vectors_UD is not None
        return fit_whitening(found.vectors_UD)


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


def _keep(job: Job, module: TrainingModule, final: Evaluation, step: int, whitening: Whitening | None) -> None:
    save_checkpoint(module, job.about(), step, None, job.folder / "checkpoint", job.tokenizer)
    if whitening is not None:
        whitening.save(job.folder / "checkpoint" / "whitening.safetensors")
    partial_file = job.folder / ".impressions.partial.npz"
    np.savez_compressed(partial_file, rows=final.rows, **final.values)  # type: ignore[arg-type]
    partial_file.rename(job.folder / "impressions.npz")
