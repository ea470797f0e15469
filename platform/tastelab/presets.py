"""Configurations that experiments start from; each names the table of [A] that it stands for."""

from __future__ import annotations

from tastelab.config import Adaptation, Auxiliary, ObjectiveConfig, OptimConfig, Pooling, RunConfig, replace_at


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


def lora(rank: int) -> Adaptation:
    """LoRA of one rank with alpha = 2·rank, a constant scale over ranks (methods.md §4)."""
    return Adaptation.named("lora", rank=rank)


def full() -> Adaptation:
    """Full fine-tuning; word embeddings stay frozen, as always."""
    return Adaptation.named("full")


def frozen() -> Adaptation:
    """The encoder as it comes: nothing is trained."""
    return Adaptation.named("frozen")


def pooling(name: str, **parameters: object) -> Pooling:
    """Item pooling by name: mean, top_k, mix."""
    return Pooling.named(name, **parameters)
