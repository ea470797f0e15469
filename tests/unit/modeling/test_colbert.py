"""Both ColBERT variants: which tokens meet.

Shape letters: B impressions, C candidate slots, U items, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.config import Adaptation, Architecture, ModelConfig
from tastelab.modeling.colbert import ColBERTRanker
from tastelab.modeling.ranker import build_ranker
from tastelab.schema import Batch

SPECIAL = (0, 2, 3, 4)


def make(folder: Path, name: str = "colbert") -> ColBERTRanker:
    config = ModelConfig(architecture=Architecture.named(name), adaptation=Adaptation.named("full"))
    ranker = build_ranker(config, str(folder)).eval()
    assert isinstance(ranker, ColBERTRanker)
    return ranker


def token_vectors(ranker: ColBERTRanker, tokens: list[int]) -> Tensor:
    """Encode one sequence and keep its text tokens."""
    hidden_TD = ranker.encoder.backbone(input_ids=torch.tensor([tokens])).last_hidden_state[0]
    return normalize(hidden_TD[[token not in SPECIAL for token in tokens]], dim=-1)


def texts_of(batch: Batch) -> list[list[int]]:
    return [row[mask].tolist() for row, mask in zip(batch.item_tokens_UT, batch.item_mask_UT, strict=True)]


def test_the_tokens_of_items_alone_meet(tiny_encoder: Path, batch: Batch) -> None:
    ranker, texts = make(tiny_encoder), texts_of(batch)
    history_QD = torch.cat([token_vectors(ranker, texts[u]) for u in (1, 2, 5)])
    expected_C = torch.stack(
        [(history_QD @ token_vectors(ranker, texts[u]).T).max(dim=1).values.mean() for u in (3, 0, 6)]
    )
    torch.testing.assert_close(ranker(batch).scores_BC[0], expected_C, rtol=0, atol=1e-5)


def test_the_tokens_of_a_joined_history_meet_those_of_candidates_alone(tiny_encoder: Path, batch: Batch) -> None:
    ranker, texts = make(tiny_encoder, "half_cross_encoder_colbert"), texts_of(batch)
    history_QD = token_vectors(ranker, texts[1] + texts[2][1:] + texts[5][1:])
    expected_C = torch.stack(
        [(history_QD @ token_vectors(ranker, texts[u]).T).max(dim=1).values.mean() for u in (3, 0, 6)]
    )
    torch.testing.assert_close(ranker(batch).scores_BC[0], expected_C, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["colbert", "half_cross_encoder_colbert"])
def test_one_text_token_on_each_side_is_a_cosine(name: str, tiny_encoder: Path, batch_of: Callable[..., Batch]) -> None:
    batch = batch_of(["a", "b", "c", "d"], [[0], [3]], [[1, 2], [0, 1]])
    ranker = make(tiny_encoder, name)
    hidden_UD = ranker.encoder.backbone(input_ids=batch.item_tokens_UT).last_hidden_state[:, 1]
    users_BD, shown_BCD = hidden_UD[[0, 3]], hidden_UD[batch.candidate_index_BC]
    expected_BC = torch.cosine_similarity(users_BD[:, None], shown_BCD, dim=-1)
    torch.testing.assert_close(ranker(batch).scores_BC, expected_BC, rtol=0, atol=1e-6)


def test_a_joined_history_of_one_text_is_that_text_alone(tiny_encoder: Path, batch_of: Callable[..., Batch]) -> None:
    batch = batch_of(["stars above", "a red fox", "salt"], [[0], [1], []], [[1, 2], [2, 0], [0, 1]])
    half, alone = make(tiny_encoder, "half_cross_encoder_colbert"), make(tiny_encoder)
    torch.testing.assert_close(half(batch).scores_BC, alone(batch).scores_BC, rtol=0, atol=1e-6)


def test_special_tokens_are_left_out_and_unknown_words_are_not(tiny_bert: Path, batch_of: Callable[..., Batch]) -> None:
    batch = batch_of(["ab 😀 c", "", "a [SEP] b", "😀"], [[0]], [[1]])
    ranker = make(tiny_bert)
    items = ranker.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT)
    assert items.num_tokens_U is not None and items.token_vectors_MD is not None and items.vectors_UD is not None
    assert items.num_tokens_U.tolist() == [4, 0, 2, 1]
    torch.testing.assert_close(items.token_vectors_MD.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(items.token_vectors_MD[4:6], token_vectors(ranker, texts_of(batch)[2]))
    torch.testing.assert_close(items.vectors_UD[0], normalize(items.token_vectors_MD[:4].mean(dim=0), dim=0))
    assert not items.vectors_UD[1].any()


def test_a_joined_history_asks_for_the_tokens_of_candidates_only(tiny_bert: Path, batch: Batch) -> None:
    ranker = make(tiny_bert, "half_cross_encoder_colbert")
    wanted_U = torch.tensor([False, True, False, False, True, False, False])
    items = ranker.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT, wanted_U)
    assert items.num_tokens_U is not None and items.token_vectors_MD is not None and items.vectors_UD is not None
    assert items.num_tokens_U.bool().tolist() == wanted_U.tolist() == items.vectors_UD.any(dim=1).tolist()
    texts = texts_of(batch)
    expected_MD = torch.cat([token_vectors(ranker, texts[u]) for u in (1, 4)])
    torch.testing.assert_close(items.token_vectors_MD, expected_MD, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["colbert", "half_cross_encoder_colbert"])
def test_a_history_without_text_is_the_learned_token(
    name: str, tiny_bert: Path, batch_of: Callable[..., Batch]
) -> None:
    batch = batch_of(["", "stars above", "salt"], [[0, 0], []], [[1, 2, 0], [1, 2, 0]])
    ranker = make(tiny_bert, name)
    torch.nn.init.normal_(ranker.empty_D, generator=torch.Generator().manual_seed(0))
    scores_BC = ranker(batch).scores_BC
    texts = texts_of(batch)
    empty_D = normalize(ranker.empty_D.detach(), dim=0)
    expected = [(token_vectors(ranker, texts[u]) @ empty_D).max().item() for u in (1, 2)]
    torch.testing.assert_close(scores_BC, torch.tensor([[*expected, 0.0]] * 2), rtol=0, atol=1e-5)
