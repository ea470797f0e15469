"""The half cross-encoder: joined histories against candidates alone.

Shape letters: B impressions, C candidate slots, U items, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from tastelab.config import Adaptation, Architecture, ModelConfig, Scorer
from tastelab.modeling.half_cross_encoder import HalfCrossEncoderRanker
from tastelab.modeling.ranker import Ranker, build_ranker
from tastelab.schema import Batch


def make(folder: Path, name: str = "half_cross_encoder", scorer: str = "cosine") -> Ranker:
    config = ModelConfig(
        architecture=Architecture.named(name), adaptation=Adaptation.named("full"), scorer=Scorer.named(scorer)
    )
    ranker = build_ranker(config, str(folder)).eval()
    for path, parameter in ranker.named_parameters():
        if path == "scorer.outer.weight":
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    return ranker


@pytest.mark.parametrize("scorer", ["cosine", "mlp"])
def test_a_history_of_one_text_is_a_bi_encoder(scorer: str, tiny_encoder: Path, batch_of: Callable[..., Batch]) -> None:
    batch = batch_of(["stars above", "a red fox", "salt", ""], [[0], [1], [3], []], [[1, 2], [2, 0], [0, 3], [1, 2]])
    half, whole = make(tiny_encoder, scorer=scorer), make(tiny_encoder, "bi_encoder", scorer)
    torch.testing.assert_close(half(batch).scores_BC, whole(batch).scores_BC, rtol=0, atol=1e-6)
    assert half(batch).scores_BC[:3].all()


def test_scores_are_cosines_of_the_pooled_sequence_and_the_candidate(tiny_encoder: Path, batch: Batch) -> None:
    ranker = make(tiny_encoder)
    texts = [row[mask].tolist() for row, mask in zip(batch.item_tokens_UT, batch.item_mask_UT, strict=True)]

    def pooled(tokens: list[int]) -> torch.Tensor:
        return ranker.encoder.backbone(input_ids=torch.tensor([tokens])).last_hidden_state[0].mean(dim=0)

    user_D = pooled(texts[1] + texts[2][1:] + texts[5][1:])
    expected_C = torch.stack([torch.cosine_similarity(user_D, pooled(texts[u]), dim=0) for u in (3, 0, 6)])
    torch.testing.assert_close(ranker(batch).scores_BC[0], expected_C, rtol=0, atol=1e-5)


def test_only_candidates_are_encoded_alone_and_equal_histories_once(tiny_bert: Path, batch: Batch) -> None:
    ranker, seen = make(tiny_bert), []
    ranker.encoder.backbone.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    batch.history_index_BH[3], batch.history_mask_BH[3] = batch.history_index_BH[0], batch.history_mask_BH[0]
    output = ranker(batch)
    shown_U = torch.isin(torch.arange(7), batch.candidate_index_BC[batch.candidate_mask_BC])
    assert sum(seen) == int(shown_U.sum()) + 2 == 8
    assert output.item_vectors_UD is not None and output.history_BHD is None
    assert output.item_vectors_UD.any(dim=1).tolist() == shown_U.tolist()
    assert output.candidates_BCD is not None
    assert torch.equal(output.candidates_BCD[0], output.item_vectors_UD[[3, 0, 6]])


def test_an_empty_history_is_a_learned_vector_inside_the_unit_ball(tiny_bert: Path, batch: Batch) -> None:
    ranker = make(tiny_bert)
    assert isinstance(ranker, HalfCrossEncoderRanker)
    torch.nn.init.normal_(ranker.empty_D, std=9.0, generator=torch.Generator().manual_seed(0))
    output = ranker(batch)
    assert output.item_vectors_UD is not None
    expected_C = output.item_vectors_UD[[1, 0, 5]] @ normalize(ranker.empty_D, dim=0)
    torch.testing.assert_close(output.scores_BC[2], expected_C, rtol=0, atol=1e-6)
