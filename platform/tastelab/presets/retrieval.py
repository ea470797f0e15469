"""Configurations of candidate generation: the systems of [B] as rows of a table (methods.md §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tastelab.config import (
    CandidateLoss,
    DataConfig,
    EvalConfig,
    ItemTowerConfig,
    OptimConfig,
    RetrievalConfig,
    RunConfig,
    UserTower,
    replace_at,
)
from tastelab.experiment import Size
from tastelab.presets import GTE


def candidate_generation(**overrides: object) -> RunConfig:
    """CLRec with its queue: item tower of ID, category, source, tags and frozen text, weighted attention over clicks.

    Args:
        overrides: fields by dotted path with `__` for the dots, e.g. `retrieval__temperature=0.1`.
    """
    config = RunConfig(
        data=DataConfig(max_history=50),
        optim=OptimConfig(global_batch=256, epochs=10, learning_rate=1e-3, weight_decay=0.01),
        evaluation=EvalConfig(validations=2, max_impressions=2_000),
        retrieval=RetrievalConfig(),
    )
    return replace_at(config, {path.replace("__", "."): value for path, value in overrides.items()})


def contrast(loss: str, **parameters: object) -> dict[str, Any]:
    """A row with another loss of candidate generation."""
    return {"retrieval.loss": CandidateLoss.named(loss, **parameters)}


def tower(name: str, **parameters: object) -> dict[str, Any]:
    """A row with another user tower."""
    return {"retrieval.user": UserTower.named(name, **parameters)}


def items(**parts: object) -> dict[str, Any]:
    """A row with another item tower, of these parts."""
    return {"retrieval.items": ItemTowerConfig(**parts)}  # type: ignore[arg-type]


def multi_interest(**parameters: object) -> dict[str, Any]:
    """MIND, the capsule network: dynamic routing to interests, label-aware attention, sampled softmax."""
    return {**tower("multi_interest", **parameters), **contrast("sampled_softmax")}


def multi_clrec(num_intents: int = 64, **parameters: object) -> dict[str, Any]:
    """Multi-CLRec: intents with queues of their own."""
    return {**tower("multi_clrec", num_intents=num_intents), **contrast("multi_clrec", **parameters)}


def untrained_retrieval(width: int) -> dict[str, Any]:
    """The frozen encoder as a retriever: the mean of the history's text vectors, nothing trained.

    Args:
        width: of the encoder's vectors.
    """
    text_only = {"width": width, "ids": False, "category": False, "source": False, "tags": False, "text": "frozen"}
    return {**items(**text_only, id_dropout=0.0), **tower("mean"), **contrast("clrec")}


def smoke(changes: Mapping[str, Any] | None = None, **chosen: Any) -> Size:
    """About a minute on 2 CPU cores: one worker a run, two side by side, one short epoch; no quality."""
    overrides = {
        "data.train_impressions": 3_000,  # more than the longest queue holds
        "data.max_history": 8,
        "optim.epochs": 1,
        "model.encoder.num_layers": 2,
        "evaluation.validations": 1,
        "evaluation.max_impressions": 200,
        **(changes or {}),
    }
    return Size(overrides, **{"dataset": "synthetic", "seeds": (0,), "workers": 1, "cpus_per_worker": 0.4, **chosen})


def default(changes: Mapping[str, Any] | None = None, **chosen: Any) -> Size:
    """An honest run on two CPU cores: at most 20,000 clicks an epoch, one worker a run, two side by side."""
    return Size(
        {"data.train_impressions": 20_000, **(changes or {})},
        **{"seeds": (0,), "workers": 1, "cpus_per_worker": 0.4, **chosen},
    )


def paper(changes: Mapping[str, Any] | None = None, **chosen: Any) -> Size:
    """MIND-small, width 128, batch 1,024; needs GPUs. [B]'s own data are not public, and it states few sizes."""
    settings = {"optim.global_batch": 1_024, "retrieval.items.width": 128, "optim.epochs": 10, **(changes or {})}
    return Size(settings, **{"dataset": "mind-small", "encoder": GTE, "seeds": (0, 1, 2), **chosen})
