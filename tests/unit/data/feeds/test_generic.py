"""The generic form: the same tables from every format, documented defaults, and each kind of bad row."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from tastelab.data.feeds.base import BLOCK_ROWS, SCHEMAS, BadRecords, feed

READER = feed("generic")
T0 = 1_470_000_000
EVENTS = [
    {"user": "u1", "item": "i1", "time": "2016-08-02T12:00:00Z", "kind": "share", "weight": 2.5, "community": "x"},
    {"user": "u2", "item": "i1", "time": "2016-08-02T12:00:01Z", "kind": None, "weight": None, "community": None},
    {"user": "u1", "item": "i2", "time": "2016-08-02T12:00:02Z", "kind": "vote", "weight": -1.0, "community": "x"},
]
ITEMS = [
    {"id": "i1", "title": "A <b>first</b> &amp; last", "text": "by kim@example.org", "community": "x", "extra": "1"},
    {"id": "i2", "title": None, "text": None, "community": None, "extra": None},
]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pcsv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _read(folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, int, str]]]:
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}
    bad_rows = []
    for piece in READER.pieces(folder):
        bad = BadRecords()
        for kind, table in READER.read(piece, bad):
            assert table.schema == SCHEMAS[kind] and table.num_rows <= BLOCK_ROWS
            table.validate(full=True)
            rows[kind] += table.to_pylist()
        bad_rows += [(piece.label, line.number, line.reason) for line in bad.lines]
    return rows, bad_rows


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_every_format_gives_the_same_tables(suffix: str, tmp_path: Path) -> None:
    _write(tmp_path / f"events.{suffix}", EVENTS)
    _write(tmp_path / f"items.{suffix}", ITEMS)
    _write(tmp_path / f"accounts.{suffix}", [{"user": "u1", "person": "p"}, {"user": "u2", "person": "p"}])
    rows, bad = _read(tmp_path)
    noon = datetime(2016, 8, 2, 12)
    values = [("i1", "u1", 0, "share", 2.5), ("i1", "u2", 1, "click", 1.0), ("i2", "u1", 2, "vote", -1.0)]
    assert rows["reactions"] == [
        {"post_id": i, "user": u, "time": noon.replace(second=s), "date_only": False, "kind": k, "weight": w}
        for i, u, s, k, w in values
    ]
    none = {"parent_id": None, "user": None, "time": None, "kind": "post", "url": "", "tags": ""}
    assert rows["posts"] == [
        {"post_id": "i1", "community": "x", "title": "A first & last", "text": "by [e-mail]"} | none,
        {"post_id": "i2", "community": "", "title": "", "text": ""} | none,
    ]
    assert rows["accounts"] == [{"user": "u1", "person": "p"}, {"user": "u2", "person": "p"}] and not bad


def test_numbers_dates_and_all_columns(tmp_path: Path) -> None:
    _write(tmp_path / "events-0.parquet", [{"user": 1, "item": 5, "time": T0}])
    _write(tmp_path / "events-1.csv", [{"user": "1", "item": "5", "time": "2016-08-02"}])
    item = {"id": 5, "title": "t", "time": T0, "url": "https://example.org/", "tags": ["a", "b"], "user": 9}
    _write(tmp_path / "items.jsonl", [item])
    (tmp_path / "notes.txt").write_text("ignored")
    rows, bad = _read(tmp_path)
    assert [(r["user"], r["post_id"], r["time"], r["date_only"]) for r in rows["reactions"]] == [
        ("1", "5", datetime(2016, 7, 31, 21, 20), False),
        ("1", "5", datetime(2016, 8, 2), True),
    ]
    post = rows["posts"][0]
    assert (post["post_id"], post["user"], post["time"]) == ("5", "9", datetime(2016, 7, 31, 21, 20))
    assert (post["url"], post["tags"]) == ("https://example.org/", "a,b") and not bad


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_bad_rows_are_set_aside_with_their_number(suffix: str, tmp_path: Path) -> None:
    sound = {"user": "u", "item": "i", "time": str(T0), "weight": "1"}
    faults = [{"user": None}, {"item": ""}, {"time": "noon"}, {"time": None}]
    faults += [{"weight": weight} for weight in ("nan", "-inf", "1e39", "much")]
    _write(tmp_path / f"events.{suffix}", [sound, *[sound | fault for fault in faults], sound])
    items = [
        {"id": "i", "title": "t", "time": None},
        {"id": None, "title": "t"},
        {"id": "j", "title": "t", "time": "x"},
    ]
    _write(tmp_path / f"items.{suffix}", [{"time": None} | item for item in items])
    rows, bad = _read(tmp_path)
    weight = "a weight that is no finite number"
    reasons = ["no user", "no item", "no time", "no time", weight, weight, weight, weight]
    assert bad == [
        *[(f"events.{suffix}", number, reason) for number, reason in enumerate(reasons, 2)],
        (f"items.{suffix}", 2, "no id"),
        (f"items.{suffix}", 3, "a time that is none"),
    ]
    assert len(rows["reactions"]) == 2 and len(rows["posts"]) == 1


def test_titles_in_any_script_without_tricks(tmp_path: Path) -> None:
    _write(tmp_path / "events.csv", EVENTS)
    _write(tmp_path / "items.jsonl", [{"id": 1, "title": "שלום \u202e\u0007 Vec<T>\nby @kim"}])
    assert _read(tmp_path)[0]["posts"][0]["title"] == "שלום Vec<T> by [name]"


def test_blocks_of_a_larger_file(tmp_path: Path) -> None:
    num = 2 * BLOCK_ROWS + 10
    columns = {"user": pa.array(range(num)), "item": pa.array([7] * num), "time": pa.array(range(T0, T0 + num))}
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    _write(tmp_path / "items.csv", ITEMS)
    rows, bad = _read(tmp_path)
    assert [row["user"] for row in rows["reactions"]] == [str(i) for i in range(num)] and not bad


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder .*: give generic a folder with events and items"):
        READER.pieces(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no events\.parquet, \.csv or \.jsonl"):
        READER.pieces(tmp_path)
    _write(tmp_path / "events.csv", [{"user": "u", "when": "1", "what": "2"}])
    with pytest.raises(ValueError, match=r"holds no items\.parquet, \.csv or \.jsonl"):
        READER.pieces(tmp_path)
    _write(tmp_path / "items.jsonl", ITEMS)
    with pytest.raises(ValueError, match=r"events\.csv lacks the columns item, time: it has user, when, what\."):
        READER.pieces(tmp_path)
    (tmp_path / "events.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"events\.csv lacks the columns user, item, time: it is empty\."):
        READER.pieces(tmp_path)


def test_a_column_without_text_is_named_with_its_file(tmp_path: Path) -> None:
    _write(tmp_path / "events.csv", EVENTS)
    _write(tmp_path / "items.parquet", [{"id": "1", "title": {"en": "t"}}])
    with pytest.raises(ValueError, match=r"items\.parquet: A column of type struct<en: string> cannot be read as text"):
        _read(tmp_path)
