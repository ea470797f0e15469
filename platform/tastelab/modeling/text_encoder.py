"""Token rows in, L2-normalised item vectors out, without paying for padding.

Shape letters: U items, T tokens, D width; n items of one slice.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import EncoderConfig
from tastelab.modeling.backbone import load_backbone
from tastelab.modeling.encoders import TokenPooling, read_token_pooling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKEN_BUDGET = 16_384
"""Padded tokens in one pass of the encoder, unless set; enough to fill a GPU."""
CPU_TOKEN_BUDGET = 1_024
"""Most padded tokens in one pass on a CPU: larger activations leave the caches and the allocator's reusable blocks."""
EAGER_TOKENS = 256
"""Longest row for which plain attention beats the fused kernel on a CPU in bf16 (its backward most of all)."""
logger = logging.getLogger("tastelab")


class TextEncoder(nn.Module):
    """A `transformers` encoder, its token pooling, and the slicing that keeps padding out of the work.

    Items should arrive longest first: consecutive slices of at most `token_budget` padded tokens are cut to their own
    longest item. Any order gives the same vectors.
    """

    def __init__(
        self, backbone: PreTrainedModel, token_pooling: TokenPooling, token_budget: int = TOKEN_BUDGET
    ) -> None:
        """Wrap a loaded backbone."""
        super().__init__()
        self.backbone = backbone
        self.token_pooling = token_pooling
        self.token_budget = token_budget

    @property
    def width(self) -> int:
        """Length of an item vector."""
        return int(self.backbone.config.hidden_size)

    def forward(self, tokens_UT: Tensor, mask_UT: Tensor) -> Tensor:
        """Encode right-padded token rows to float32 unit vectors (U, D)."""
        device = tokens_UT.device.type
        self._choose_attention(device, tokens_UT.shape[1])
        budget = min(self.token_budget, CPU_TOKEN_BUDGET) if device == "cpu" else self.token_budget
        lengths = mask_UT.sum(dim=1).tolist()
        slices = token_slices(lengths, budget)
        return torch.cat([self._encode(tokens_UT[s, :width], mask_UT[s, :width], lengths[s]) for s, width in slices])

    def _encode(self, tokens_nT: Tensor, mask_nT: Tensor, lengths: Sequence[int]) -> Tensor:
        # Without a mask the attention takes its fast path and the library need not read the mask back to find out.
        padded = min(lengths) < tokens_nT.shape[1]
        hidden_nTD = self.backbone(input_ids=tokens_nT, attention_mask=mask_nT if padded else None).last_hidden_state
        return normalize(pool_tokens(hidden_nTD, mask_nT, self.token_pooling), dim=-1)

    def _choose_attention(self, device: str, num_tokens: int) -> None:
        bf16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16
        wanted = attention_kind(device, bf16, num_tokens, device == "cuda" and _flash_available())
        if self.backbone.config._attn_implementation != wanted:
            self.backbone.set_attn_implementation(wanted)
        _say_attention(wanted, device)


def attention_kind(device: str, bf16: bool, num_tokens: int, flash: bool) -> str:
    """Choose the attention: FlashAttention 2 where a GPU has it, in bf16; plain for short rows on a CPU; else sdpa."""
    if device == "cuda" and bf16 and flash:
        return "flash_attention_2"
    if device == "cpu" and bf16 and num_tokens <= EAGER_TOKENS:
        return "eager"
    return "sdpa"


def load_text_encoder(config: EncoderConfig, path: str, token_budget: int = TOKEN_BUDGET) -> TextEncoder:
    """Load the encoder that `config` describes from a folder or hub id.

    Raises `ValueError` where the configuration asks what the encoder cannot give, or a file is missing.
    """
    if config.token_pooling not in ("auto", *get_args(TokenPooling)):
        raise ValueError(f"Unknown token pooling '{config.token_pooling}': choose auto, mean, cls or last.")
    pooling = read_token_pooling(path) if config.token_pooling == "auto" else cast(TokenPooling, config.token_pooling)
    return TextEncoder(load_backbone(config, path), pooling, token_budget)


def token_slices(lengths: Sequence[int], token_budget: int) -> Iterator[tuple[slice, int]]:
    """Cut items into consecutive slices of at most `token_budget` padded tokens; yield each with its longest length.

    An item longer than the budget is a slice of its own.
    """
    start, width = 0, 1
    for stop, length in enumerate(lengths):
        if stop > start and (stop + 1 - start) * max(width, length) > token_budget:
            yield slice(start, stop), width
            start, width = stop, 1
        width = max(width, length)
    if lengths:
        yield slice(start, len(lengths)), width


def pool_tokens(hidden_nTD: Tensor, mask_nT: Tensor, pooling: TokenPooling) -> Tensor:
    """Pool token vectors to one vector (n, D) in float32: their mean, the first (cls) or the last real one."""
    if pooling == "cls":
        return hidden_nTD[:, 0].float()
    if pooling == "last":
        last_n = mask_nT.sum(dim=1).clamp(min=1) - 1
        return hidden_nTD[torch.arange(len(last_n), device=last_n.device), last_n].float()
    weights_nT1 = mask_nT.unsqueeze(-1).float()
    return (hidden_nTD.float() * weights_nT1).sum(dim=1) / weights_nT1.sum(dim=1).clamp(min=1.0)


@functools.cache
def _flash_available() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


@functools.cache
def _say_attention(kind: str, device: str) -> None:
    logger.info("attention: %s on %s", kind, device)
