"""Words as tokens: which runs of text are words, in which order, and the folder that holds them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data import tokens
from tastelab.data.availability import draws
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.data.tokens import ItemTexts, build_store
from tastelab.data.words import build_vocabulary, count_words, load_words, prepare_words
from tastelab.schema import ITEMS

TITLE = ItemTexts(("title",), 4)


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., PreparedData]:
    """Function that prepares a data set of the given titles, without impressions."""

    def prepare(*titles: str, **columns: list[str]) -> PreparedData:
        count = len(titles)
        absent = {name: [""] * count for name in ITEMS.names if name not in ("created", "has_text")}
        dates = {"created": pa.nulls(count, pa.timestamp("s")), "has_text": [True] * count}
        names = {"item_id": [str(i) for i in range(count)], "title": list(titles)}
        with DatasetWriter(tmp_path / "words", "words") as writer:
            writer.write_items(pa.table(absent | dates | names | columns))
        return open_prepared(tmp_path / "words")

    return prepare


def vocabulary(tokenizer: Any) -> list[str]:
    known = tokenizer.get_vocab()
    return sorted(known, key=known.__getitem__)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Cat, the CAT!", ["the", "cat", ",", "the", "cat", "!"]),
        ("don't stop: 3.5% (now)", ["don", "t", "stop", "3", ".", "5", "now"]),
        ("Cafe\u0301 – ÉTÉ", ["café", "été"]),
        ("snake_case\tline\nbreak", ["snake_case", "line", "break"]),
        ("🎉🎉 … –", []),
        ("", []),
        ("[PAD] [UNK]", ["pad", "unk"]),
    ],
)
def test_words_are_runs_of_letters_and_marks(text: str, words: list[str]) -> None:
    assert list(count_words([text]).elements()) == list(Counter(words).elements())
    tokenizer = build_vocabulary([text])
    if not text.startswith("["):
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == words


def test_the_order_is_frequency_then_spelling() -> None:
    texts = ["b a c", "c d", "d c"]
    expected = ["[PAD]", "[UNK]", "c", "d", "a", "b"]
    assert vocabulary(build_vocabulary(texts)) == vocabulary(build_vocabulary(texts[::-1])) == expected
    assert vocabulary(build_vocabulary(texts, min_count=2)) == expected[:4]
    assert vocabulary(build_vocabulary(texts, max_tokens=1)) == ["[PAD]", "[UNK]", "b", "c", "d"]
    rare = build_vocabulary(texts, min_count=2)
    assert rare("c a d")["input_ids"] == [2, 1, 3]


def test_a_vocabulary_holds_every_word_of_the_data(tiny_data: PreparedData) -> None:
    features = ("title", "abstract")
    folder, fingerprint = prepare_words(tiny_data, ItemTexts(features, 16))
    assert folder.parent == tiny_data.path / "tokens"
    assert re.fullmatch("[0-9a-f]{12}", fingerprint)
    assert {file.name for file in folder.iterdir()} >= {"tokenizer.json", "tokenizer_config.json", "words.json"}
    items = tiny_data.items(list(features)).to_pylist()
    expected = Counter(word for item in items for name in features for word in item[name].split())
    tokenizer = load_words(folder)
    assert vocabulary(tokenizer)[2:] == sorted(expected, key=lambda word: (-expected[word], word))
    store = build_store(tiny_data, ItemTexts(features, 16), folder / "store", tokenizer)
    texts = [" ".join(item[name] for name in features if item[name]).split() for item in items]
    assert store.lengths.tolist() == [len(words) for words in texts]
    for row, words in enumerate(texts):
        ids = store.tokens[store.offsets[row] : store.offsets[row + 1]]
        assert tokenizer.convert_ids_to_tokens(ids.tolist()) == words


def test_the_same_texts_have_the_same_fingerprint(prepared: Callable[..., PreparedData]) -> None:
    first = prepare_words(prepared("a b", "c"), TITLE)
    (first.folder / "mark").touch()
    assert prepare_words(prepared("a b", "c"), TITLE).fingerprint == first.fingerprint
    assert prepare_words(prepared("c", "b a"), TITLE).fingerprint == first.fingerprint, "the same vocabulary"
    assert prepare_words(prepared("a b", "d"), TITLE).fingerprint != first.fingerprint


def test_a_finished_folder_is_not_built_again(
    prepared: Callable[..., PreparedData], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared("a b", "c")
    first = prepare_words(data, TITLE)
    monkeypatch.setattr("tastelab.data.words.count_words", None)
    assert prepare_words(data, TITLE) == first
    assert [entry.name for entry in (data.path / "tokens").iterdir()] == [first.folder.name]


def test_given_vectors_lie_beside_the_vocabulary(prepared: Callable[..., PreparedData], tmp_path: Path) -> None:
    data, glove = prepared("a b", "c a"), tmp_path / "vectors.txt"
    glove.write_text("a 1 2 3\nc 4 5 6\nz 7 8 9\n")
    plain = prepare_words(data, TITLE)
    folder, fingerprint = prepare_words(data, TITLE, glove)
    vectors = np.load(folder / "vectors.npy")
    assert vocabulary(load_words(folder)) == ["[PAD]", "[UNK]", "a", "b", "c"]
    assert vectors[[2, 4]].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(vectors[[0, 1, 3]]).all()
    assert json.loads((folder / "tokenizer_config.json").read_text())["word_width"] == 3
    assert json.loads((folder / "words.json").read_text())["num_given"] == 2
    assert (folder, fingerprint) != plain
    assert fingerprint != plain.fingerprint
    glove.write_text("a 1 2 3\nc 4 5 7\nz 7 8 9 \n")
    changed = prepare_words(data, TITLE, glove)
    assert changed.folder != folder
    assert changed.fingerprint != fingerprint


def test_a_missing_file_of_vectors_leaves_nothing_behind(prepared: Callable[..., PreparedData], tmp_path: Path) -> None:
    data = prepared("a b")
    with pytest.raises(ValueError, match="cannot be read"):
        prepare_words(data, TITLE, tmp_path / "missing.txt")
    assert not (data.path / "tokens").exists()


def test_titles_without_a_word_have_no_token(
    prepared: Callable[..., PreparedData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole chunk of them, too, and an item with 5,000 characters beside them."""
    monkeypatch.setattr(tokens, "CHUNK", 2)
    data = prepared("", "🎉", "x" * 5_000, "a b", "…", "")
    words = prepare_words(data, TITLE)
    store = build_store(data, TITLE, words.folder / "store", load_words(words.folder))
    assert store.lengths.tolist() == [0, 0, 1, 2, 0, 0]
    tokens_UT, mask_UT = store.gather(np.array([0, 5]))
    assert not mask_UT.any()
    assert not tokens_UT.any()
    tokens_UT, mask_UT = store.gather(np.array([5, 3, 0]))
    assert mask_UT.tolist() == [[False, False], [True, True], [False, False]]
    assert load_words(words.folder).convert_ids_to_tokens(tokens_UT[1].tolist()) == ["a", "b"]


