"""What `--dry-run` prints: the cells of the table, the arithmetic of the batch, the resources and the cost.

Nothing is fetched for it: where data or encoder are not here yet, published sizes stand in and the plan says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tastelab.checks import check_configurations, check_on_encoders
from tastelab.cluster.preflight import DRIVER_CPU, batch_per_worker, concurrency, local_cpus, worker_cpus
from tastelab.config import RunConfig
from tastelab.cost import estimate, total_petaflops
from tastelab.data.catalog import PUBLISHED, PublishedSize, here
from tastelab.experiment import Experiment, Size
from tastelab.modeling.encoders import encoder_facts, encoder_fingerprint, encoder_is_here, find_encoder
from tastelab.results.store import RecordStore
from tastelab.stage import (
    Options,
    at_size,
    based,
    check_sizes_of_rows,
    chosen_seeds,
    encoder_paths,
    num_fitted,
    num_reported,
    num_trials,
    on_domains,
    reported_split,
)


@dataclass(frozen=True)
class Outlook:
    """What is known of a launch before it, without fetching anything."""

    experiment: Experiment
    options: Options
    size: Size
    base: RunConfig
    data: str
    """What is known of the data, in words."""
    encoder: str
    """What is known of the encoder, in words."""
    num_train: int
    """Training impressions before a cap."""
    num_validation: int
    num_reported: int
    split: str
    records: tuple[dict[str, Any], ...]
    """Runs of this size on these data that were recorded."""
    fitted: Mapping[str, int] = field(default_factory=dict)
    """Training impressions of each row after its cap and its domains; empty where the data are not here."""

    @property
    def trials(self) -> int:
        """Trials of the search."""
        return num_trials(self.options, self.size, self.experiment) if self.experiment.search else 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the final runs."""
        return chosen_seeds(self.options, self.size)


def look_ahead(experiment: Experiment, options: Options) -> Outlook:
    """Check a launch and gather what can be known of it here.

    Raises:
        ValueError: an option, path, name or size is wrong; one sentence says what to do.
    """
    size, experiment = at_size(experiment, options)
    source = find_encoder(options.encoder or size.encoder)
    named = options.data or size.dataset
    data = here(named, options.cluster.home)
    base = based(experiment, size, options, data.name if data else named, source.label)
    check_configurations(experiment, base, options.cluster)
    encoders = encoder_paths(experiment, base, source)
    known = {name: encoder_facts(path) for name, path in encoders.items() if encoder_is_here(path)}
    check_on_encoders(experiment, base, known)
    print_ = encoder_fingerprint(source.path) if source.label in known else "not here yet"
    encoder = f"{source.label} ({print_})"
    if data is None:
        facts = PUBLISHED.get(named, PublishedSize(0, 0))
        validation = round(facts.train * base.data.validation_share)
        words = f"{named} (not here yet, {'sizes as published' if named in PUBLISHED else 'its size is not known'})"
        return Outlook(
            experiment, options, size, base, words, encoder, facts.train - validation, validation, facts.dev, "dev", ()
        )
    experiment = on_domains(experiment, data)
    check_sizes_of_rows(experiment, base, data)
    fitting, validation = num_fitted(data, base)
    split, reported = reported_split(data), num_reported(data, base)
    store = RecordStore(options.cluster.reports)
    records = tuple(r for r in store.load(experiment.name) if _same(r, options.size, data.fingerprint))
    words = f"{data.name} ({data.fingerprint})"
    fitted = {point.labels[experiment.group]: num_fitted(data, point.config)[0] for point in experiment.grid(base)}
    return Outlook(
        experiment, options, size, base, words, encoder, fitting, validation, reported, split, records, fitted
    )


def describe(outlook: Outlook) -> str:
    """Describe what a launch would do, without Ray."""
    parts = (_cells(outlook), _batch(outlook), _resources(outlook), _cost(outlook))
    return "\n\n".join("\n".join(part) for part in parts)


