"""What is taken away from texts: who lacks what, nested and the same everywhere; words of titles."""

from __future__ import annotations

import subprocess
import sys
from hashlib import blake2b
from math import nan
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import tastelab
from tastelab.data.availability import check_availability, draws, first_words, take_away
from tastelab.data.tables import PreparedData

NAMES = [f"item {number}" for number in range(4_000)]


def items(names: list[str] = NAMES) -> pa.Table:
    texts = {name: [f"{name} of {item}" for item in names] for name in ("title", "abstract", "category")}
    return pa.table({"item_id": names, **texts, "has_text": [True] * len(names)})


def absent(table: pa.Table, name: str) -> set[str]:
    return {item for item, text in zip(table["item_id"].to_pylist(), table[name].to_pylist(), strict=True) if not text}


def test_the_share_of_each_feature_is_missing_independently() -> None:
    taken = take_away(items(), 0.25)
    lacking = {name: absent(taken, name) for name in ("title", "abstract", "category")}
    for found in lacking.values():
        assert len(found) == pytest.approx(1_000, abs=110)  # 4 standard deviations
    assert len(lacking["title"] & lacking["abstract"]) == pytest.approx(250, abs=62)
    assert taken["has_text"].to_pylist() == [True] * 4_000
    assert taken.schema == items().schema


def test_what_is_missing_at_a_share_is_missing_at_every_greater_one() -> None:
    before: set[str] = set()
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        found = absent(take_away(items(), share), "title")
        assert before < found or not share
        before = found
    assert before == set(NAMES)


def test_a_draw_is_the_hash_of_item_and_feature() -> None:
    hashed = blake2b(b"item 3", digest_size=8, person=b"title").digest()
    assert draws(["item 3"], "title")[0] == pytest.approx(int.from_bytes(hashed, "big") / 2**64, abs=1e-15)
    assert draws(["item 3"], "abstract")[0] != draws(["item 3"], "title")[0]
    assert draws(NAMES, "title").max() < 1


def test_an_item_lacks_the_same_in_another_data_set() -> None:
    some = NAMES[::-7]
    assert absent(take_away(items(some), 0.5), "abstract") == absent(take_away(items(), 0.5), "abstract") & set(some)


def test_another_process_draws_the_same() -> None:
    code = "from tastelab.data.availability import draws; print(draws(['item 0', 'Ω'], 'body').tolist())"
    place = str(Path(tastelab.__file__).parents[1])
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": place, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str(draws(["item 0", "Ω"], "body").tolist())


def test_titles_keep_their_first_words_alone() -> None:
    titles = ["one two  three four", " lead in ", "", "שלום עולם טוב", "one\ttwo\nthree", "ONE"]
    table = pa.table({"item_id": list("abcdef"), "title": titles, "abstract": ["x y z"] * 6})
    taken = take_away(table, title_words=2)
    assert taken["title"].to_pylist() == ["one two", " lead in ", "", "שלום עולם", "one two", "ONE"]
    assert taken["abstract"].to_pylist() == ["x y z"] * 6
    assert first_words(pa.chunked_array([["a b"], ["c d"]]), 1).to_pylist() == ["a", "c"]
    assert first_words(pa.chunked_array([titles]), 5_000).to_pylist() == titles


def test_nothing_asked_changes_nothing(tiny_data: PreparedData) -> None:
    table = tiny_data.items()
    assert take_away(table) is table
    assert take_away(table, 0, 99).equals(table)
    assert take_away(table.select(["item_id", "created"]), 1.0, 1).equals(table.select(["item_id", "created"]))


def test_all_and_both_can_be_taken(tiny_data: PreparedData) -> None:
    nothing = take_away(tiny_data.items(), 1.0, 1)
    assert not any(np.char.str_len(nothing[name].to_pylist()).sum() for name in ("title", "abstract", "category"))
    assert nothing["item_id"].equals(tiny_data.items()["item_id"])


@pytest.mark.parametrize("share", [-0.1, 1.01, nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"missing is {share}: choose the share of items that lack each feature"):
        check_availability(share, None)
    with pytest.raises(ValueError, match="from 0 to 1"):
        take_away(items(), share)


@pytest.mark.parametrize("words", [0, -3])
def test_titles_without_a_word_are_refused(words: int) -> None:
    with pytest.raises(ValueError, match=rf"title_words is {words}: keep at least 1 word of each title"):
        take_away(items(), title_words=words)
