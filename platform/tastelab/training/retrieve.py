"""A run of candidate generation from configuration to result: build, train, evaluate, keep (methods.md §6)."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tastelab.config import RetrievalConfig, RunConfig, headline, objective
from tastelab.data.clicks import fitting_and_validation_clicks, reported_clicks
from tastelab.data.exposure import exposure_report, has_exposure
from tastelab.data.negatives import Drawer
from tastelab.data.propensity import distribution
from tastelab.data.sequences import Sequences, prepare_sequences
from tastelab.data.tables import PreparedData
from tastelab.evaluation.collectives import rank, world_size
from tastelab.losses.contrast import ContrastiveLoss, Wants
from tastelab.modeling.candidates import CandidateModel, CandidateResources, build_candidate_model
from tastelab.modeling.ranker import num_parameters, num_trainable
from tastelab.retrieval.evaluate import evaluate_retrieval
from tastelab.retrieval.measure import RetrievalEvaluation
from tastelab.training.candidate_module import CandidateModule, Drawn
from tastelab.training.catalogue import known_items, load_catalogue
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.curves import Curves
from tastelab.training.job import Job
from tastelab.training.loop import Scalars, Session, train
from tastelab.training.run import peak_memory_mb, thin

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """What a retrieval run works on: its clicks, cut in what is fitted and what is looked at."""

    data: PreparedData
    sequences: Sequences
    fitting: Ints
    validation: Ints
    model: CandidateModel
    clicks_N: Ints
    """How often each item was clicked in the part that is fitted: what popularity is measured by."""


def settle(job: Job, device: torch.device) -> Setting:
    """Read the data of a job and build its towers; every worker calls it.

    Raises:
        ValueError: the data lack what the configuration asks for, or are too small for it.
    """
    config, data = job.config, job.open_data()
    assert config.retrieval is not None
    sequences = prepare_sequences(data)
    fitting, validation = fitting_and_validation_clicks(sequences, config.data, config.retrieval.days)
    check_sizes(config.retrieval, data.num_items, len(fitting) if config.optim.epochs else None)
    known_N = known_items(sequences, fitting, config.data.max_history, data.num_items)
    catalogue = load_catalogue(job, data, known_N, device)
    resources = CandidateResources(
        catalogue,
        job.encoder_path,
        job.cluster.token_budget,
        job.cluster.reuse_mb if config.optim.epochs else 0,
        sequences.has_times,
        sequences.has_dwell,
        config.data.max_history,
    )
    model = build_candidate_model(config.model, config.retrieval, resources, config.seed)
    # Counted of all clicks of the part that is fitted, whatever cap: popularity means the same in every row of a table.
    uncapped = dataclasses.replace(config.data, train_impressions=None)
    counted, _ = fitting_and_validation_clicks(sequences, uncapped, config.retrieval.days)
    clicks_N = np.bincount(np.asarray(sequences.items)[counted], minlength=data.num_items)
    return Setting(data, sequences, fitting, validation, model.to(device), clicks_N)


def check_sizes(config: RetrievalConfig, num_items: int, num_clicks: int | None) -> None:
    """Check what a configuration asks of the size of the data; without clicks, what is measured alone.

    Raises:
        ValueError: the data are too small or too large for it; the sentence says what to change.
    """
    assert isinstance(config.loss, ContrastiveLoss)
    if num_clicks is not None:
        config.loss.check(num_items, num_clicks)
    if (intents := getattr(config.user, "num_intents", 0)) > num_items:
        raise ValueError(f"There are {intents} intents and {num_items} items: choose at most as many intents as items.")
    if max(config.ks) > num_items:
        raise ValueError(f"HR@{max(config.ks)} is asked of {num_items} items: set retrieval.ks to at most {num_items}.")


def retrieve(job: Job, session: Session) -> dict[str, Any]:
    """Carry out a job of candidate generation; what it returns is what `training.run.run` returns of a ranking one."""
    start, config = time.perf_counter(), job.config
    assert config.retrieval is not None
    setting = settle(job, session.device)
    module = CandidateModule(setting.model, config.retrieval, drawn(setting, config)).to(session.device)
    curves, cost, name = Curves(), Scalars(), headline(config)

    def measure(rows: Ints) -> RetrievalEvaluation:
        total = max(1, setting.clicks_N.sum())
        return evaluate_retrieval(
            setting.model,
            setting.sequences,
            rows,
            config,
            setting.clicks_N / total,
            session.device,
            module.temperature().item(),
        )

    def validate() -> Scalars:
        found = measure(thin(setting.validation, config.evaluation.max_impressions)).metrics
        scalars = {f"val/{key}": value["mean"] for key, value in found.items()}
        return scalars | {"objective": objective(config, found[name]["mean"])}

    if config.optim.epochs:
        plan = job.plan(job.pipeline().num_rows)
        cost = train(module, session, config.optim, plan, validate, job.about(), curves)
    if cost.get("stopped"):
        return {"stopped": True, "steps": int(cost["steps"]), "workers": world_size()}
    final = measure(evaluated_rows(setting, config))
    if job.keep and rank() == 0:
        _keep(job, module, final, int(cost.get("steps", 0)))
    rate = cost.get("perf/impressions_per_s_per_worker", 0.0) * world_size()
    return {
        "metrics": final.metrics,
        "counts": final.counts,
        "degrees": final.degrees,
        **({"optimum": final.optimum} if final.optimum else {}),
        **(
            {"exposure": exposure_report(setting.data)}
            if job.keep and rank() == 0 and has_exposure(setting.data)
            else {}
        ),
        "params_trained": num_trainable(setting.model) if config.optim.epochs else 0,
        "params_total": num_parameters(setting.model),
        "throughput": {"impressions_per_s": rate} if rate else {},
        "train_time_s": time.perf_counter() - start,
        "peak_memory_mb": peak_memory_mb(session.device),
        "latency_ms": {},
        "curves": curves.as_json(),
        "workers": world_size(),
    }


def evaluated_rows(setting: Setting, config: RunConfig) -> Ints:
    """Return the clicks that the final evaluation looks for."""
    if config.evaluation.split == "validation":
        return setting.validation
    return reported_clicks(setting.sequences, config.evaluation.split)


def drawn(setting: Setting, config: RunConfig) -> Drawn:
    """Build the distributions over items that the loss of a configuration asks for."""
    assert config.retrieval is not None
    loss = config.retrieval.loss
    assert isinstance(loss, ContrastiveLoss)
    wants: Wants = loss.wants(setting.data.num_items)

    def drawer(kind: str, power: float) -> Drawer:
        return Drawer(distribution(setting.data, setting.sequences, kind, setting.fitting), power)

    return Drawn(
        drawer(wants.distribution, wants.power) if wants.sampled else None,
        drawer(wants.propensity, 1.0) if wants.propensity else None,
        config.seed,
    )


def _keep(job: Job, module: CandidateModule, final: RetrievalEvaluation, step: int) -> None:
    save_checkpoint(module, job.about(), step, None, job.folder / "checkpoint")
    partial_file = job.folder / ".impressions.partial.npz"
    np.savez_compressed(partial_file, rows=final.users, **final.values)  # type: ignore[arg-type]
    partial_file.rename(job.folder / "impressions.npz")
