"""Token rows in, L2-normalised item vectors out, without paying for padding.

Shape letters: U items, T tokens, D width; n items of one slice.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import EncoderConfig
from tastelab.modeling import short_attention
from tastelab.modeling.backbone import load_backbone
from tastelab.modeling.encoders import TokenPooling, read_token_pooling
from tastelab.modeling.items import ragged_rows
from tastelab.modeling.reuse import ReusedLayers
from tastelab.modeling.slices import longest_first, token_slices

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKEN_BUDGET = 16_384
"""Padded tokens in one pass of the encoder, unless set; enough to fill a GPU."""
CPU_TOKEN_BUDGET = 1_024
"""Most padded tokens in one pass on a CPU: larger activations leave the caches and the allocator's reusable blocks."""
TITLE_TOKENS = 64
"""Longest row for which the library's own plain attention does: what it keeps twice is small there."""
EAGER_TOKENS = 256
"""Longest row for which plain attention beats the fused kernel on a CPU in bf16 (its backward most of all)."""
logger = logging.getLogger("tastelab")


class TextEncoder(nn.Module):
    """A `transformers` encoder, its token pooling, and the slicing that keeps padding out of the work.

    Rows are taken longest first, in consecutive slices of at most `token_budget` padded tokens, each cut to its own
    longest row; the vectors come back in the order of the rows.
    """

    def __init__(
        self, backbone: PreTrainedModel, token_pooling: TokenPooling, token_budget: int = TOKEN_BUDGET
    ) -> None:
        """Wrap a loaded backbone."""
        super().__init__()
        self.backbone = backbone
        self.token_pooling = token_pooling
        self.token_budget = token_budget
        self._layers: ReusedLayers | None = None

    @property
    def width(self) -> int:
        """Length of an item vector."""
        return int(self.backbone.config.hidden_size)

    def reuse(self, num_layers: int, megabytes: int) -> None:
        """Keep the outputs of the lowest `num_layers` blocks per item, which must be frozen, in so much memory."""
        layers = ReusedLayers(self.backbone, num_layers, megabytes) if num_layers else None
        if layers is not None and not layers.fits():
            logger.info("The encoder cannot be cut in two: its frozen layers are computed anew in each step.")
            layers = None
        self._layers = layers

    def forward(self, tokens_UT: Tensor, mask_UT: Tensor, ids_U: Tensor | None = None) -> Tensor:
        """Encode right-padded token rows to float32 unit vectors (U, D).

        Args:
            tokens_UT: token rows.
            mask_UT: True for a real token.
            ids_U: what identifies each row's text, so that frozen layers run once for it; -1 for no identity.
        """
        parts = [
            normalize(pool_tokens(hidden_nTD, mask_nT, self.token_pooling), dim=-1)
            for hidden_nTD, mask_nT in self._slices(tokens_UT, mask_UT, ids_U)
        ]
        return self._restored(parts, mask_UT)

    def token_vectors(self, tokens_UT: Tensor, mask_UT: Tensor, kept_UT: Tensor, ids_U: Tensor | None = None) -> Tensor:
        """Encode token rows to unit vectors of their tokens where `kept_UT` is True, row after row: (M, D) in float32.

        Args:
            tokens_UT: token rows.
            mask_UT: True for a real token.
            kept_UT: tokens whose vectors are wanted, all of them real.
            ids_U: as in `forward`.
        """
        order_U = longest_first(mask_UT)
        counts_U = kept_UT.sum(dim=1)
        start, parts = 0, []
        for hidden_nTD, mask_nT in self._slices(tokens_UT, mask_UT, ids_U):
            rows = order_U[start : start + len(mask_nT)]
            parts.append(normalize(hidden_nTD[kept_UT[rows, : mask_nT.shape[1]]].float(), dim=-1))
            start += len(mask_nT)
        if not parts:
            return mask_UT.new_zeros((0, self.width), dtype=torch.float32)
        place_U = order_U.argsort()
        return torch.cat(parts)[ragged_rows(counts_U[order_U], place_U)]

    def _restored(self, parts: list[Tensor], mask_UT: Tensor) -> Tensor:
        """Join the slices' rows in the order that they came in."""
        if not parts:
            return mask_UT.new_zeros((0, self.width), dtype=torch.float32)
        order_U = longest_first(mask_UT)
        return torch.cat(parts)[order_U.argsort()]

    def _slices(self, tokens_UT: Tensor, mask_UT: Tensor, ids_U: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the last hidden states of consecutive slices, longest rows first, each cut to its longest row."""
        device = tokens_UT.device.type
        self._choose_attention(device, tokens_UT.shape[1])
        budget = min(self.token_budget, CPU_TOKEN_BUDGET) if device == "cpu" else self.token_budget
        order_U = longest_first(mask_UT)
        tokens_UT, mask_UT = tokens_UT[order_U], mask_UT[order_U]
        starts_U = None
        if self._layers is not None and ids_U is not None:
            starts_U = self._layers.learn(tokens_UT, mask_UT, ids_U[order_U], budget)
        lengths = mask_UT.sum(dim=1).tolist()
        for rows, width in token_slices(lengths, budget):
            tokens_nT, mask_nT = tokens_UT[rows, :width], mask_UT[rows, :width]
            self._choose_attention(device, width)  # joined texts are long, those beside them short
            # Without a mask the attention takes its fast path and the library need not read the mask back to find out.
            attended = mask_nT if min(lengths[rows]) < width else None
            if self._layers is not None and starts_U is not None:
                yield self._layers.hidden(tokens_nT, mask_nT, attended, starts_U[rows]), mask_nT
            else:
                yield self.backbone(input_ids=tokens_nT, attention_mask=attended).last_hidden_state, mask_nT

    def _choose_attention(self, device: str, num_tokens: int) -> None:
        bf16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16
        wanted = attention_kind(device, bf16, num_tokens, device == "cuda" and _flash_available())
        if self.backbone.config._attn_implementation != wanted:
            short_attention.register()
            self.backbone.set_attn_implementation(wanted)
        _say_attention(wanted, device)


def attention_kind(device: str, bf16: bool, num_tokens: int, flash: bool) -> str:
    """Choose the attention: FlashAttention 2 where a GPU has it, in bf16; plain for short rows on a CPU; else sdpa."""
    if device == "cuda" and bf16 and flash:
        return "flash_attention_2"
    if device == "cpu" and bf16 and num_tokens <= EAGER_TOKENS:
        return "eager" if num_tokens <= TITLE_TOKENS else short_attention.NAME
    return "sdpa"


def load_text_encoder(config: EncoderConfig, path: str, token_budget: int = TOKEN_BUDGET) -> TextEncoder:
    """Load the encoder that `config` describes from a folder or hub id.

    Raises `ValueError` where the configuration asks what the encoder cannot give, or a file is missing.
    """
    if config.token_pooling not in ("auto", *get_args(TokenPooling)):
        raise ValueError(f"Unknown token pooling '{config.token_pooling}': choose auto, mean, cls or last.")
    pooling = read_token_pooling(path) if config.token_pooling == "auto" else cast(TokenPooling, config.token_pooling)
    return TextEncoder(load_backbone(config, path), pooling, token_budget)


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
