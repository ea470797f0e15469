"""A checkpoint of a tiny model, as training writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tastelab.config import (
    Adaptation,
    DataConfig,
    EncoderConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    replace_at,
    to_dict,
)
from tastelab.modeling.encoders import encoder_fingerprint
from tastelab.modeling.ranker import Resources, build_ranker, trainable_state
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.module import TrainingModule

CONFIG = RunConfig(
    data=DataConfig(features=("title", "abstract"), max_tokens=16, max_history=3),
    model=ModelConfig(encoder=EncoderConfig(name="tiny-bert"), adaptation=Adaptation.named("lora", rank=2)),
    objective=ObjectiveConfig(learnable_temperature=True),
)


@pytest.fixture(scope="session")
def save_ranker(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function that saves a checkpoint whose trained parameters have all moved from their start.

    `save_ranker({"data.missing": 0.5}, has_feedback=True)`: fields of the configuration by dotted path, and whether
    the data had dislikes.
    """

    def save(changes: Mapping[str, Any] | None = None, has_feedback: bool = False) -> Path:
        return _saved(replace_at(CONFIG, changes or {}), has_feedback, tiny_bert, tmp_path_factory.mktemp("runs"))

    return save


@pytest.fixture(scope="session")
def checkpoint(save_ranker: Callable[..., Path]) -> Path:
    """Folder of the checkpoint of a bi-encoder."""
    return save_ranker()


def _saved(config: RunConfig, has_feedback: bool, tiny_bert: Path, folder: Path) -> Path:
    ranker = build_ranker(config.model, Resources(str(tiny_bert), has_feedback=has_feedback))
    generator = torch.Generator().manual_seed(0)
    for value in trainable_state(ranker).values():
        value += 0.2 * torch.randn(value.shape, generator=generator)
    about = {
        "config": to_dict(config),
        "encoder": {"name": "tiny-bert", "fingerprint": encoder_fingerprint(str(tiny_bert))},
        "data": {"name": "tiny", "has_feedback": has_feedback},
    }
    save_checkpoint(TrainingModule(ranker, config.objective, 4), about, 7, None, folder / "checkpoint")
    return folder / "checkpoint"
