"""Before any work: what an experiment will run on, checked; a wrong option fails here in one sentence."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastelab.checks import check_configurations, check_on_encoders
from tastelab.checks_retrieval import check_on_data
from tastelab.config import ClusterConfig, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.clicks import fitting_and_validation_clicks, reported_clicks
from tastelab.data.domains import domains
from tastelab.data.mix.card import warnings
from tastelab.data.order import fitting_and_validation
from tastelab.data.sequences import prepare_sequences
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import ItemTexts, build_store, store_path
from tastelab.data.words import load_words, prepare_words
from tastelab.experiment import Experiment, Point, Size
from tastelab.modeling.encoders import (
    EncoderSource,
    encoder_facts,
    encoder_fingerprint,
    find_encoder,
    load_tokenizer,
)
from tastelab.results.record import Recorder
from tastelab.results.store import RecordStore, check_writable
from tastelab.training.job import Job, Reading, reading_key
from tastelab.training.retrieve import check_sizes


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
        return num_trials(self.options, self.size, self.experiment)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the final runs."""
        return chosen_seeds(self.options, self.size)

    @property
    def split(self) -> str:
        """The split that the table reports: dev, or the validation part where the data have no dev."""
        return reported_split(self.data)


def prepare(experiment: Experiment, options: Options) -> Stage:
    """Check everything that can be wrong, prepare data and tokens, and settle the rest.

    Raises:
        ValueError: an option, path, name or size is wrong; one sentence says what to do.
    """
    cluster = options.cluster
    check_writable(cluster.reports)
    _check_home(cluster.home)
    size, experiment = at_size(experiment, options)
    source = find_encoder(options.encoder or size.encoder)
    named = options.data or size.dataset
    asked = based(experiment, size, options, named, source.label)
    check_configurations(experiment, asked, cluster)
    encoders = encoder_paths(experiment, asked, source)
    # A hub id that is not to be had fails here.
    check_on_encoders(experiment, asked, {name: encoder_facts(path) for name, path in encoders.items()})
    data = resolve(named, cluster.home)
    base = based(experiment, size, options, data.name, source.label)
    experiment = on_domains(experiment, data)
    check_configurations(experiment, base, cluster)
    configs = [base, *(point.config for point in experiment.grid(base))]
    check_sizes_of_rows(experiment, base, data)
    readings: dict[str, Reading] = {}
    probed = [replace_at(config, values) for config in configs for values in experiment.probes.values()]
    for config in (*configs, *probed):
        key = reading_key(config)
        readings[key] = readings.get(key) or _reading(config, data, encoders, cluster)
    first = readings[reading_key(base)]
    template = Job("", base, _absolute(cluster), data.path.resolve(), **vars(first), readings=readings)
    about = {"name": data.name, "fingerprint": data.fingerprint} | _known(data)
    recorder = Recorder(experiment.name, options.size, experiment.group, about)
    return Stage(experiment, options, size, base, data, template, RecordStore(cluster.reports), recorder)


def num_trials(options: Options, size: Size, experiment: Experiment) -> int:
    """Return the trials of the search, in all; at least one per row."""
    return max(options.trials or size.trials, len(experiment.rows.values))


def chosen_seeds(options: Options, size: Size) -> tuple[int, ...]:
    """Return the seeds of the final runs."""
    return tuple(range(options.seeds)) if options.seeds else size.seeds


def at_size(experiment: Experiment, options: Options) -> tuple[Size, Experiment]:
    """Return the size that was asked for, and the experiment with the rows that it runs."""
    size = experiment.size(options.size)
    return size, experiment.at(size)


def reported_split(data: PreparedData) -> str:
    """Return dev, or validation where the data have no dev with labels."""
    return "dev" if "dev" in data.splits and data.has_labels("dev") else "validation"


def num_fitted(data: PreparedData, config: RunConfig) -> tuple[int, int]:
    """Count what a configuration is trained on and what its choices look at: impressions, or clicks of sequences.

    Raises:
        ValueError: the data have nothing to train on, or nothing to look at.
    """
    if config.retrieval is None:
        fitting, validation = fitting_and_validation(data, config.data)
        return len(fitting), len(validation)
    sequences = prepare_sequences(data)
    fitting, validation = fitting_and_validation_clicks(sequences, config.data, config.retrieval.days)
    return len(fitting), len(validation)


def check_sizes_of_rows(experiment: Experiment, base: RunConfig, data: PreparedData) -> None:
    """Check that the data have enough for every row of an experiment, and know what the row asks of them.

    Raises:
        ValueError: a row has nothing to train on or to look at, or asks for more than there is.
    """
    for point in experiment.grid(base):
        num_clicks, _ = num_fitted(data, point.config)
        if (retrieval := point.config.retrieval) is None:
            continue
        try:
            check_on_data(retrieval, data)
            if retrieval.simulation is None:  # a simulation makes its own clicks
                check_sizes(retrieval, data.num_items, num_clicks)
        except ValueError as error:
            raise ValueError(f"Row '{point.labels[experiment.group]}': {error}") from error


def num_reported(data: PreparedData, config: RunConfig) -> int:
    """Count what the table reports on."""
    if reported_split(data) != "dev":
        return num_fitted(data, config)[1]
    if config.retrieval is None:
        return data.num_impressions("dev")
    return len(reported_clicks(prepare_sequences(data), "dev"))


def on_domains(experiment: Experiment, data: PreparedData) -> Experiment:
    """Return the experiment with the rows and probes that the domains of the data make.

    Raises:
        ValueError: there is one domain, or no dev split: each row has a validation part of its own domains alone.
    """
    if experiment.probe_domains and reported_split(data) != "dev":
        raise ValueError(
            f"{experiment.name} measures every row on every domain, and '{data.name}' has no dev split with labels to "
            "do it on: prepare the data with one."
        )
    return experiment.on(domains(data))


def based(experiment: Experiment, size: Size, options: Options, dataset: str, encoder: str) -> RunConfig:
    """Return the base configuration of a launch."""
    base = experiment.based(size, dataset, encoder)
    asked = {} if options.train_impressions is None else {"data.train_impressions": options.train_impressions}
    return replace_at(base, asked)


def encoder_paths(experiment: Experiment, base: RunConfig, source: EncoderSource) -> dict[str, str]:
    """Find every encoder that a row names; return folder or hub id by name."""
    names = {point.config.model.encoder.name for point in experiment.grid(base)} - {source.label}
    return {source.label: source.path} | {name: find_encoder(name).path for name in sorted(names)}


def _reading(config: RunConfig, data: PreparedData, encoders: dict[str, str], cluster: ClusterConfig) -> Reading:
    """Tokenise the items as a run reads them, unless they are."""
    texts, name = ItemTexts.of(config), config.model.encoder.name
    if config.model.architecture.tokens == "words":  # type: ignore[attr-defined]
        folder, fingerprint = prepare_words(data, texts, cluster.glove)
        build_store(data, texts, folder / "store", load_words(folder))
        return Reading((folder / "store").resolve(), str(folder.resolve()), fingerprint)
    path, fingerprint = encoders[name], encoder_fingerprint(encoders[name])
    store = store_path(data, texts, name, fingerprint)
    build_store(data, texts, store, load_tokenizer(path))
    return Reading(store.resolve(), path, fingerprint)


def _known(data: PreparedData) -> dict[str, Any]:
    best, said = data.meta.get("known", {}).get("best_auc", {}), warnings(data)
    known = {"best_auc": best["dev"]} if isinstance(best, dict) and "dev" in best else {}
    return known | ({"warnings": said} if said else {})


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
