"""Codes of item facts, absent ones included, and clusters in place of categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data import tables
from tastelab.data.item_codes import catalogue, clusters_as_categories, item_tags
from tastelab.data.tables import PreparedData, open_prepared


def prepared(folder: Path, num_items: int = 4, **columns: list[str]) -> PreparedData:
    names = ("title", "abstract", "body", "category", "subcategory", "entities")
    facts = {name: [""] * num_items for name in names} | columns
    facts |= {"created": pa.nulls(num_items, pa.timestamp("s")), "has_text": [True] * num_items}
    with tables.DatasetWriter(folder / "items", "items") as writer:
        writer.write_items(pa.table({"item_id": [f"N{row}" for row in range(num_items)]} | facts))
    return open_prepared(folder / "items")


def test_a_half_empty_category_leaves_minus_one(tmp_path: Path) -> None:
    data = prepared(tmp_path, category=["b", "", "a", "b"], community=["", "x", "x", ""])
    found = catalogue(data, np.array([True, False, False, True]))
    assert found.category_N.tolist() == [0, -1, 1, 0] and found.num_categories == 2
    assert found.source_N.tolist() == [-1, 0, 0, -1] and found.num_sources == 1
    assert found.known_N.tolist() == [True, False, False, True] and found.num_items == 4
    assert found.text_NF is None and found.tokens_NT is None and found.lengths_N is None


def test_absent_columns_have_no_codes(tmp_path: Path) -> None:
    found = catalogue(prepared(tmp_path), np.zeros(4, np.bool_))
    assert found.category_N.tolist() == found.source_N.tolist() == [-1] * 4
    assert (found.num_categories, found.num_sources, found.num_tags) == (0, 0, 0)
    assert found.tags_NM.shape == (4, 0)


def test_tags_are_distinct_and_capped_the_subcategory_first(tmp_path: Path) -> None:
    data = prepared(tmp_path, subcategory=["s", "", "t, s", ""], entities=["p,q , p,,r", "q", "s,u", " , "])
    tags_NM, num_tags = item_tags(data, max_tags=3)
    names = {"s": tags_NM[0, 0], "p": tags_NM[0, 1], "q": tags_NM[0, 2], "t": tags_NM[2, 0], "u": tags_NM[2, 2]}
    assert sorted(names.values()) == list(range(5)) and num_tags == 5  # "r" is beyond the cap: no code
    assert tags_NM[1].tolist() == [names["q"], -1, -1]
    assert tags_NM[2].tolist() == [names["t"], names["s"], names["u"]]
    assert tags_NM[3].tolist() == [-1, -1, -1]
    assert item_tags(data)[0].shape == (4, 4)


def test_given_arrays_go_in_and_must_fit(tmp_path: Path) -> None:
    data = prepared(tmp_path, category=["a"] * 4)
    clicked = np.ones(4, np.bool_)
    text = np.eye(4, dtype=np.float16)
    tokens, lengths = np.ones((4, 3), np.int32), np.array([3, 1, 2, 3])
    found = catalogue(data, clicked, text, tokens, lengths, category_N=np.array([2, -1, 0, 2]))
    assert found.category_N.tolist() == [2, -1, 0, 2] and found.num_categories == 3
    assert found.text_NF is not None and found.text_NF.numpy().dtype == np.float16
    assert found.tokens_NT is not None and found.tokens_NT.shape == (4, 3)
    assert found.lengths_N is not None and found.lengths_N.tolist() == [3, 1, 2, 3]
    with pytest.raises(ValueError, match="text_NF has 3 rows for 4 items: give one row for each item"):
        catalogue(data, clicked, text[:3])


def test_clusters_find_what_is_apart_and_repeat_by_seed() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(16)[:5]
    text_NF = np.repeat(centres, 20, axis=0) + 0.02 * rng.normal(size=(100, 16))
    text_NF /= np.linalg.norm(text_NF, axis=1, keepdims=True)
    text_NF[50] = 0
    codes_N = clusters_as_categories(text_NF, 5, seed=1)
    assert codes_N[50] == -1
    of_centre = [
        set(np.delete(codes_N, 50)[np.delete(np.repeat(np.arange(5), 20), 50) == c].tolist()) for c in range(5)
    ]
    assert len(set().union(*of_centre)) == sum(map(len, of_centre))  # no cluster holds items of two centres
    assert np.array_equal(codes_N, clusters_as_categories(text_NF, 5, seed=1))
    assert set(clusters_as_categories(np.eye(16, dtype=np.float16)[:5], 5, seed=1).tolist()) == set(range(5))


def test_clusters_of_nothing_are_refused() -> None:
    text_NF = np.eye(4)
    with pytest.raises(ValueError, match="5 clusters of 4 items with text: use from 1 to 4"):
        clusters_as_categories(text_NF, 5, 0)
    text_NF[2, 1] = np.nan
    with pytest.raises(ValueError, match="A text vector is not finite"):
        clusters_as_categories(text_NF, 2, 0)
