"""Joined data sets against their parts: nothing but rows and names may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.domains import domains, impression_domains
from tastelab.data.join import join
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.schema import ITEMS


def make(
    folder: Path, name: str, seed: int, splits: dict[str, int], labels: bool = True, **extras: list[Any]
) -> PreparedData:
    """Random impressions over ten items, within the halves of them."""
    rng = np.random.default_rng(seed)
    items: dict[str, Any] = {field.name: [f"{field.name} {row}" for row in range(10)] for field in ITEMS}
    items |= {"category": ["c"] * 10, "created": pa.nulls(10, pa.timestamp("s")), "has_text": [True] * 10} | extras
    if "near_duplicate" in items:
        items["near_duplicate"] = pa.array(items["near_duplicate"], pa.int32())
    with DatasetWriter(folder / name, name) as writer:
        writer.write_items(pa.table(items))
        for split, num in splits.items():
            half = rng.integers(0, 2, num)
            candidates = [(rng.permutation(5)[:3] + 5 * h).tolist() for h in half]
            history = [rng.integers(0, 10, rng.integers(0, 6)).tolist() for _ in range(num)]
            signs = [rng.choice([-1, 1], len(past)).tolist() if i % 2 else None for i, past in enumerate(history)]
            columns = {
                "impression_id": [str(i) for i in range(num)],
                "user_id": [f"U{i % 3}" for i in range(num)],
                "time": pa.array(rng.integers(0, 10**9, num), pa.timestamp("s")),
                "history": pa.array(history, pa.list_(pa.int32())),
                "feedback": pa.array(signs, pa.list_(pa.int8())),
                "candidates": pa.array(candidates, pa.list_(pa.int32())),
                "labels": pa.array([[1, 0, 0] if labels else None] * num, pa.list_(pa.int8())),
            }
            writer.write_impressions(split, pa.table(columns))
    return open_prepared(folder / name)


HALVES = ["music"] * 5 + ["chess"] * 5


@pytest.fixture
def parts(tmp_path: Path) -> list[PreparedData]:
    marks = [None] * 6 + [0, 0, None, 6]
    return [
        make(tmp_path, "b", 1, {"train": 30, "dev": 9}, community=HALVES, near_duplicate=marks),
        make(tmp_path, "a", 2, {"train": 20, "test": 4}),
        make(tmp_path, "c", 3, {"dev": 7}, community=["one"] * 10),
    ]


def in_names(data: PreparedData, split: str) -> list[dict[str, Any]]:
    """Impressions with the ids of their items instead of rows, and without their own row."""
    ids = data.items(["item_id"])["item_id"].to_pylist()
    rows = data.impressions(split).drop_columns(["row"]).to_pylist()
    return [row | {name: [ids[i] for i in row[name]] for name in ("history", "candidates")} for row in rows]


def test_parts_come_back_out_of_the_joined_tables(parts: list[PreparedData], tmp_path: Path) -> None:
    joined = join(parts, tmp_path / "joined", "all of them")
    assert (joined.name, joined.num_items, set(joined.splits)) == ("all of them", 30, {"train", "dev", "test"})
    by_name = sorted(parts, key=lambda part: part.name)
    for split in joined.splits:
        expected = []
        for part in by_name:
            for row in in_names(part, split) if split in part.splits else []:
                named = {key: f"{part.name}:{row[key]}" for key in ("impression_id", "user_id")}
                named |= {key: [f"{part.name}:{item}" for item in row[key]] for key in ("history", "candidates")}
                expected.append(row | named)
        assert in_names(joined, split) == expected
        assert joined.impressions(split, ["row"])["row"].to_pylist() == list(range(len(expected)))
    texts = [name for name in ITEMS.names if name != "item_id"]
    assert joined.items(texts).to_pylist() == [row for part in by_name for row in part.items(texts).to_pylist()]


def test_communities_and_marks_of_the_parts(parts: list[PreparedData], tmp_path: Path) -> None:
    items = join(parts, tmp_path / "joined", "joined").items(["community", "near_duplicate"]).to_pydict()
    assert items["community"] == ["a"] * 10 + ["b/music"] * 5 + ["b/chess"] * 5 + ["c"] * 10
    assert items["near_duplicate"] == [None] * 10 + [None] * 6 + [10, 10, None, 16] + [None] * 10


def test_impressions_keep_their_domains(parts: list[PreparedData], tmp_path: Path) -> None:
    joined = join(parts, tmp_path / "joined", "joined")
    found = [domains(joined)[code] for code in impression_domains(joined, "train")]
    halves = [f"b/{domains(parts[0])[code]}" for code in impression_domains(parts[0], "train")]
    assert found == ["a"] * 20 + halves
    assert set(domains(joined)) == {"a", "b/music", "b/chess", "c"}


def test_a_part_whose_categories_are_domains(parts: list[PreparedData], tmp_path: Path) -> None:
    part = make(tmp_path, "d", 4, {"train": 20}, category=HALVES)
    joined = join([part, parts[1]], tmp_path / "joined", "joined")
    assert joined.items(["community"])["community"].to_pylist() == ["a"] * 10 + ["d/music"] * 5 + ["d/chess"] * 5
    assert not joined.has_item_column("near_duplicate")


def test_items_without_a_community_stay_without(parts: list[PreparedData], tmp_path: Path) -> None:
    part = make(tmp_path, "d", 4, {"train": 20}, community=[*HALVES[:-1], ""])
    assert join([part, parts[1]], tmp_path / "joined", "j").items(["community"])["community"][-1].as_py() == ""


def test_the_order_of_the_parts_changes_nothing(parts: list[PreparedData], tmp_path: Path) -> None:
    forth, back = join(parts, tmp_path / "x", "n"), join(parts[::-1], tmp_path / "y", "n")
    assert forth.fingerprint == back.fingerprint
    assert [part["name"] for part in forth.meta["parts"]] == ["a", "b", "c"]
    assert join(parts[:2], tmp_path / "z", "n").fingerprint != forth.fingerprint


def test_unlabelled_impressions_do_not_join_labelled_ones(parts: list[PreparedData], tmp_path: Path) -> None:
    blind = make(tmp_path, "blind", 5, {"train": 3, "test": 6}, labels=False)
    joined = join([parts[1], blind], tmp_path / "joined", "joined")
    assert (joined.num_impressions("train"), joined.num_impressions("test")) == (20, 4)
    assert joined.meta["left_out"] == {"train": ["blind"], "test": ["blind"]}
    again = make(tmp_path, "blind too", 6, {"test": 2}, labels=False)
    assert join([blind, again], tmp_path / "both", "both").num_impressions("test") == 8


def test_what_cannot_be_joined_is_told(parts: list[PreparedData], tmp_path: Path) -> None:
    for few in ([], parts[:1]):
        with pytest.raises(ValueError, match=f"takes two or more data sets, not {len(few)}"):
            join(few, tmp_path / "joined", "joined")
    with pytest.raises(ValueError, match=r"^'b' is the same data set twice: join different ones\.$"):
        join([*parts, parts[0]], tmp_path / "joined", "joined")
    (tmp_path / "copy").mkdir()
    copy = make(tmp_path / "copy", "copy of a", 2, {"train": 20, "test": 4})
    with pytest.raises(ValueError, match=r"^'a' and 'copy of a' is the same data set twice"):
        join([*parts, copy], tmp_path / "joined", "joined")


def test_different_data_sets_of_one_name_are_told_apart(parts: list[PreparedData], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other", "a", 9, {"train": 4})
    joined = join([parts[1], other], tmp_path / "joined", "joined")
    assert set(domains(joined)) == {f"a-{parts[1].fingerprint}", f"a-{other.fingerprint}"}
    assert len(set(joined.items(["item_id"])["item_id"].to_pylist())) == 20
