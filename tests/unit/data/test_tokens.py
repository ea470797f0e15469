"""Token stores: what the tokenizer says, item by item, written once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.config import Architecture, RunConfig, digest, replace_at
from tastelab.data import tokens
from tastelab.data.availability import take_away
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import (
    ItemTexts,
    TokenStore,
    build_store,
    check_features,
    join_features,
    open_store,
    separate_rows,
    store_path,
)
from tastelab.evaluation.encode import distinct_texts
from tastelab.modeling.encoders import load_tokenizer
from tastelab.schema import FEATURE_BREAK
from tastelab.training.job import reading_key


class Refusing:
    """A tokenizer that must not be asked."""

    sep_token = "[SEP]"

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise AssertionError("the items were tokenised again")


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> Any:
    return load_tokenizer(str(tiny_bert))


def text_of(item: dict[str, str], features: tuple[str, ...]) -> str:
    return " [SEP] ".join(item[name] for name in features if item[name])


@pytest.mark.parametrize("features", [("title",), ("title", "abstract"), ("category", "abstract", "body", "title")])
@pytest.mark.parametrize("max_tokens", [8, 64])
def test_a_store_holds_the_tokenizers_own_output(
    tiny_data: PreparedData,
    tokenizer: Any,
    tmp_path: Path,
    features: tuple[str, ...],
    max_tokens: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CHUNK", 25)
    store = build_store(tiny_data, ItemTexts(features, max_tokens), tmp_path / "store", tokenizer)
    texts = [text_of(item, features) for item in tiny_data.items().to_pylist()]
    expected = [tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"] for text in texts]
    assert store.lengths.tolist() == [len(ids) for ids in expected]
    assert store.lengths.max() <= max_tokens
    items = np.array([59, 3, 7, 3, 0, *range(60)])
    tokens_UT, mask_UT = store.gather(items)
    assert [row[mask].tolist() for row, mask in zip(tokens_UT, mask_UT, strict=True)] == [expected[i] for i in items]
    assert not tokens_UT[~mask_UT].any()
    assert tokens_UT.shape[1] == store.lengths.max()
    assert tokens_UT.dtype == np.int64


def test_gather_pads_to_the_longest_of_the_asked(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    store = build_store(tiny_data, ItemTexts(("title",), 64), tmp_path / "store", tokenizer)
    short = np.argsort(store.lengths)[:3]
    tokens_UT, mask_UT = store.gather(short)
    assert tokens_UT.shape == mask_UT.shape == (3, store.lengths[short].max())


def test_an_item_without_text_keeps_its_place(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    store = build_store(tiny_data, ItemTexts(("title", "abstract"), 64), tmp_path / "store", tokenizer)
    assert len(store.lengths) == tiny_data.num_items
    tokens_UT, mask_UT = store.gather(np.array([tiny_data.num_items - 1]))
    assert tokens_UT.tolist() == [[tokenizer.cls_token_id, tokenizer.sep_token_id]]
    assert mask_UT.all()


def test_features_are_joined_in_order_and_absent_ones_left_out() -> None:
    items = pa.table({"title": ["a", "", "c", ""], "abstract": ["x", "y", "", ""], "body": ["", "", "r", ""]})
    assert join_features(items, ("title",), "|").to_pylist() == ["a", "", "c", ""]
    assert join_features(items, ("title", "abstract"), "|").to_pylist() == ["a|x", "y", "c", ""]
    assert join_features(items, ("body", "abstract", "title"), " / ").to_pylist() == ["x / a", "y", "r / c", ""]


def test_a_finished_store_is_mapped_not_written_again(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    first = build_store(tiny_data, ItemTexts(("title",), 16), path, tokenizer)
    again = build_store(tiny_data, ItemTexts(("title",), 16), path, Refusing())
    for store in (again, open_store(path)):
        assert isinstance(store, TokenStore)
        assert np.array_equal(store.tokens, first.tokens)
        assert np.array_equal(store.offsets, first.offsets)
    assert sorted(file.name for file in path.iterdir()) == ["meta.json", "tokens.arrow"]
    with pytest.raises(AssertionError, match="tokenised again"):
        build_store(tiny_data, ItemTexts(("title",), 16), tmp_path / "other", Refusing())


def test_a_store_interrupted_half_way_is_no_store(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        build_store(tiny_data, ItemTexts(("title",), 16), tmp_path / "store", Refusing())
    assert not (tmp_path / "store").exists()
    assert len(build_store(tiny_data, ItemTexts(("title",), 16), tmp_path / "store", tokenizer).lengths) == 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_the_first_of_two_processes_to_finish_wins(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    """The store appears while another process tokenises: the later one gives way and maps it."""
    path = tmp_path / "store"

    class Late:
        sep_token = tokenizer.sep_token

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if not path.exists():
                build_store(tiny_data, ItemTexts(("title",), 16), tmp_path / "first", tokenizer).path.rename(path)
            return tokenizer(*args, **kwargs)

    store = build_store(tiny_data, ItemTexts(("title",), 16), path, Late())
    assert store.path == path
    assert len(store.lengths) == 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_the_place_of_a_store_depends_on_all_that_decides_it(tiny_data: PreparedData) -> None:
    title = ItemTexts(("title",), 16)
    path = store_path(tiny_data, title, "some/encoder v2", "abc")
    assert path.parent == tiny_data.path / "tokens"
    assert path.name.startswith("some_encoder_v2-title-")
    changes = [
        {"features": ("title", "body")},
        {"features": ("body", "title")},
        {"max_tokens": 17},
        {"missing": 0.25},
        {"missing": 0.5},
        {"title_words": 4},
        {"title_words": 16},
        {"separate": True},
    ]
    others = [
        store_path(tiny_data, dataclasses.replace(title, **change), "some/encoder v2", "abc") for change in changes
    ]
    assert len({path, store_path(tiny_data, title, "some/encoder v2", "abd"), *others}) == 10


def test_a_store_without_anything_new_keeps_the_name_it_had(tiny_data: PreparedData) -> None:
    key = digest([tiny_data.fingerprint, ["title", "abstract"], 16, "abc"])
    path = store_path(tiny_data, ItemTexts(("title", "abstract"), 16), "e", "abc")
    assert path.name == f"e-title+abstract-{key}"


def test_what_a_run_reads_is_in_its_configuration() -> None:
    changes = {"data.features": ("title", "body"), "data.max_tokens": 9, "data.missing": 0.5, "data.title_words": 3}
    config = replace_at(RunConfig(), changes)
    assert ItemTexts.of(config) == ItemTexts(("title", "body"), 9, 0.5, 3)
    by_features = replace_at(config, {"model.architecture": Architecture.named("feature_bi_encoder")})
    assert ItemTexts.of(by_features) == ItemTexts(("title", "body"), 9, 0.5, 3, separate=True)
    keys = {reading_key(each) for each in (config, by_features, RunConfig(), replace_at(config, {"data.missing": 0.4}))}
    assert len(keys) == 4
    assert reading_key(replace_at(config, {"optim.learning_rate": 0.1})) in keys


def test_texts_are_read_as_far_as_they_are_there(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    texts = ItemTexts(("title", "abstract"), 64, missing=0.5, title_words=1)
    store = build_store(tiny_data, texts, tmp_path / "store", tokenizer)
    items = take_away(tiny_data.items(), 0.5, 1).to_pylist()
    assert sum(item["title"] != "" for item in items) in range(15, 45)
    expected = [tokenizer(text_of(item, texts.features))["input_ids"] for item in items]
    assert [row.tolist() for row in np.split(store.tokens, store.offsets[1:-1])] == expected


FEATURES = ("title", "abstract", "category")


def apart(item: dict[str, str], features: tuple[str, ...], tokenizer: Any, max_tokens: int) -> list[int]:
    """The row of an item, feature by feature."""
    row: list[int] = []
    for number, name in enumerate(features):
        row += [FEATURE_BREAK] * (number > 0)
        row += tokenizer(item[name], truncation=True, max_length=max_tokens)["input_ids"] if item[name] else []
    return row


@pytest.mark.parametrize("features", [("title",), ("title", "abstract"), FEATURES])
def test_features_that_are_read_apart_have_breaks_between_them(
    tiny_data: PreparedData,
    tokenizer: Any,
    tmp_path: Path,
    features: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CHUNK", 25)
    texts = ItemTexts(features, 8, separate=True)
    store = build_store(tiny_data, texts, tmp_path / "store", tokenizer)
    expected = [apart(item, features, tokenizer, 8) for item in tiny_data.items().to_pylist()]
    tokens_UT, mask_UT = store.gather(np.arange(60))
    assert [row[mask].tolist() for row, mask in zip(tokens_UT, mask_UT, strict=True)] == expected
    assert ((tokens_UT == FEATURE_BREAK).sum(axis=1) == len(features) - 1).all()
    assert expected[59] == [FEATURE_BREAK] * (len(features) - 1), "an item without any text"
    assert expected[7][:1] == [FEATURE_BREAK][: len(features) - 1], "an item without a title"


def test_equal_texts_are_found_among_features_that_are_read_apart(tiny_bert: Path, tmp_path: Path) -> None:
    """The same words under another feature are another text; equal features are the same one."""
    rows = separate_rows([("ab", "c"), ("", "ab"), ("ab", "c"), ("ab", "")], load_tokenizer(str(tiny_bert)), 8)
    store = TokenStore(np.concatenate(rows).astype(np.int32), np.cumsum([0, *map(len, rows)]), tmp_path)
    first, copies = distinct_texts(store, np.arange(4))
    assert len(first) == 3
    assert copies[0] == copies[2]
    assert len(set(copies.tolist())) == 3


def test_nothing_to_tokenise_asks_no_tokenizer() -> None:
    assert separate_rows([("", ""), ("", "")], Refusing(), 8) == [[FEATURE_BREAK]] * 2
    assert separate_rows([("",), ("",)], Refusing(), 8) == [[], []]


def test_wrong_ways_of_reading_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown text feature headline"):
        ItemTexts(("headline",), 8)
    with pytest.raises(ValueError, match=r"missing is 1\.5"):
        ItemTexts(("title",), 8, missing=1.5)
    with pytest.raises(ValueError, match="title_words is 0"):
        ItemTexts(("title",), 8, title_words=0)


def test_wrong_features_list_the_right_ones() -> None:
    with pytest.raises(ValueError, match="Unknown text feature titel, url: choose among title, abstract, body"):
        check_features(["titel", "title", "url"])
    with pytest.raises(ValueError, match="No text feature is chosen: choose among title"):
        check_features([])
