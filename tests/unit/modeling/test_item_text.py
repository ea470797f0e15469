"""Texts of a catalogue: what is refused, rows cut to what they hold, and an encoder that learns in the item tower."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tastelab.config import Adaptation, EncoderConfig, ItemTowerConfig, ModelConfig
from tastelab.modeling.encoders import load_tokenizer
from tastelab.modeling.item_text import check_finite, check_text, frozen_rows, token_rows
from tastelab.modeling.item_tower import ItemTower, TextSource
from tastelab.modeling.text_encoder import load_text_encoder
from tastelab.schema import Catalogue

N, D = 8, 6

NONE = torch.full((4,), -1)
CATALOGUE = Catalogue(4, NONE == -1, NONE, 0, NONE, 0, NONE[:, None][:, :0].int(), 0)
TOKENS = torch.tensor([[2, 9, 3, 0], [2, 3, 0, 0], [0, 0, 0, 0], [2, 8, 7, 3]], dtype=torch.int32)
WITH_TOKENS = dataclasses.replace(CATALOGUE, tokens_NT=TOKENS, lengths_N=torch.tensor([3, 2, 0, 4]))


def test_tokens_are_cut_to_the_longest_of_the_rows() -> None:
    tokens_ET, mask_ET = token_rows(WITH_TOKENS, torch.tensor([1, 0, 1]))
    assert tokens_ET.tolist() == [[2, 3, 0], [2, 9, 3], [2, 3, 0]] and tokens_ET.dtype == torch.int64
    assert mask_ET.tolist() == [[True, True, False], [True, True, True], [True, True, False]]


def test_an_item_without_a_token_reads_one_of_padding() -> None:
    tokens_ET, mask_ET = token_rows(WITH_TOKENS, torch.tensor([2]))
    assert tokens_ET.tolist() == [[0]] and mask_ET.tolist() == [[True]]
    assert token_rows(WITH_TOKENS, torch.tensor([], dtype=torch.int64))[0].shape == (0, 0)


def test_frozen_vectors_are_gathered_as_they_are_kept() -> None:
    text_NF = torch.arange(8.0, dtype=torch.float16).view(4, 2)
    found = frozen_rows(dataclasses.replace(CATALOGUE, text_NF=text_NF), torch.tensor([3, 1]))
    assert torch.equal(found, text_NF[[3, 1]]) and found.dtype == torch.float16


@pytest.mark.parametrize(
    ("kind", "catalogue", "path", "sentence"),
    [
        ("frozen", CATALOGUE, "", "there are no text vectors: name an encoder to compute them with"),
        ("trained", CATALOGUE, "encoder", "there are no tokens or no encoder"),
        ("trained", WITH_TOKENS, "", "there are no tokens or no encoder"),
        ("warm", CATALOGUE, "", "The items' text is 'warm': choose one of none, frozen, trained"),
        ("frozen", dataclasses.replace(CATALOGUE, text_NF=torch.ones(3, 2)), "", "3 text vectors of 4 items"),
    ],
)
def test_a_text_that_is_not_there_is_refused(kind: str, catalogue: Catalogue, path: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_text(kind, catalogue, path)
    check_text("none", catalogue, path)


@pytest.mark.parametrize("hole", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_broken_vectors_are_counted(hole: float, dtype: torch.dtype) -> None:
    text_NF = torch.ones(5, 3, dtype=dtype)
    check_finite(text_NF)
    text_NF[1, 2], text_NF[4] = hole, hole
    with pytest.raises(ValueError, match=r"The text vectors of 2 of 5 items hold NaN .* the first is that of item 1:"):
        check_finite(text_NF)


def test_infinities_of_both_signs_do_not_cancel() -> None:
    with pytest.raises(ValueError, match="1 of 1 items"):
        check_finite(torch.tensor([[torch.inf, -torch.inf]]))


class TestTrainedText:
    """Text that is trained with the rest."""

    @staticmethod
    def parts(folder: Path, adaptation: str, reuse_mb: int = 0) -> tuple[Catalogue, TextSource]:
        texts = ["a red fox", "salt", "", "moon above the old mill", "x y", "how to bake", "z", "stars"]
        rows = load_tokenizer(str(folder))(texts)["input_ids"]
        tokens_NT = torch.zeros(N, max(map(len, rows)), dtype=torch.int32)
        for item, row in enumerate(rows):
            tokens_NT[item, : len(row)] = torch.tensor(row, dtype=torch.int32)
        lengths_N = torch.tensor([len(row) for row in rows])
        model = ModelConfig(encoder=EncoderConfig("tiny-bert"), adaptation=Adaptation.named(adaptation))
        known_N, none_N = torch.arange(N) != 3, torch.full((N,), -1)
        no_tags = none_N[:, None][:, :0].int()
        catalogue = Catalogue(N, known_N, torch.arange(N) % 2, 2, none_N, 0, no_tags, 0, None, tokens_NT, lengths_N)
        return catalogue, TextSource(model, str(folder), 1_024, reuse_mb)

    def test_alone_it_is_the_encoder(self, tiny_bert: Path) -> None:
        catalogue, text = self.parts(tiny_bert, "frozen")
        config = ItemTowerConfig(width=32, ids=False, category=False, source=False, tags=False, text="trained")
        tower = ItemTower(config, catalogue, text)
        ids_E = torch.tensor([6, 3, 2])
        encoder = load_text_encoder(text.model.encoder, str(tiny_bert))
        assert catalogue.tokens_NT is not None and catalogue.lengths_N is not None
        mask_NT = torch.arange(catalogue.tokens_NT.shape[1]) < catalogue.lengths_N[:, None]
        expected = encoder(catalogue.tokens_NT.long(), mask_NT)[ids_E]
        torch.testing.assert_close(tower(tower.facts(catalogue, ids_E)).vectors_ED, expected, atol=1e-5, rtol=1e-4)

    def test_it_learns_with_the_rest_and_frozen_layers_are_kept(self, tiny_bert: Path) -> None:
        catalogue, text = self.parts(tiny_bert, "lora", reuse_mb=8)
        tower = ItemTower(ItemTowerConfig(width=D, text="trained"), catalogue, text)
        facts = tower.facts(catalogue, torch.tensor([3, 6, 1]))
        assert facts.rows_E is not None and facts.rows_E.tolist() == [3, 6, 1] and facts.ids_E.tolist() == [-1, 6, 1]
        tower(facts).vectors_ED[:, 0].sum().backward()
        trained = {name: p for name, p in tower.named_parameters() if p.requires_grad}
        assert any("lora_B" in name for name in trained)
        assert all(p.grad is not None for p in trained.values())
        assert any(p.grad.abs().sum() > 0 for name, p in trained.items() if "lora_B" in name and p.grad is not None)

    def test_outside_items_bring_their_tokens(self, tiny_bert: Path) -> None:
        catalogue, text = self.parts(tiny_bert, "frozen")
        tower = ItemTower(ItemTowerConfig(width=D, text="trained"), catalogue, text).eval()
        with pytest.raises(ValueError, match="reads text: give the tokens of items from outside"):
            tower.outside(1)
        inside = tower.facts(catalogue, torch.tensor([3]))
        outside = tower.outside(
            1, inside.category_E, inside.source_E, inside.tags_EM, None, inside.tokens_ET, inside.mask_ET
        )
        torch.testing.assert_close(tower(outside).vectors_ED, tower(inside).vectors_ED)
