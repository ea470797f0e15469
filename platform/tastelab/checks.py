"""What must hold of every configuration of an experiment before any work; each mistake is one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tastelab.checks_retrieval import check_retrieval
from tastelab.cluster.preflight import batch_per_worker, concurrency, local_cpus, worker_cpus
from tastelab.config import ClusterConfig, RunConfig, replace_at
from tastelab.data.availability import check_availability
from tastelab.data.glove import check_readable
from tastelab.data.tokens import check_features
from tastelab.evaluation.pipeline import SHOWN
from tastelab.experiment import Choice, Experiment, Given, Point, Space, Variants
from tastelab.losses.objective import check_temperature
from tastelab.modeling.encoders import EncoderFacts
from tastelab.modeling.ranker import check_gamma


def check_configurations(experiment: Experiment, base: RunConfig, cluster: ClusterConfig) -> None:
    """Check what the rows and the search of an experiment can lead to, without encoder and data.

    Raises:
        ValueError: a configuration cannot run; the sentence says what to change.
    """
    check_configuration(base, cluster)
    check_room(cluster)
    if cluster.glove is not None:
        check_readable(cluster.glove)
    check_probes(experiment)
    for point in experiment.grid(base):
        try:
            for config in reachable(experiment, point):
                check_configuration(config, cluster)
        except ValueError as error:
            raise ValueError(f"Row '{point.labels[experiment.group]}': {error}") from error


def check_probes(experiment: Experiment) -> None:
    """Refuse a probe that would train another model; it changes what a trained one reads, or what is measured."""
    for label, values in experiment.probes.items():
        if wrong := [path for path in values if path not in READ and not path.startswith("evaluation.")]:
            raise ValueError(
                f"Probe '{label}' sets {wrong[0]}, which is settled in training: "
                f"set {', '.join(READ)} or a field of evaluation, or make it a row."
            )
        _check_retriever(experiment, label, values.get("evaluation.retriever"))
        check_features(values.get("data.features", ("title",)))
        check_availability(values.get("data.missing", 0.0), values.get("data.title_words"))


def _check_retriever(experiment: Experiment, label: str, row: str | None) -> None:
    """Refuse a probe that names no row to retrieve by, or that retrieves nothing."""
    if row is None:
        return
    if row not in experiment.rows.values:
        raise ValueError(
            f"Probe '{label}' retrieves by the row '{row}': name one of {', '.join(experiment.rows.values)}."
        )
    if experiment.base.evaluation.retrieve is None and "evaluation.retrieve" not in experiment.probes[label]:
        raise ValueError(f"Probe '{label}' names a row to retrieve by: set evaluation.retrieve as well, such as 200.")


READ = ("data.features", "data.missing", "data.title_words", "data.max_tokens", "data.max_history")
"""What may differ between a model's training and its serving."""


def reachable(experiment: Experiment, point: Point) -> Iterator[RunConfig]:
    """Iterate over a row's configuration and those that the search can make of it by one value."""
    yield point.config
    for path, space in experiment.search.items():
        of_row = isinstance(space, Given) and space.path == experiment.group
        chosen = space.case(point.labels[experiment.group]) if of_row and isinstance(space, Given) else space
        for values in _overrides(path, chosen):
            yield replace_at(point.config, values)


def check_configuration(config: RunConfig, cluster: ClusterConfig) -> None:
    """Check one configuration."""
    batch_per_worker(config.optim.global_batch, cluster.workers, cluster.accumulation)
    check_temperature(config.objective.temperature, config.objective.learnable_temperature)
    check_features(config.data.features)
    check_availability(config.data.missing, config.data.title_words)
    check_gamma(config.model)
    if not config.optim.learning_rate > 0:
        raise ValueError(f"The learning rate is {config.optim.learning_rate}: choose a number above 0.")
    if config.data.max_history < 1:
        raise ValueError(f"max_history is {config.data.max_history}: choose at least 1 click.")
    if config.retrieval is not None:
        check_retrieval(config, cluster)
        return
    _check_parts(config)
    _check_contrast(config, cluster)
    _check_two_jobs(config)


def check_on_encoders(experiment: Experiment, base: RunConfig, facts: Mapping[str, EncoderFacts]) -> None:
    """Check what the rows and the search ask of their encoders, as far as facts of these are known by name.

    Raises:
        ValueError: a configuration cannot run; the sentence says what to change.
    """
    for point in experiment.grid(base):
        for config in reachable(experiment, point):
            reads_words = config.model.architecture.tokens == "words"  # type: ignore[attr-defined]
            if config.model.encoder.name in facts and not reads_words:
                check_on_encoder(config, facts[config.model.encoder.name])


