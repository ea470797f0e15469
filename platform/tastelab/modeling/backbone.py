"""A pretrained `transformers` encoder as the rest of the package needs it: without a head, cut, its dropout set."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from tastelab.config import EncoderConfig
from tastelab.modeling.encoders import encoder_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_backbone(config: EncoderConfig, path: str) -> PreTrainedModel:
    """Load an encoder's weights as float32, cut it to its lowest layers and set its dropout as `config` asks.

    Raises `ValueError` where `num_layers` is not between 1 and the encoder's own number, `dropout` is no probability
    below 1, or a weight is missing.
    """
    from transformers import AutoModel

    folder = encoder_folder(path)
    # A pooler would be a parameter that no score depends on: DDP fails at the second step.
    without_pooler = {"add_pooling_layer": False} if _takes_pooling_layer(str(folder)) else {}
    with _quiet_loading():
        backbone, report = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
            **without_pooler,
        )
    if report["missing_keys"]:
        raise ValueError(
            f"The encoder folder {folder} lacks weights, first {sorted(report['missing_keys'])[0]}: save it anew."
        )
    if config.num_layers is not None:
        keep_lowest_layers(backbone, config.num_layers)
    set_dropout(backbone, config.dropout)
    return backbone


def blocks(backbone: nn.Module) -> nn.ModuleList:
    """Return the encoder's stack of blocks: its longest `ModuleList`, outermost first."""
    stacks = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise ValueError("The encoder has no stack of blocks that could be adapted: pass a transformer text encoder.")
    return max(stacks, key=len)


def keep_lowest_layers(backbone: PreTrainedModel, num_layers: int) -> None:
    """Drop every block above the lowest `num_layers`."""
    stack = blocks(backbone)
    if not 1 <= num_layers <= len(stack):
        raise ValueError(f"num_layers is {num_layers}, the encoder has {len(stack)}: choose 1 to {len(stack)}.")
    del stack[num_layers:]
    backbone.config.num_hidden_layers = num_layers


def set_dropout(backbone: PreTrainedModel, dropout: float) -> None:
    """Set every dropout of the encoder, of hidden states and of attention, to one probability."""
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"The encoder's dropout is {dropout}: choose a number from 0 to below 1.")
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = dropout


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep the library's progress bar and its report on heads that are not used off the terminal."""
    from transformers.utils import logging as library

    verbosity, bar = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if bar:
            library.enable_progress_bar()


@functools.cache
def _takes_pooling_layer(folder: str) -> bool:
    from transformers import MODEL_MAPPING, AutoConfig

    model = MODEL_MAPPING[type(AutoConfig.from_pretrained(folder, local_files_only=True))]
    return "add_pooling_layer" in inspect.signature(model.__init__).parameters
