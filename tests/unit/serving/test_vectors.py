"""The cache of items: what is computed, under which key, and how much is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tastelab.config import Adaptation, Architecture, EncoderConfig, ModelConfig
from tastelab.modeling.encoders import load_tokenizer
from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Ranker, build_ranker
from tastelab.serving import vectors as module
from tastelab.serving.vectors import ITEM_BYTES, ItemCache, num_bytes

TEXTS = ["moon", "a red fox", "salt", "how to bake bread"]


@pytest.fixture(params=["bi_encoder", "colbert", "half_cross_encoder", "half_cross_encoder_colbert", "cross_encoder"])
def ranker(request: pytest.FixtureRequest, tiny_bert: Path) -> Ranker:
    parts = {"architecture": Architecture.named(request.param), "adaptation": Adaptation.named("frozen")}
    return build_ranker(ModelConfig(encoder=EncoderConfig("tiny-bert"), **parts), str(tiny_bert)).eval()


@pytest.fixture
def asked(ranker: Ranker, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[bool]]]:
    """Lengths of the texts of each call that represented some, and which of them were wanted alone."""
    seen: list[tuple[list[int], list[bool]]] = []
    represent = ranker.represent

    def watched(ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor) -> Items:
        assert ids_U.eq(-1).all(), "a text from outside is no item of the data set"
        seen.append((mask_UT.sum(dim=1).tolist(), wanted_U.tolist()))
        return represent(ids_U, tokens_UT, mask_UT, wanted_U)

    monkeypatch.setattr(ranker, "represent", watched)
    return seen


@pytest.fixture
def cache(ranker: Ranker, tiny_bert: Path) -> ItemCache:
    return ItemCache(ranker, load_tokenizer(str(tiny_bert)), max_tokens=12, megabytes=1)


@torch.inference_mode()
def alone(ranker: Ranker, tiny_bert: Path, text: str) -> Items:
    rows = load_tokenizer(str(tiny_bert))(text, truncation=True, max_length=12, return_tensors="pt")
    mask_UT = rows["attention_mask"].bool()
    return ranker.represent(torch.tensor([-1]), rows["input_ids"], mask_UT, torch.tensor([True]))


def assert_same(ours: Items, theirs: Items) -> None:
    for name, value in vars(theirs).items():
        found = getattr(ours, name)
        assert (found is None) == (value is None), name
        if value is not None:
            torch.testing.assert_close(found, value, rtol=0, atol=1e-5, msg=name)


def test_texts_come_in_the_order_asked_for_each_as_it_is_alone(
    cache: ItemCache, ranker: Ranker, tiny_bert: Path, asked: list[Any]
) -> None:
    items = cache.fetch(TEXTS, set(TEXTS))
    assert_same(items, Items.concatenate([alone(ranker, tiny_bert, text) for text in TEXTS]))
    assert asked[0] == ([12, 9, 6, 6], [True] * 4), "longest first, cut at 12 tokens"
    turned = cache.fetch(TEXTS[::-1], set(TEXTS))
    assert_same(turned, items.select(torch.tensor([3, 2, 1, 0])))


def test_a_text_is_kept_as_what_is_needed_of_it(cache: ItemCache, ranker: Ranker, asked: list[Any]) -> None:
    """Where histories are joined, a click has no vector until it is a candidate."""
    cache.fetch(["moon", "salt"], {"salt"})
    keys = [("moon", ranker.item_vectors == "all"), ("salt", True)]
    assert list(cache._items) == keys
    cache.fetch(["moon", "salt"], {"salt"})
    before = len(asked)
    cache.fetch(["moon"], {"moon"})
    if ranker.item_vectors == "all":
        assert len(asked) == before
        assert len(cache) == 2
    else:
        assert asked[-1] == ([6], [True])
        assert list(cache._items) == [*keys, ("moon", True)]


def test_the_cache_is_bounded_and_forgets_what_was_asked_for_longest_ago(
    ranker: Ranker, tiny_bert: Path, asked: list[Any]
) -> None:
    sizes = {text: num_bytes(alone(ranker, tiny_bert, text)) for text in TEXTS}
    room = (sizes["salt"] + sizes["how to bake bread"]) / 2**20
    small = ItemCache(ranker, load_tokenizer(str(tiny_bert)), max_tokens=12, megabytes=room)
    assert len(small.fetch(TEXTS, set(TEXTS))) == 4, "a request larger than the cache is served all the same"
    assert [text for text, _ in small._items] == TEXTS[2:]
    assert small.num_bytes == room * 2**20
    small.fetch(["salt"], {"salt"})
    small.fetch(["moon"], {"moon"})
    assert [text for text, _ in small._items] == ["salt", "moon"]
    assert small.num_bytes == sizes["salt"] + sizes["moon"]
    before = len(asked)
    small.fetch(["moon", "salt"], {"moon", "salt"})
    assert len(asked) == before
    nothing = ItemCache(ranker, load_tokenizer(str(tiny_bert)), max_tokens=12, megabytes=0)
    assert len(nothing.fetch(["moon"], {"moon"})) == 1
    assert len(nothing) == nothing.num_bytes == 0


def test_an_item_takes_its_numbers_and_what_holds_them(ranker: Ranker, tiny_bert: Path) -> None:
    item = alone(ranker, tiny_bert, "how to bake bread")
    kept = [value for value in (item.vectors_UD, item.token_vectors_MD) if value is not None]
    expected = 8 + 12 * (8 + 1) + sum(4 * value.numel() for value in kept)
    expected += 8 if item.num_tokens_U is not None else 0
    assert num_bytes(item) == ITEM_BYTES + expected


def test_what_is_kept_of_a_text_keeps_no_other_text_alive(cache: ItemCache) -> None:
    cache.fetch(TEXTS, set(TEXTS))
    for item in cache._items.values():
        for name, value in vars(item).items():
            if value is not None:
                whole_call = len(TEXTS) * value.numel() * value.element_size()
                assert value.untyped_storage().nbytes() < whole_call or not whole_call, name


def test_many_texts_are_represented_call_by_call(
    cache: ItemCache, ranker: Ranker, tiny_bert: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ITEMS_PER_CALL", 3)
    items = cache.fetch(TEXTS, set(TEXTS))
    assert [len(lengths) for lengths, _ in asked] == [3, 1]
    assert_same(items, Items.concatenate([alone(ranker, tiny_bert, text) for text in TEXTS]))
