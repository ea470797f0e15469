"""What `--dry-run` prints: the cells of the table, the arithmetic of the batch, the resources and the cost."""

from __future__ import annotations

from typing import Any

from tastelab.cluster.preflight import DRIVER_CPU, batch_per_worker, concurrency, local_cpus, worker_cpus
from tastelab.data.order import fitting_and_validation
from tastelab.stage import Stage


def describe(stage: Stage) -> str:
    """Describe what a launch would do, without Ray."""
    return "\n".join([*_cells(stage), "", *_batch(stage), "", *_resources(stage), "", *_cost(stage)])


def _cells(stage: Stage) -> list[str]:
    experiment, rows = stage.experiment, list(stage.experiment.rows.values)
    searched = f"{stage.num_trials} trials over {', '.join(experiment.space)}" if experiment.search else "no search"
    return [
        f"{experiment.name}, size {stage.options.size}: {experiment.question.strip().splitlines()[0]}",
        f"Data     {stage.data.name} ({stage.data.fingerprint}), reported on {stage.split}, "
        f"{stage.base.evaluation.ties} ties, features {'+'.join(stage.base.data.features)}",
        f"Encoder  {stage.base.model.encoder.name} ({stage.template.encoder_fingerprint})",
        f"Search   {searched}",
        f"Cells    {len(rows)} rows × {len(stage.seeds)} seeds = {len(rows) * len(stage.seeds)} final runs: "
        + ", ".join(rows),
        f"Baselines {', '.join(experiment.baselines)}",
    ]


def _batch(stage: Stage) -> list[str]:
    optim, places = stage.base.optim, stage.template.cluster
    micro = batch_per_worker(optim.global_batch, places.workers, places.accumulation)
    fitting, validation = fitting_and_validation(stage.data, stage.base.data)
    steps = -(-len(fitting) // optim.global_batch) * optim.epochs
    return [
        f"Batch    {optim.global_batch} impressions = {places.workers} workers × "
        f"{places.accumulation} micro-steps × {micro}",
        f"Steps    {len(fitting)} training impressions × {optim.epochs} epochs = {steps} steps; "
        f"{len(validation)} validation impressions, {stage.base.evaluation.validations} validations",
    ]


def _resources(stage: Stage) -> list[str]:
    chosen = stage.options.cluster
    if chosen.address:
        return [f"Cluster  {chosen.address}: its resources are read when it is joined"]
    cpus = float(local_cpus())
    share = worker_cpus(cpus, chosen.workers, chosen.cpus_per_worker)
    gpus = float(_num_gpus())
    at_once = concurrency(cpus, gpus, chosen.workers, share, chosen.gpus_per_worker)
    return [
        f"Cluster  this machine, {cpus:g} CPUs, {gpus:g} GPUs",
        f"Trial    {chosen.workers} workers × {share:g} CPU and {chosen.gpus_per_worker:g} GPU + {DRIVER_CPU:g} CPU "
        f"for its driver; 1 CPU stays for Ray Data; {at_once} at once",
    ]


def _cost(stage: Stage) -> list[str]:
    runs = stage.num_trials * bool(stage.experiment.search) + len(stage.experiment.rows.values) * len(stage.seeds)
    timed = [r for r in stage.store.load(stage.experiment.name) if _comparable(r, stage)]
    if not timed:
        return [f"Cost     {runs} runs; none of this size is recorded here yet, so their time is not known"]
    mean_s = sum(r["wall_time_s"] for r in timed) / len(timed)
    done = sum(1 for r in timed if r["status"] == "finished")
    minutes = runs * mean_s / 60
    return [f"Cost     {runs} runs × {mean_s:.0f} s ({len(timed)} recorded) = {minutes:.0f} min; {done} recorded"]


def _comparable(record: dict[str, Any], stage: Stage) -> bool:
    same = record["size"] == stage.options.size and record["data"]["fingerprint"] == stage.data.fingerprint
    return same and record["role"] != "baseline" and bool(record.get("wall_time_s"))


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()