def check_on_encoder(config: RunConfig, facts: EncoderFacts) -> None:
    """Check what a configuration asks of its encoder: rank, number of layers, length of a text."""
    if config.retrieval is not None and config.retrieval.items.text == "none":
        return
    adaptation: Any = config.model.adaptation
    adaptation.check(facts.width)
    if config.retrieval is None and config.model.architecture.pools_items:  # type: ignore[attr-defined]
        config.model.pooling.check(facts.width, config.data.max_history)  # type: ignore[attr-defined]
    layers = config.model.encoder.num_layers
    if layers is not None and facts.num_layers is not None and not 1 <= layers <= facts.num_layers:
        raise ValueError(f"num_layers is {layers}, the encoder has {facts.num_layers}: choose 1 to {facts.num_layers}.")
    if config.data.max_tokens > facts.max_tokens:
        raise ValueError(
            f"max_tokens is {config.data.max_tokens}, but {config.model.encoder.name} reads at most "
            f"{facts.max_tokens} tokens: choose at most {facts.max_tokens}."
        )


def check_room(cluster: ClusterConfig) -> None:
    """Check that this machine has room for one run; what a running cluster has is known when it is joined."""
    if cluster.address is None:
        cpus = worker_cpus(local_cpus(), cluster.workers, cluster.cpus_per_worker)
        gpus = float(torch.cuda.device_count())
        concurrency(local_cpus(), gpus, cluster.workers, cpus, cluster.gpus_per_worker)


def _check_parts(config: RunConfig) -> None:
    """Check that architecture, pooling, adaptation and auxiliaries fit each other."""
    architecture: Any = config.model.architecture
    name, pooling = architecture.name, config.model.pooling
    if not architecture.pools_items and pooling.name != "mean":
        raise ValueError(f"{name} pools no item vectors, so '{pooling.name}' has no effect: leave the pooling at mean.")
    architecture.check(config.model)
    unbounded = (
        name if name in ("cross_encoder", "nrms") else "scorer 'mlp'" if config.model.scorer.name == "mlp" else ""
    )
    if config.objective.loss.name == "cosine_embedding" and unbounded:
        raise ValueError(
            f"Cosine embedding needs a score from -1 to 1, and that of {unbounded} has no bounds: choose another loss."
        )
    if config.evaluation.whitening and name != "bi_encoder":
        raise ValueError(f"Whitening transforms the item vectors of a bi-encoder, not of {name}: leave it out.")
    for term in _active(config):
        needs = "candidates" if term.coupled and not term.of_users else "all"
        if architecture.item_vectors == "none" or (needs == "all" and architecture.item_vectors == "candidates"):
            raise ValueError(
                f"{term.name} compares item vectors, and {name} encodes "
                f"{'no item' if architecture.item_vectors == 'none' else 'candidates only'} alone: "
                f"leave {term.name} out, or choose bi_encoder."
            )


def _check_contrast(config: RunConfig, cluster: ClusterConfig) -> None:
    micro_step = config.optim.global_batch // cluster.accumulation
    contrast = config.objective.contrast_size or config.optim.global_batch
    coupled = [term for term in _active(config) if term.coupled]
    if coupled and (contrast > micro_step or micro_step % contrast):
        raise ValueError(
            f"{coupled[0].name} couples {contrast} impressions, but a micro-step holds {micro_step}: "
            f"set contrast_size to a divisor of {micro_step}, or use fewer accumulation steps."
        )


def _check_two_jobs(config: RunConfig) -> None:
    """Check what trains a ranker for retrieval, and what measures its retrieval."""
    weight, architecture = config.objective.ranking_weight, config.model.architecture
    if not 0 <= weight < math.inf:
        raise ValueError(f"ranking_weight is {weight}: choose a number of 0 or more.")
    if not weight and config.optim.epochs and not _active(config):
        raise ValueError("ranking_weight is 0 and no auxiliary has a weight: nothing is trained; give one of them one.")
    if config.evaluation.retriever is not None:
        raise ValueError("evaluation.retriever is of probes, and no run is trained by it: leave it out.")
    if config.evaluation.retrieve is None:
        return
    if config.evaluation.retrieve < SHOWN:
        raise ValueError(
            f"evaluation.retrieve is {config.evaluation.retrieve}: retrieve at least the {SHOWN} items that are shown."
        )
    if architecture.item_vectors != "all":  # type: ignore[attr-defined]
        raise ValueError(
            f"Retrieval looks items up by their vectors, and {architecture.name} does not encode every item alone: "
            "leave evaluation.retrieve out, or choose bi_encoder."
        )


def _active(config: RunConfig) -> list[Any]:
    return [term for term in config.objective.auxiliaries if getattr(term, "weight", 1.0)]


def _overrides(path: str, space: Space) -> list[Mapping[str, Any]]:
    if isinstance(space, Variants):
        return list(space.values.values())
    if isinstance(space, Choice):
        return [{path: value} for value in space.values.values()]
    if isinstance(space, Given):
        return [values for case in (*space.cases.values(), space.otherwise) for values in _overrides(path, case)]
    return [{path: space.low}, {path: space.high}]
