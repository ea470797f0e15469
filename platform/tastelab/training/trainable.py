"""What the training loop needs of a model with its objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tastelab.losses.objective import Temperature


class Trainable(nn.Module, ABC):
    """A model and its objective in one module, so that DDP wraps everything that learns."""

    ranker: nn.Module
    """What is trained and kept: the ranker, or the two towers of candidate generation."""
    temperature: Temperature
    kept_apart: tuple[str, ...] = ()
    """Names of parts whose buffers are alike on every worker by themselves: DDP need not send them around."""

    @abstractmethod
    def normaliser(self, micro: list[Any]) -> Any:
        """Count what the sums of one optimiser step are divided by; every rank calls it."""

    @abstractmethod
    def objective_state(self) -> Mapping[str, Tensor]:
        """Return what a checkpoint keeps beside the model, by name."""

    def after_step(self) -> dict[str, float]:
        """Do what follows an optimiser step, and return scalars for the log."""
        return {}
