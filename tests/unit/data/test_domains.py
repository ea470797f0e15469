"""Which domain an impression belongs to, by every rule, against hand-made tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data import tables
from tastelab.data.domains import domains, impression_domains, rows_of
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

Rows = list[tuple[list[int], list[int] | None]]
"""Candidates and labels of each impression."""


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def write(items: dict[str, list[str]], splits: dict[str, Rows], name: str = "toy") -> PreparedData:
        num_items = len(next(iter(items.values())))
        texts = {
            name: [""] * num_items for name in ("title", "abstract", "body", "category", "subcategory", "entities")
        }
        columns: dict[str, Any] = {"item_id": [f"i{row}" for row in range(num_items)]} | texts | items
        columns |= {"created": pa.nulls(num_items, pa.timestamp("s")), "has_text": [True] * num_items}
        with DatasetWriter(tmp_path / name, name) as writer:
            writer.write_items(pa.table(columns))
            for split, rows in splits.items():
                writer.write_impressions(split, impressions(rows))
        return open_prepared(tmp_path / name)

    return write


def impressions(rows: Rows) -> pa.Table:
    return pa.table(
        {
            "impression_id": [str(row) for row in range(len(rows))],
            "user_id": pa.array(["u"] * len(rows), pa.string()),
            "time": pa.nulls(len(rows), pa.timestamp("s")),
            "history": pa.array([[]] * len(rows), pa.list_(pa.int32())),
            "feedback": pa.nulls(len(rows), pa.list_(pa.int8())),
            "candidates": pa.array([candidates for candidates, _ in rows], pa.list_(pa.int32())),
            "labels": pa.array([labels for _, labels in rows], pa.list_(pa.int8())),
        }
    )


COMMUNITIES = {"community": ["music", "music", "chess", "chess", "dogs", "", "empty"]}


def test_communities_are_named_by_their_train_impressions(make: Any) -> None:
    train: Rows = [([0, 1], [1, 0]), ([2, 3], [0, 1]), ([3, 2], [0, 1])]
    data = make(COMMUNITIES, {"train": train, "dev": [([4], [1]), ([0], [1])]})
    assert domains(data) == ("chess", "music", "dogs")  # `empty` has items and no impression
    assert impression_domains(data, "train").tolist() == [1, 0, 0]
    assert impression_domains(data, "dev").tolist() == [2, 1]
    assert impression_domains(data, "dev").dtype == np.int64


def test_ties_are_ordered_by_name(make: Any) -> None:
    assert domains(make(COMMUNITIES, {"train": [([4], [1]), ([2], [1]), ([0], [1])]})) == ("chess", "dogs", "music")


def test_mixed_candidates_go_to_their_positive(make: Any) -> None:
    rows: Rows = [
        ([0, 2], [0, 1]),  # the positive is of chess
        ([2, 0, 1], [0, 1, 1]),  # both positives are of music
        ([0, 2, 4], [1, 1, 0]),  # the positives differ
        ([0, 2], [0, 0]),  # none
        ([0, 2], None),  # unknown
        ([], []),
        ([5, 5], [1, 0]),  # an item without a community
        ([5, 4], [0, 1]),
        ([4, 4], None),
    ]
    data = make(COMMUNITIES, {"train": rows})
    assert domains(data) == ("dogs", "chess", "music")
    assert impression_domains(data, "train").tolist() == [1, 2, -1, -1, -1, -1, -1, 0, 0]


def test_categories_are_domains_where_no_impression_mixes_them(make: Any) -> None:
    items = {"category": ["a", "a", "b", "b"]}
    assert domains(make(items, {"train": [([0, 1], [1, 0]), ([2, 3], [1, 0])], "dev": [([3, 2], [1, 0])]})) == (
        "a",
        "b",
    )
    mixed = make(items, {"train": [([0, 1], [1, 0])], "dev": [([2, 3], [1, 0]), ([1, 2], [1, 0])]}, "mixed")
    assert domains(mixed) == ("mixed",)
    assert impression_domains(mixed, "dev").tolist() == [0, 0]


def test_one_category_or_an_item_without_one_make_one_domain(make: Any) -> None:
    assert domains(make({"category": ["a", "a"]}, {"train": [([0, 1], [1, 0])]}, "one")) == ("one",)
    assert domains(make({"category": ["a", "b", ""]}, {"train": [([0], [1]), ([2], [1])]}, "gap")) == ("gap",)


def test_communities_win_over_categories(make: Any) -> None:
    items = {"category": ["a", "b"], "community": ["x", "x"]}
    assert domains(make(items, {"train": [([0], [1]), ([1], [1])]})) == ("x",)


def test_rows_are_sorted_and_follow_the_names(make: Any) -> None:
    data = make(COMMUNITIES, {"train": [([0], [1]), ([2], [1]), ([4], [1]), ([3], [1]), ([0, 2], [0, 0])]})
    assert rows_of(data, "train", ["chess"]).tolist() == [1, 3]
    assert rows_of(data, "train", ["dogs", "chess"]).tolist() == [1, 2, 3]
    assert rows_of(data, "train", domains(data)).tolist() == [0, 1, 2, 3]
    assert rows_of(data, "train", []).tolist() == []


def test_wrong_names_are_told_the_right_ones(make: Any) -> None:
    data = make(COMMUNITIES, {"train": [([0], [1]), ([2], [1])]})
    with pytest.raises(ValueError, match=r"^'toy' has no domain 'dog': choose among chess, music\.$"):
        rows_of(data, "train", ["chess", "dog"])
    with pytest.raises(ValueError, match="no split 'dev'"):
        impression_domains(data, "dev")


def test_files_are_read_one_after_the_other(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_FILE", 7)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 5, 40)
    data = make(COMMUNITIES, {"train": [([item, item], [0, 1]) for item in chosen.tolist()]})
    assert len(data.files("train")) == 6
    found = [domains(data)[code] for code in impression_domains(data, "train")]
    assert found == [COMMUNITIES["community"][item] for item in chosen]


def test_what_is_cached_cannot_be_changed_and_follows_the_content(make: Any) -> None:
    data = make(COMMUNITIES, {"train": [([0], [1])]})
    with pytest.raises(ValueError, match="read-only"):
        impression_domains(data, "train")[0] = 3
    again = make(COMMUNITIES, {"train": [([2], [1])]})
    assert (again.path, domains(again)) == (data.path, ("chess",))


def test_a_split_without_impressions(make: Any) -> None:
    data = make(COMMUNITIES, {"train": [], "dev": [([0], [1]), ([2], [1])]})
    assert domains(data) == ("chess", "music")
    assert impression_domains(data, "train").tolist() == []
