"""A checkpoint of a tiny model, as training writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tastelab.config import Adaptation, DataConfig, EncoderConfig, ModelConfig, ObjectiveConfig, RunConfig, to_dict
from tastelab.modeling.encoders import encoder_fingerprint
from tastelab.modeling.ranker import build_ranker, trainable_state
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.module import TrainingModule


@pytest.fixture(scope="session")
def checkpoint(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a checkpoint whose trained parameters have all moved from their start."""
    config = RunConfig(
        data=DataConfig(features=("title", "abstract"), max_tokens=16, max_history=3),
        model=ModelConfig(encoder=EncoderConfig(name="tiny-bert"), adaptation=Adaptation.named("lora", rank=2)),
        objective=ObjectiveConfig(learnable_temperature=True),
    )
    ranker = build_ranker(config.model, str(tiny_bert))
    generator = torch.Generator().manual_seed(0)
    for value in trainable_state(ranker).values():
        value += 0.2 * torch.randn(value.shape, generator=generator)
    about = {
        "config": to_dict(config),
        "encoder": {"name": "tiny-bert", "fingerprint": encoder_fingerprint(str(tiny_bert))},
    }
    folder = tmp_path_factory.mktemp("runs") / "checkpoint"
    save_checkpoint(TrainingModule(ranker, config.objective, 4), about, 7, None, folder)
    return folder
