from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix.sanity import CHECKS, check
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

Rows = dict[str, list[dict[str, Any]]]
NUM_ITEMS = 6
"""Items 0 to 3 are of beer, 4 and 5 of ai; item i was created at second 10 i."""


def impression(**changes: Any) -> dict[str, Any]:
    return {
        "impression_id": "i0",
        "user_id": f"u{7:016x}",
        "time": 60,
        "history": [0, 1],
        "feedback": None,
        "candidates": [2, 3],
        "labels": [0, 1],
    } | changes


def sound() -> Rows:
    """Two communities in two splits; ai's train ends after beer's dev begins, which is fine."""
    ai = {"candidates": [5, 4], "history": [], "user_id": f"u{8:016x}"}
    return {
        "train": [impression(), impression(impression_id="i1", time=90, **ai)],
        "dev": [impression(impression_id="i2", time=70, feedback=[1, -1]), impression(time=90, **ai)],
    }


def prepared(folder: Path, rows: Rows, community: bool = True) -> PreparedData:
    text = {name: [""] * NUM_ITEMS for name in ("title", "abstract", "body", "category", "subcategory", "entities")}
    dates = pa.array(10 * np.arange(NUM_ITEMS), pa.timestamp("s"))
    items = {"item_id": [str(i) for i in range(NUM_ITEMS)]} | text
    items |= {"created": dates, "has_text": [True] * NUM_ITEMS}
    items |= {"community": ["beer"] * 4 + ["ai"] * 2} if community else {}
    lists = {"history": pa.int32(), "feedback": pa.int8(), "candidates": pa.int32(), "labels": pa.int8()}
    with DatasetWriter(folder / "x", "x") as writer:
        writer.write_items(pa.table(items))
        for split, some in rows.items():
            columns = {name: [row[name] for row in some] for name in impression()}
            columns |= {name: pa.array(columns[name], pa.list_(kind)) for name, kind in lists.items()}
            columns["time"] = pa.array(columns["time"], pa.timestamp("s"))
            writer.write_impressions(split, pa.table(columns))
    return open_prepared(folder / "x")


def test_a_sound_mix_is_counted(tmp_path: Path) -> None:
    found = check(prepared(tmp_path, sound()))
    assert (found.impressions, found.candidates, found.history_slots) == (4, 8, 4)
    assert (found.disliked_slots, found.empty_histories, found.users) == (1, 2, 2)
    assert found.checks == list(CHECKS.values())


def change(split: str, place: int, **fields: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[split][place].update(fields)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("rows", change("dev", 0, candidates=[2, NUM_ITEMS])),
        ("rows", change("dev", 0, history=[-1, 1])),
        ("one_positive", change("train", 0, labels=[1, 1])),
        ("one_positive", change("train", 0, labels=[0, 0])),
        ("one_positive", change("train", 0, labels=None)),
        ("one_positive", change("train", 0, labels=[0, 1, 0])),
        ("one_positive", change("train", 0, candidates=[3, 3])),
        ("one_positive", change("train", 0, candidates=[3], labels=[1])),
        ("own_history", change("train", 0, history=[3])),
        ("no_engaged_negative", change("train", 0, history=[2])),
        ("visible", change("train", 0, time=29)),
        ("visible", change("train", 0, time=None)),
        ("one_community", change("train", 0, candidates=[4, 3])),
        ("feedback", change("train", 0, feedback=[1])),
        ("feedback", change("train", 0, feedback=[1, 0])),
        ("hashed", change("train", 0, user_id="1234567")),
        ("hashed", change("train", 0, user_id="jane.doe@example.org")),
        ("hashed", change("train", 0, user_id=f"u{7:016x} ")),
        ("in_time", change("dev", 0, time=59)),
    ],
)
def test_what_does_not_hold_is_said(tmp_path: Path, name: str, spoil: Callable[[Rows], None]) -> None:
    rows = sound()
    spoil(rows)
    with pytest.raises(ValueError) as error:
        check(prepared(tmp_path, rows))
    assert str(error.value).startswith(f"It does not hold that {CHECKS[name]}: ")


def test_the_first_impression_at_fault_is_named(tmp_path: Path) -> None:
    rows = sound()
    rows["dev"][0]["history"] = [3, 0]
    with pytest.raises(ValueError, match=r"see impression i2 of dev \(1 in the same file\)"):
        check(prepared(tmp_path, rows))


def test_a_candidate_at_the_very_second_of_its_creation_is_visible(tmp_path: Path) -> None:
    rows = sound()
    rows["train"][0]["time"] = 30
    assert check(prepared(tmp_path, rows)).impressions == 4


def test_splits_of_one_community_are_those_of_the_whole_without_the_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dev of 'x' begins in some community before"):
        check(prepared(tmp_path, sound(), community=False))


def test_a_third_split_is_held_against_both_before_it(tmp_path: Path) -> None:
    rows = sound() | {"test": [impression(time=75)]}
    assert check(prepared(tmp_path, rows)).impressions == 5
    rows["dev"] = rows["dev"][1:]
    rows["test"][0]["time"] = 59
    with pytest.raises(ValueError, match="test of 'x' begins"):
        check(prepared(tmp_path, rows))
