"""The attention of short rows is the library's plain attention, with less kept for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tastelab.config import EncoderConfig
from tastelab.modeling.short_attention import NAME, register, short_attention
from tastelab.modeling.text_encoder import load_text_encoder


def heads(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 2, 5, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3))  # type: ignore[return-value]


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_softmax_of_scaled_products_over_what_may_be_seen(masked: bool) -> None:
    query, key, value = heads()
    seen = torch.ones(3, 1, 5, 5, dtype=torch.bool)
    seen[1, :, :, 3:] = seen[2, :, :, 1:] = False
    attended, _ = short_attention(nn.Identity(), query, key, value, seen if masked else None, scaling=0.5)
    for n in range(3):
        for head in range(2):
            for q in range(5):
                visible = [k for k in range(5) if not masked or seen[n, 0, q, k]]
                weights = torch.stack([0.5 * query[n, head, q] @ key[n, head, k] for k in visible]).softmax(0)
                expected = sum(w * value[n, head, k] for w, k in zip(weights, visible, strict=True))
                torch.testing.assert_close(attended[n, q, head], expected)


def test_of_padded_rows_it_keeps_less_than_the_librarys_own() -> None:
    from transformers.models.bert.modeling_bert import eager_attention_forward

    seen = torch.ones(3, 1, 5, 5, dtype=torch.bool)
    seen[1, :, :, 3:] = False
    hidden = torch.zeros(3, 1, 5, 5).masked_fill(~seen, torch.finfo(torch.float32).min)

    def kept_bytes(attention: Callable[..., Any], mask: Tensor) -> int:
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.data_ptr()] = tensor
            return tensor

        query, key, value = heads(torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", torch.bfloat16):
            attention(nn.Identity(), query, key, value, mask, scaling=0.5, dropout=0.0)
        return sum(t.nbytes for t in kept.values() if t.shape[-2:] == (5, 5) and t.is_floating_point())

    num_weights = 3 * 2 * 5 * 5
    assert kept_bytes(short_attention, seen) == 2 * num_weights
    assert kept_bytes(eager_attention_forward, hidden) == 6 * num_weights


def test_an_encoder_gives_the_same_vectors_and_gradients_with_it(tiny_bert: Path) -> None:
    register()
    encoder = load_text_encoder(EncoderConfig(), str(tiny_bert))
    tokens_UT = torch.randint(5, 57, (4, 9), generator=torch.Generator().manual_seed(1))
    mask_UT = torch.arange(9) < torch.tensor([9, 7, 3, 9])[:, None]
    found = []
    for kind in ("sdpa", NAME):
        encoder.backbone.set_attn_implementation(kind)
        encoder.zero_grad()
        hidden = encoder.backbone(input_ids=tokens_UT, attention_mask=mask_UT).last_hidden_state[mask_UT]
        (hidden**3).sum().backward()
        found.append([hidden.detach(), *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
