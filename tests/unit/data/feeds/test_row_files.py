"""Rows of Parquet, CSV and JSON lines: the same rows from each, and what cannot be read set aside."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tastelab.data.feeds import base, row_files
from tastelab.data.feeds.base import BadRecords
from tastelab.data.feeds.row_files import column_names, format_of, ranges, read_rows

NAMES = ("user", "item", "note")
CSV = b'item,other,user,note\n1,x,a,"two\nlines, ""quoted"""\n2,x,b,\n\n3,x,c,\xd7\xa9'
ROWS = [
    {"user": "a", "item": "1", "note": 'two\nlines, "quoted"'},
    {"user": "b", "item": "2", "note": ""},
    {"user": "c", "item": "3", "note": "ש"},
]


def _read(path: Path, names: tuple[str, ...] = NAMES) -> tuple[list[int], list[dict[str, Any]], BadRecords]:
    bad, numbers, rows = BadRecords(), [], []
    for start, stop in ranges(path):
        for block_numbers, table in read_rows(path, names, bad, start, stop):
            assert len(block_numbers) == table.num_rows <= base.BLOCK_ROWS
            numbers += list(block_numbers)
            rows += table.to_pylist()
    return numbers, rows, bad


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"),
        ("a.csv.gz", ".csv"),
        ("a.x.jsonl.zst", ".jsonl"),
        ("a.parquet", ".parquet"),
        ("a.parquet.gz", ""),
        ("a.tsv", ""),
        ("csv", ""),
    ],
)
def test_formats(name: str, suffix: str) -> None:
    assert format_of(Path(name)) == suffix


@pytest.mark.parametrize("how", ["events.csv", "events.csv.gz", "events.csv.zst"])
def test_csv(how: str, tmp_path: Path) -> None:
    path = tmp_path / how
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
    path.write_bytes(pack(b"\xef\xbb\xbf" + CSV))
    assert column_names(path) == ["item", "other", "user", "note"]
    numbers, rows, bad = _read(path)
    assert (numbers, rows, bad.lines, bad.num_records) == ([1, 2, 3], ROWS, [], 3)
    if pack is not bytes:
        path.write_bytes(path.read_bytes()[:-12])
        numbers, rows, bad = _read(path)
        assert bad.cut_short and len(rows) < 3 and len(bad.lines) == 1


def test_malformed_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_LINE", 300_000)
    path = tmp_path / "events.csv"
    long, field = b"1,x," + b"y" * 400_000 + b",z\n", b"1,x," + b"y" * 140_000 + b",z\n"
    path.write_bytes(b"item,other,user,note\n1,x,a,\n1,x\n" + long + b"1,x,b\xff,\n" + field + b"4,x,d,\n5,x,e")
    numbers, rows, bad = _read(path)
    assert numbers == [1, 6] and [row["user"] for row in rows] == ["a", "d"] and bad.num_records == 7
    assert [(line.number, line.reason) for line in bad.lines] == [
        (2, "a wrong number of fields"),
        (3, "longer than 300,000 bytes"),
        (4, "not UTF-8"),
        (5, "no CSV: field larger than field limit (131072)"),
        (7, "a wrong number of fields"),
    ]


def test_an_open_quote_costs_no_more_than_a_field(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b'item,other,user,note\n1,x,a,"open\n' + b"2,x,b,c\n" * 40_000)
    _, rows, bad = _read(path)
    assert len(bad.lines) == 1 and len(rows) > 20_000


def test_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    values = [{"user": "a", "item": 7, "note": ["x", "y"]}, [], {"user": 1.5, "late": 1, "note": "\ud800"}]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, values)).encode() + b"\n{oops\n"))
    assert column_names(path) == ["user", "item", "note", "late"]
    numbers, rows, bad = _read(path)
    assert numbers == [1, 3]
    assert rows == [{"user": "a", "item": "7", "note": "x,y"}, {"user": "1.5", "item": None, "note": "?"}]
    assert [(line.number, line.reason) for line in bad.lines] == [(2, "no JSON object"), (4, "no JSON object")]


def test_parquet_in_ranges_of_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.parquet"
    table = pa.table({"other": range(1000), "user": range(1000), "item": [str(i) for i in range(1000)]})
    pq.write_table(table, path, row_group_size=90)
    monkeypatch.setattr(row_files, "PIECE_ROWS", 200)
    monkeypatch.setattr(row_files, "BLOCK_ROWS", 64)
    assert ranges(path) == [(0, 3), (3, 6), (6, 9), (9, 12)]
    numbers, rows, bad = _read(path)
    assert numbers == list(range(1, 1001)) and bad.num_records == 1000
    assert rows == [{"user": i, "item": str(i)} for i in range(1000)]
    monkeypatch.undo()
    assert ranges(path) == [(0, 12)] and _read(path)[1] == rows
    pq.write_table(table.slice(0, 0), path)
    assert _read(path)[1] == []


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({"user": [f"u{i}" for i in range(5000)]}), path)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"events\.parquet is no whole Parquet file"):
        column_names(path)
    path.write_bytes(data[:4] + bytes(2000) + data[2004:])
    with pytest.raises(ValueError, match=r"events\.parquet is no whole Parquet file"):
        _read(path, ("user",))


def test_blocks_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "_BLOCK_BYTES", 1000)
    path = tmp_path / "events.csv"
    path.write_bytes(b"user\n" + b"".join(b"%0200d\n" % i for i in range(20)))
    sizes = [table.num_rows for _, table in read_rows(path, ("user",), BadRecords(), 0, None)]
    assert sizes == [6, 6, 6, 2]
