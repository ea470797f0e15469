"""Token rows in, L2-normalised item vectors out, without paying for padding.

Shape letters: U items, T tokens, D width; n items of one slice.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import EncoderConfig
from tastelab.modeling.encoders import TokenPooling, encoder_folder, read_token_pooling

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
        """Wrap a loaded backbone; its word embeddings are frozen here, whatever else is trained (methods.md §4)."""
        super().__init__()
        self.backbone = backbone
        self.token_pooling = token_pooling
        self.token_budget = token_budget
        backbone.get_input_embeddings().requires_grad_(False)

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
    """Load an encoder's weights as float32, cut it to its lowest layers and set its dropout as `config` asks.

    Raises `ValueError` where `num_layers` is not between 1 and the encoder's own number, or a file is missing.
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
    pooling = read_token_pooling(path) if config.token_pooling == "auto" else cast(TokenPooling, config.token_pooling)
    return TextEncoder(backbone, pooling, token_budget)


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
    import inspect

    from transformers import MODEL_MAPPING, AutoConfig

    model = MODEL_MAPPING[type(AutoConfig.from_pretrained(folder, local_files_only=True))]
    return "add_pooling_layer" in inspect.signature(model.__init__).parameters


@functools.cache
def _flash_available() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


@functools.cache
def _say_attention(kind: str, device: str) -> None:
    logger.info("attention: %s on %s", kind, device)
