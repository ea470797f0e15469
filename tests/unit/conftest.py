"""A second tiny random encoder, of another family, for what must hold for any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import ModernBertConfig, ModernBertModel, PreTrainedModel


@pytest.fixture(scope="session")
def tiny_modernbert(save_encoder: Callable[[PreTrainedModel, str], Path]) -> Path:
    """Folder of a random ModernBERT of width 32 with 2 layers, one of them with sliding attention."""
    config = ModernBertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
        local_attention=8,
        global_attn_every_n_layers=2,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return save_encoder(ModernBertModel(config), "tiny-modernbert")


@pytest.fixture(params=["tiny_bert", "tiny_modernbert"])
def tiny_encoder(request: pytest.FixtureRequest) -> Path:
    """Each of the tiny encoders in turn."""
    folder: Path = request.getfixturevalue(request.param)
    return folder
