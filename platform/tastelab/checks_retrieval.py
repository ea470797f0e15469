"""What must hold of a configuration of candidate generation before any work; each mistake is one sentence."""

from __future__ import annotations

from tastelab.config import ClusterConfig, RetrievalConfig, RunConfig
from tastelab.config.retrieval import DAYS, TARGETS, TEXTS
from tastelab.data.exposure_truth import read_truth
from tastelab.data.population import world_of
from tastelab.data.tables import PreparedData
from tastelab.losses.contrast import ContrastiveLoss
from tastelab.losses.objective import check_temperature
from tastelab.modeling.histories import UserTowerConfig
from tastelab.retrieval.measure import list_length
from tastelab.training.simulate import checked

SPREAD = ("diversity", "coverage", "gini", "popularity", "kl")
"""Metrics beside hit rates that a retrieval run may have."""


def check_retrieval(config: RunConfig, cluster: ClusterConfig) -> None:
    """Check the part of a configuration that candidate generation adds.

    Raises:
        ValueError: the configuration cannot run; the sentence says what to change.
    """
    chosen, tower = config.retrieval, config.retrieval and config.retrieval.user
    assert chosen is not None
    assert isinstance(tower, UserTowerConfig)
    assert isinstance(chosen.loss, ContrastiveLoss)
    _check_settings(chosen)
    _check_metric(chosen)
    if cluster.accumulation > 1:
        raise ValueError(
            "Candidate generation contrasts the clicks of a whole global batch, which micro-steps would cut: leave "
            "--accumulation at 1, or use more workers."
        )
    if chosen.targets == "window" and not tower.prefixes:
        raise ValueError(
            f"The tower {tower.name} reads each prefix of a window anew, which windows only make dearer: set "
            "retrieval.targets to 'each', or choose the tower sasrec or mean."
        )
    if chosen.loss.needs_intents and not tower.has_intents:
        raise ValueError(
            f"The loss {chosen.loss.name} needs a user tower with intents, and {tower.name} has none: choose the tower "
            "multi_clrec."
        )
    if config.data.domains is not None:
        raise ValueError("Candidate generation trains on all domains: leave data.domains out, or prepare them apart.")
    tower.check(chosen.items.width, config.data.max_history)


def check_on_data(config: RetrievalConfig, data: PreparedData) -> None:
    """Check that the data know what a configuration asks for: a world to simulate, or its policy and optimum.

    Raises:
        ValueError: they do not; the sentence says which data do.
    """
    assert isinstance(config.loss, ContrastiveLoss)
    if config.simulation is not None:
        world_of(data.meta)
        return
    wants = config.loss.wants(data.num_items)
    drawn_from = wants.distribution if wants.sampled else None
    if config.metric == "kl" or "true" in (drawn_from, wants.propensity):
        read_truth(data)


def _check_settings(chosen: RetrievalConfig) -> None:
    """Check every setting by itself."""
    check_temperature(chosen.temperature, chosen.learnable_temperature)
    for what, value, known in (
        ("items.text", chosen.items.text, TEXTS),
        ("targets", chosen.targets, TARGETS),
        ("days", chosen.days, DAYS),
    ):
        if value not in known:
            raise ValueError(f"retrieval.{what} is '{value}': choose one of {', '.join(known)}.")
    if chosen.items.width < 1:
        raise ValueError(f"retrieval.items.width is {chosen.items.width}: choose at least 1.")
    if not 0 <= chosen.items.id_dropout < 1:
        raise ValueError(f"retrieval.items.id_dropout is {chosen.items.id_dropout}: choose a share from 0 to below 1.")
    if not chosen.ks or min(chosen.ks) < 1:
        raise ValueError(f"retrieval.ks is {chosen.ks}: give at least one number of retrieved items, 1 or more.")
    for what in ("num_vectors", "diversity_users"):
        if getattr(chosen, what) < 1:
            raise ValueError(f"retrieval.{what} is {getattr(chosen, what)}: choose at least 1.")


def _check_metric(config: RetrievalConfig) -> None:
    """Check that what choosing looks at is measured."""
    if config.simulation is not None:
        checked(config)
        return
    parts = [f"hr@{list_length(config)}_{part}" for part in ("weekday", "weekend", "warm", "cold")]
    measured = [*(f"hr@{k}" for k in config.ks), *parts, *SPREAD]
    if config.metric not in measured:
        raise ValueError(
            f"retrieval.metric is '{config.metric}', which is not measured: choose one of {', '.join(measured)}, or "
            "add its cut-off to retrieval.ks."
        )