def _cells(outlook: Outlook) -> list[str]:
    experiment, base, rows = outlook.experiment, outlook.base, list(outlook.experiment.rows.values)
    searched = f"{outlook.trials} trials over {', '.join(experiment.space)}" if experiment.search else "no search"
    return [
        f"{experiment.name}, size {outlook.options.size}: {experiment.question.strip().splitlines()[0]}",
        f"Data     {outlook.data}, reported on {outlook.split} ({outlook.num_reported:,} {_unit(base)}), "
        f"{base.evaluation.ties} ties, features {'+'.join(base.data.features)}",
        f"Encoder  {outlook.encoder}",
        f"Search   {searched}",
        f"Cells    {len(rows)} rows × {len(outlook.seeds)} seeds = {len(rows) * len(outlook.seeds)} final runs: "
        + "; ".join(rows),
        f"Baselines {', '.join(experiment.baselines)}",
        *(
            [f"Probes   each of them and the frozen encoder under: {'; '.join(experiment.probes)}"]
            * bool(experiment.probes)
        ),
    ]


def _batch(outlook: Outlook) -> list[str]:
    lines = []
    for label, config, trained in _distinct_batches(outlook):
        optim, places = config.optim, outlook.options.cluster
        micro = batch_per_worker(optim.global_batch, places.workers, places.accumulation)
        steps = -(-trained // optim.global_batch) * optim.epochs
        lines.append(
            f"Batch    {label}{optim.global_batch} {_unit(config)} = {places.workers} workers × {places.accumulation} "
            f"micro-steps × {micro}; {trained:,} training {_unit(config)} × {optim.epochs} epochs = {steps:,} steps"
        )
    return [*lines, _sizes(outlook)]


def _sizes(outlook: Outlook) -> str:
    base = outlook.base
    if base.retrieval is None:
        drawn = f"{base.data.sampler.num_candidates} candidates, "  # type: ignore[attr-defined]
        words = f"history {base.data.max_history}, {drawn}texts of at most {base.data.max_tokens} tokens"
    else:
        words = f"history {base.data.max_history}, vectors of width {base.retrieval.items.width}"
    looked = f"{outlook.num_validation:,} validation {_unit(base)}, {base.evaluation.validations} validations"
    return f"Sizes    {words}; {looked}"


def _unit(config: RunConfig) -> str:
    return "impressions" if config.retrieval is None else "clicks"


def _distinct_batches(outlook: Outlook) -> list[tuple[str, RunConfig, int]]:
    """Return configuration and training impressions of each way of batching, named by its rows unless all share one."""
    found: dict[tuple[int, ...], tuple[list[str], RunConfig]] = {}
    for point in outlook.experiment.grid(outlook.base):
        config, label = point.config, point.labels[outlook.experiment.group]
        most = min(outlook.num_train, config.data.train_impressions or outlook.num_train)
        key = (config.optim.global_batch, config.optim.epochs, outlook.fitted.get(label, most))
        found.setdefault(key, ([], config))[0].append(label)
    return [
        ("" if len(found) == 1 else f"{'; '.join(labels)}: ", config, key[-1])
        for key, (labels, config) in found.items()
    ]


def _resources(outlook: Outlook) -> list[str]:
    chosen = outlook.options.cluster
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


def _cost(outlook: Outlook) -> list[str]:
    runs = outlook.trials + len(outlook.experiment.rows.values) * len(outlook.seeds)
    timed = [r for r in outlook.records if r["role"] in ("search", "final") and r.get("wall_time_s")]
    if timed:
        mean_s = sum(r["wall_time_s"] for r in timed) / len(timed)
        done = sum(1 for r in timed if r["status"] == "finished")
        minutes = runs * mean_s / 60
        return [f"Cost     {runs} runs × {mean_s:.0f} s ({len(timed)} recorded) = {minutes:.0f} min; {done} recorded"]
    found = [
        (point.labels[outlook.experiment.group], estimate(point.config, outlook.num_train, outlook.num_reported))
        for point in outlook.experiment.grid(outlook.base)
    ]
    per_row = "; ".join(f"{label} {cost.petaflops:,.3g}" for label, cost in found if cost)
    total = total_petaflops([cost for _, cost in found], len(outlook.seeds), outlook.trials)
    if not per_row:
        return [f"Cost     {runs} runs; none of this size is recorded here yet, so their time is not known"]
    return [
        f"Cost     {runs} runs, about {total:,.3g} PFLOP in all = {total / 0.1 / 3600:,.3g} GPU-hours at a sustained "
        "100 TFLOP/s, an assumption; an upper bound, as if no item came twice in a batch",
        f"         PFLOP of one run: {per_row}",
    ]


def _same(record: dict[str, Any], size: str, fingerprint: str) -> bool:
    return bool(record["size"] == size and record["data"]["fingerprint"] == fingerprint)


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()
