"""Before any work: what an experiment will run on, checked; a wrong option fails here in one sentence."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tastelab.cluster.preflight import batch_per_worker, concurrency, local_cpus, worker_cpus
from tastelab.config import ClusterConfig, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.order import fitting_and_validation
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import build_store, check_features, store_path
from tastelab.experiment import Choice, Experiment, Given, Point, Size, Space
from tastelab.losses.objective import check_temperature
from tastelab.modeling.encoders import encoder_fingerprint, encoder_width, find_encoder, load_tokenizer
from tastelab.results.record import Recorder
from tastelab.results.store import RecordStore, check_writable
from tastelab.training.job import Job


@dataclass(frozen=True)
class Options:
    """What the command line of an experiment says."""

    size: str = "default"
    data: str | None = None
    encoder: str | None = None
    trials: int | None = None
    seeds: int | None = None
    train_impressions: int | None = None
    dry_run: bool = False
    storage: str | None = None
    cluster: ClusterConfig = dataclasses.field(default_factory=ClusterConfig)


@dataclass(frozen=True)
class Stage:
    """All that is settled before work starts."""

    experiment: Experiment
    options: Options
    size: Size
    base: RunConfig
    data: PreparedData
    template: Job
    store: RecordStore
    recorder: Recorder

    @property
    def num_trials(self) -> int:
        """Trials of the search, in all; at least one per row."""
        return max(self.options.trials or self.size.trials, len(self.experiment.rows.values))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the final runs."""
        return tuple(range(self.options.seeds)) if self.options.seeds else self.size.seeds

    @property
    def split(self) -> str:
        """The split that the table reports: dev, or the validation part where the data have no dev."""
        labelled = "dev" in self.data.splits and self.data.has_labels("dev")
        return "dev" if labelled else "validation"


def prepare(experiment: Experiment, options: Options) -> Stage:
    """Check everything that can be wrong, prepare data and tokens, and settle the rest.

    Raises:
        ValueError: an option, path, name or size is wrong; one sentence says what to do.
    """
    size = experiment.size(options.size)
    cluster = options.cluster
    check_writable(cluster.reports)
    _check_home(cluster.home)
    source = find_encoder(options.encoder or size.encoder)
    named = options.data or size.dataset
    _check(experiment, experiment.based(size, named, source.label), cluster, source.path)
    data = resolve(named, cluster.home)
    base = experiment.based(size, data.name, source.label)
    if options.train_impressions is not None:
        base = replace_at(base, {"data.train_impressions": options.train_impressions})
    fitting_and_validation(data, base.data)
    fingerprint = encoder_fingerprint(source.path)
    store = store_path(data, base.data.features, base.data.max_tokens, source.label, fingerprint)
    build_store(data, base.data.features, base.data.max_tokens, store, load_tokenizer(source.path))
    template = Job("", base, _absolute(cluster), data.path.resolve(), store.resolve(), source.path, fingerprint)
    about = {"name": data.name, "fingerprint": data.fingerprint} | _known(data, base)
    encoder = {"name": source.label, "fingerprint": fingerprint}
    recorder = Recorder(experiment.name, options.size, experiment.group, about, encoder)
    return Stage(experiment, options, size, base, data, template, RecordStore(cluster.reports), recorder)


def _check(experiment: Experiment, base: RunConfig, cluster: ClusterConfig, encoder_path: str) -> None:
    batch_per_worker(base.optim.global_batch, cluster.workers, cluster.accumulation)
    _check_room(cluster)
    check_temperature(base.objective.temperature, base.objective.learnable_temperature)
    check_features(base.data.features)
    if base.optim.learning_rate <= 0:
        raise ValueError(f"The learning rate is {base.optim.learning_rate}: choose a number above 0.")
    width = encoder_width(encoder_path)
    base.model.adaptation.check(width)  # type: ignore[attr-defined]
    for path, space in experiment.space.items():
        for value in _values(space):
            if path == "model.adaptation":
                value.check(width)
            if path == "objective.temperature":
                check_temperature(value)
    _check_contrast(base, cluster)


def _check_room(cluster: ClusterConfig) -> None:
    if cluster.address is None:  # what a running cluster has is known when it is joined
        cpus = worker_cpus(local_cpus(), cluster.workers, cluster.cpus_per_worker)
        gpus = float(torch.cuda.device_count())
        concurrency(local_cpus(), gpus, cluster.workers, cpus, cluster.gpus_per_worker)


def _check_contrast(base: RunConfig, cluster: ClusterConfig) -> None:
    micro_step = base.optim.global_batch // cluster.accumulation
    contrast = base.objective.contrast_size or base.optim.global_batch
    coupled = [a for a in base.objective.auxiliaries if getattr(a, "coupled", False)]
    if coupled and (contrast > micro_step or micro_step % contrast):
        raise ValueError(
            f"{coupled[0].name} couples {contrast} impressions, but a micro-step holds {micro_step}: "
            f"set contrast_size to a divisor of {micro_step}, or use fewer accumulation steps."
        )


def _values(space: Space) -> list[Any]:
    if isinstance(space, Choice):
        return list(space.values.values())
    if isinstance(space, Given):
        return [value for case in (*space.cases.values(), space.otherwise) for value in _values(case)]
    return [space.low, space.high]


def _known(data: PreparedData, base: RunConfig) -> dict[str, Any]:
    best = data.meta.get("known", {}).get("best_auc", {})
    return {"best_auc": best["dev"]} if isinstance(best, dict) and "dev" in best else {}


def _absolute(cluster: ClusterConfig) -> ClusterConfig:
    # Trials run in folders of their own, so a relative home would be another one for each.
    return dataclasses.replace(cluster, home=cluster.home.expanduser().resolve(), reports=cluster.reports.resolve())


def _check_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".writable").touch()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(
            f"The home folder {home} cannot be written ({reason}): pass --home with one that can."
        ) from None


def point_label(point: Point, experiment: Experiment) -> str:
    """Short description of a point for progress lines: its row, then what else was drawn."""
    rest = [
        f"{_short(path)} {label}" for path, label in point.labels.items() if path != experiment.group and label != "–"
    ]
    return f"{point.labels[experiment.group]} ({', '.join(rest)})" if rest else point.labels[experiment.group]


def _short(path: str) -> str:
    """Last part of a dotted path; of a weight, the term that it weighs."""
    *_, owner, name = path.split(".")
    return owner if name == "weight" else name
