"""Token stores: what the tokenizer says, item by item, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data import tokens
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, build_store, check_features, join_features, open_store, store_path
from tastelab.modeling.encoders import load_tokenizer


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
    store = build_store(tiny_data, features, max_tokens, tmp_path / "store", tokenizer)
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
    store = build_store(tiny_data, ("title",), 64, tmp_path / "store", tokenizer)
    short = np.argsort(store.lengths)[:3]
    tokens_UT, mask_UT = store.gather(short)
    assert tokens_UT.shape == mask_UT.shape == (3, store.lengths[short].max())


def test_an_item_without_text_keeps_its_place(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    store = build_store(tiny_data, ("title", "abstract"), 64, tmp_path / "store", tokenizer)
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
    first = build_store(tiny_data, ("title",), 16, path, tokenizer)
    again = build_store(tiny_data, ("title",), 16, path, Refusing())
    for store in (again, open_store(path)):
        assert isinstance(store, TokenStore)
        assert np.array_equal(store.tokens, first.tokens)
        assert np.array_equal(store.offsets, first.offsets)
    assert sorted(file.name for file in path.iterdir()) == ["meta.json", "tokens.arrow"]
    with pytest.raises(AssertionError, match="tokenised again"):
        build_store(tiny_data, ("title",), 16, tmp_path / "other", Refusing())


def test_a_store_interrupted_half_way_is_no_store(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        build_store(tiny_data, ("title",), 16, tmp_path / "store", Refusing())
    assert not (tmp_path / "store").exists()
    assert len(build_store(tiny_data, ("title",), 16, tmp_path / "store", tokenizer).lengths) == 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_the_first_of_two_processes_to_finish_wins(tiny_data: PreparedData, tokenizer: Any, tmp_path: Path) -> None:
    """The store appears while another process tokenises: the later one gives way and maps it."""
    path = tmp_path / "store"

    class Late:
        sep_token = tokenizer.sep_token

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if not path.exists():
                build_store(tiny_data, ("title",), 16, tmp_path / "first", tokenizer).path.rename(path)
            return tokenizer(*args, **kwargs)

    store = build_store(tiny_data, ("title",), 16, path, Late())
    assert store.path == path
    assert len(store.lengths) == 60
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_the_place_of_a_store_depends_on_all_that_decides_it(tiny_data: PreparedData) -> None:
    asked = (("title",), 16, "some/encoder v2", "abc")
    path = store_path(tiny_data, *asked)
    assert path.parent == tiny_data.path / "tokens"
    assert path.name.startswith("some_encoder_v2-title-")
    others = [
        (("title", "body"), 16, "some/encoder v2", "abc"),
        (("title",), 17, "some/encoder v2", "abc"),
        (("title",), 16, "some/encoder v2", "abd"),
    ]
    assert len({path, *(store_path(tiny_data, *other) for other in others)}) == 4
    assert store_path(tiny_data, ("a", "b"), 16, "e", "f") != store_path(tiny_data, ("b", "a"), 16, "e", "f")


def test_wrong_features_list_the_right_ones() -> None:
    with pytest.raises(ValueError, match="Unknown text feature titel, url: choose among title, abstract, body"):
        check_features(["titel", "title", "url"])
    with pytest.raises(ValueError, match="No text feature is chosen: choose among title"):
        check_features([])
