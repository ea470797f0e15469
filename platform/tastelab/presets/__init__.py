"""Configurations and sizes that experiments start from; each names the table of [A] that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tastelab.config import (
    Adaptation,
    Architecture,
    Auxiliary,
    Loss,
    ObjectiveConfig,
    OptimConfig,
    Pooling,
    RunConfig,
    replace_at,
)
from tastelab.experiment import Size

GTE = "Alibaba-NLP/gte-modernbert-base"
"""[A]'s encoder."""


def bi_encoder(**overrides: object) -> RunConfig:
    """[A]'s bi-encoder: MINCE, 32 candidates, title only, mean pooling, LoRA of rank 8 at its learning rate 5e-4.

    Args:
        overrides: fields by dotted path with `__` for the dots, e.g. `optim__global_batch=48`.
    """
    config = RunConfig(
        objective=ObjectiveConfig(
            auxiliaries=(Auxiliary.named("uniformity", weight=0.0), Auxiliary.named("redundancy", weight=0.0))
        ),
        optim=OptimConfig(global_batch=32, learning_rate=5e-4),
    )
    return replace_at(config, {path.replace("__", "."): value for path, value in overrides.items()})


def full_bi_encoder(**overrides: object) -> RunConfig:
    """[A]'s tables' first row: the bi-encoder fine-tuned in full at learning rate 1e-4, MINCE, nothing added."""
    settings = {"model__adaptation": full(), "optim__learning_rate": 1e-4, "evaluation__validations": 3}
    return bi_encoder(**{**settings, **overrides})


def lora(rank: int) -> Adaptation:
    """LoRA of one rank with alpha = 2·rank, a constant scale over ranks (methods.md §4)."""
    return Adaptation.named("lora", rank=rank)


def full(frozen_layers_share: float = 0.0) -> Adaptation:
    """Full fine-tuning above the lowest share of frozen blocks; word embeddings stay frozen, as always."""
    return Adaptation.named("full", frozen_layers_share=frozen_layers_share)


def frozen() -> Adaptation:
    """The encoder as it comes: nothing is trained."""
    return Adaptation.named("frozen")


def pooling(name: str, **parameters: object) -> Pooling:
    """Item pooling by name: mean, top_k, mix, sasrec, attention."""
    return Pooling.named(name, **parameters)


def loss(name: str, **parameters: object) -> dict[str, Any]:
    """A row with another loss."""
    return {"objective.loss": Loss.named(name, **parameters)}


def architecture(name: str, **parameters: object) -> dict[str, Any]:
    """A row with another architecture."""
    return {"model.architecture": Architecture.named(name, **parameters)}


def reads(*features: str, missing: float = 0.0, title_words: int | None = None) -> dict[str, Any]:
    """A row or probe that reads these text features, a share of them missing at random, titles cut to some words."""
    return {"data.features": features, "data.missing": missing, "data.title_words": title_words}


def with_lora(rank: int = 8) -> dict[str, Any]:
    """A row with LoRA in place of full fine-tuning, at [A]'s learning rate for it."""
    return {"model.adaptation": lora(rank), "optim.learning_rate": 5e-4}


def all_components() -> dict[str, Any]:
    """[A]'s best row: MINCE, LoRA, mix pooling, redundancy; neither SASRec nor uniformity (methods.md §4)."""
    return {
        **with_lora(),
        "model.pooling": pooling("mix"),
        "objective.auxiliaries.redundancy.weight": 0.1,
    }


def id_sas() -> dict[str, Any]:
    """[A]'s ID-SAS: a trainable table of items that starts at their frozen text vectors, SASRec on top, BCE."""
    return {
        **architecture("id_sas"),
        **loss("bce"),
        "model.adaptation": frozen(),
        "model.pooling": pooling("sasrec"),
        "optim.learning_rate": 1e-3,
    }


def nrms() -> dict[str, Any]:
    """The base system of the MIND paper: words and attention of its own, a dot product without a temperature."""
    return {
        **architecture("nrms"),
        "model.adaptation": frozen(),
        "objective.temperature": 1.0,
        "optim.learning_rate": 1e-3,
    }


def cross_encoder() -> dict[str, Any]:
    """[A]'s cross-encoder with BCE; the logit of an MLP needs no temperature."""
    return {**architecture("cross_encoder"), **loss("bce"), "objective.temperature": 1.0}


SMALL = {
    "data.max_history": 15,
    "data.sampler.num_candidates": 8,
    "optim.global_batch": 16,
    "objective.temperature": 0.1,
    "evaluation.max_impressions": 64,
}
"""What a run of the tables differs in on two CPU cores from one of [A]."""


def smoke(**chosen: Any) -> Size:
    """About a minute on 2 CPU cores: one worker a run, two side by side, 32 impressions, 2 layers; no quality.

    What a run takes is the start of its processes, so tables choose `only` rows that together run all of their parts.
    """
    overrides = {
        **SMALL,
        "data.train_impressions": 32,
        "data.max_history": 6,
        "data.sampler.num_candidates": 5,
        "optim.global_batch": 8,
        "model.encoder.num_layers": 2,
        "evaluation.validations": 1,
        "evaluation.max_impressions": 16,
    }
    return Size(
        overrides, **{"dataset": "synthetic-smoke", "seeds": (0,), "workers": 1, "cpus_per_worker": 0.4, **chosen}
    )


def default(changes: Mapping[str, Any] | None = None, **chosen: Any) -> Size:
    """An honest small run on two CPU cores: 1,024 training impressions in 64 steps, unless `changes` say otherwise."""
    return Size({**SMALL, "data.train_impressions": 1024, **(changes or {})}, **{"seeds": (0,), **chosen})


def paper(overrides: Mapping[str, Any] | None = None, **chosen: Any) -> Size:
    """[A]'s configuration on MIND-small: batch 48, 32 candidates, its encoder (methods.md §4); needs GPUs."""
    settings = {"optim.global_batch": 48, **(overrides or {})}
    return Size(settings, **{"dataset": "mind-small", "encoder": GTE, "seeds": (0, 1, 2), **chosen})