def test_words_that_a_study_takes_away_are_no_words(prepared: Callable[..., PreparedData]) -> None:
    data = prepared("a b c", "d e", *[f"w{i} x" for i in range(40)])
    cut = prepare_words(data, dataclasses.replace(TITLE, title_words=1))
    assert {"a", "d", "w0"} < set(vocabulary(load_words(cut.folder)))
    assert not {"b", "c", "e", "x"} & set(vocabulary(load_words(cut.folder)))
    half = prepare_words(data, dataclasses.replace(TITLE, missing=0.5))
    left = {word for word in vocabulary(load_words(half.folder)) if word.startswith("w")}
    assert left == {f"w{i}" for i, draw in enumerate(draws(map(str, range(2, 42)), "title")) if draw >= 0.5}
    assert len({cut.folder, half.folder, prepare_words(data, TITLE).folder}) == 3


def test_data_without_any_word_are_refused(prepared: Callable[..., PreparedData]) -> None:
    with pytest.raises(ValueError, match="No item of 'words' has a word in its title: choose other features"):
        prepare_words(prepared("", "🎉"), TITLE)


def test_an_unknown_feature_is_refused(prepared: Callable[..., PreparedData]) -> None:
    with pytest.raises(ValueError, match="Unknown text feature headline"):
        prepare_words(prepared("a"), ItemTexts(("headline",), 4))
