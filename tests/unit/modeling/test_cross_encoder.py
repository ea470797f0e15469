"""The cross-encoder: what it encodes, and its perceptron.

Shape letters: B impressions, C candidate slots, D width.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, normalize

from tastelab.config import Adaptation, Architecture, ModelConfig
from tastelab.modeling import cross_encoder
from tastelab.modeling.cross_encoder import CrossEncoderRanker
from tastelab.modeling.ranker import build_ranker
from tastelab.schema import Batch


def make(folder: Path) -> CrossEncoderRanker:
    """Build a ranker whose last layer has left its zero."""
    config = ModelConfig(architecture=Architecture.named("cross_encoder"), adaptation=Adaptation.named("full"))
    ranker = build_ranker(config, str(folder)).eval()
    assert isinstance(ranker, CrossEncoderRanker)
    torch.nn.init.normal_(ranker.head.outer.weight, generator=torch.Generator().manual_seed(0))
    return ranker


def by_hand(ranker: CrossEncoderRanker, tokens: list[int]) -> Tensor:
    """Score one sequence, step by step."""
    hidden_TD = ranker.encoder.backbone(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    pooled_D = normalize(hidden_TD.mean(dim=0), dim=0) * math.sqrt(hidden_TD.shape[1])
    inner, outer = ranker.head.inner, ranker.head.outer
    return outer.weight[0] @ gelu(inner.weight @ pooled_D + inner.bias)


def test_scores_are_the_perceptron_on_history_and_candidate_in_one_sequence(tiny_encoder: Path, batch: Batch) -> None:
    ranker = make(tiny_encoder)
    scores_BC = ranker(batch).scores_BC
    texts = [row[mask].tolist() for row, mask in zip(batch.item_tokens_UT, batch.item_mask_UT, strict=True)]
    whole = texts[1] + texts[2][1:] + texts[5][1:] + texts[0][1:]
    torch.testing.assert_close(scores_BC[0, 1], by_hand(ranker, whole), rtol=0, atol=1e-5)
    torch.testing.assert_close(scores_BC[2, 2], by_hand(ranker, texts[5]), rtol=0, atol=1e-5)
    assert scores_BC[~batch.candidate_mask_BC].tolist() == [0.0, 0.0, 0.0]


def test_only_real_and_distinct_pairs_are_encoded(tiny_bert: Path, batch: Batch) -> None:
    ranker, seen = make(tiny_bert), []
    ranker.encoder.backbone.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    ranker(batch)
    assert sum(seen) == int(batch.candidate_mask_BC.sum()) == 9
    seen.clear()
    twice = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.name.split("_")[-1][0] == "B"}
    ranker(
        dataclasses.replace(
            batch, **{name: torch.cat([part, part]) for name, part in twice.items() if part is not None}
        )
    )
    assert sum(seen) == 9


@pytest.mark.parametrize("tokens", [1, 40])
def test_blocks_change_nothing(tokens: int, tiny_bert: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = make(tiny_bert)
    expected_BC = ranker(batch).scores_BC
    monkeypatch.setattr(cross_encoder, "BLOCK_TOKENS", tokens)
    torch.testing.assert_close(ranker(batch).scores_BC, expected_BC, rtol=0, atol=1e-5)


def test_no_item_is_encoded_alone(tiny_bert: Path, batch: Batch) -> None:
    ranker = make(tiny_bert)
    items = ranker.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT)
    assert items.vectors_UD is items.token_vectors_MD is None
    output = ranker(batch)
    assert output.item_vectors_UD is output.history_BHD is output.candidates_BCD is None
