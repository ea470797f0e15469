"""Plain attention for short rows on a CPU in bfloat16: faster than the fused kernel there, its backward most of all.

It is the library's own plain attention but for padded rows, whose mask there is in float32 and makes the scores so too:
the weights are then kept twice for the backward pass, in float32 and in bfloat16. Here they are kept once, in bfloat16.

Shape letters: n rows, A heads, T tokens, E width of a head.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

NAME = "tastelab_short"
"""What the attention is called in an encoder's configuration."""


def short_attention(
    module: nn.Module,
    query_nATE: Tensor,
    key_nATE: Tensor,
    value_nATE: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Return the attended values (n, T, A, E); see `transformers.AttentionInterface` for the arguments.

    Args:
        module: the encoder's attention.
        query_nATE: queries.
        key_nATE: keys.
        value_nATE: values.
        attention_mask: bool (n, 1, T, T), True where a token may be seen; None where all may.
        scaling: of the products; None is `1 / √E`.
        dropout: probability, while the module is trained.
        unused: what other attentions need.
    """
    scale = query_nATE.shape[-1] ** -0.5 if scaling is None else scaling
    scores_nATT = torch.matmul(query_nATE * scale, key_nATE.transpose(2, 3))
    if attention_mask is not None:
        scores_nATT = scores_nATT.masked_fill(~attention_mask, torch.finfo(scores_nATT.dtype).min)
    weights_nATT = scores_nATT.softmax(dim=-1)
    weights_nATT = nn.functional.dropout(weights_nATT, dropout, module.training)
    return torch.matmul(weights_nATT, value_nATE).transpose(1, 2).contiguous(), None


@functools.cache
def register() -> None:
    """Make the attention known to the library under `NAME`, with a boolean mask."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, short_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
