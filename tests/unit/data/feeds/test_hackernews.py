from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tastelab.data.feeds import hackernews
from tastelab.data.feeds.base import BLOCK_ROWS, POSTS, BadRecords, feed
from tastelab.data.feeds.hackernews import HackerNews

TIME = 1_600_000_000
RTL = "\u05e9\u05dc\u05d5\u05dd"
THREAD: list[dict[str, Any]] = [
    {
        "id": 1,
        "type": "story",
        "by": "ann",
        "time": TIME,
        "kids": [2, 5],
        "title": f"\u202eAsk HN: R&amp;D at <b>home</b>\x07 {RTL} (jo@mail.example)",
        "text": "<p>Tell u/jo-doe &amp; me</p><pre>code</pre>",
        "score": 3,
        "descendants": 2,
    },
    {"id": 2, "type": "comment", "by": "bob", "time": TIME + 60, "parent": 1, "kids": [3], "text": "private words"},
    {"id": 3, "type": "comment", "deleted": True, "time": TIME + 90, "parent": 2, "kids": [4]},
    {"id": 4, "type": "comment", "by": "cyd", "time": TIME + 120, "parent": 3},
    {"id": 5, "type": "comment", "by": "dee", "time": TIME + 130},
    {"id": 6, "type": "job", "by": "inc", "time": TIME + 200, "title": "Hiring", "url": "https://a.example/job"},
    {"id": 7, "type": "poll", "by": "ann", "time": TIME + 300, "title": "Which?", "parts": [8]},
    {"id": 8, "type": "pollopt", "by": "ann", "time": TIME + 300, "parent": 7, "text": "This"},
    {"id": 9, "type": "story", "dead": True, "by": "spam", "time": TIME, "title": "Buy"},
    {"id": 10, "type": "story", "deleted": True, "time": TIME},
    {"id": 11, "type": "story", "time": TIME + 400, "title": "Nobody's"},
]


def _lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records))
    return path


def _database(path: Path, records: list[dict[str, Any]], table: str = "items", columns: str = "") -> Path:
    names = columns.split() or ["id", "type", "by", "time", "parent", "kids", "title", "url", "text", "dead", "deleted"]
    connection = sqlite3.connect(path)
    definition = ", ".join(f'"{name}" INTEGER PRIMARY KEY' if name == "id" else f'"{name}"' for name in names)
    connection.execute(f'CREATE TABLE "{table}" ({definition})')
    for record in records:
        values = [
            json.dumps(record["kids"]) if name == "kids" and "kids" in record else record.get(name) for name in names
        ]
        connection.execute(f'INSERT INTO "{table}" VALUES ({",".join("?" * len(names))})', values)
    connection.commit()
    connection.close()
    return path


def _read(path: Path) -> tuple[list[dict[str, Any]], list[BadRecords]]:
    reader, rows, bads = HackerNews(), [], []
    for piece in reader.pieces(path):
        bads.append(BadRecords())
        for kind, table in reader.read(piece, bads[-1]):
            assert kind == "posts"
            assert table.schema == POSTS
            table.validate(full=True)
            rows += table.to_pylist()
    return rows, bads


def _check_thread(rows: list[dict[str, Any]], bad: BadRecords) -> None:
    by_id = {row["post_id"]: row for row in rows}
    assert list(by_id) == ["1", "2", "3", "4", "5", "6", "7", "11"]
    assert [row["parent_id"] for row in rows] == [None, "1", "2", "3", "1", None, None, None]
    assert [row["user"] for row in rows] == ["ann", "bob", None, "cyd", "dee", "inc", "ann", None]
    assert [row["kind"] for row in rows] == ["post", *["comment"] * 4, *["post"] * 3]
    assert {row["community"] for row in rows} == {"hackernews"}
    assert by_id["1"]["title"] == f"Ask HN: R&D at home {RTL} ([e-mail])"
    assert by_id["1"]["text"] == "Tell [name] & me"
    assert by_id["6"]["url"] == "https://a.example/job"
    assert by_id["1"]["time"].isoformat() == "2020-09-13T12:26:40"
    assert not any(row["title"] or row["text"] for row in rows if row["parent_id"])
    assert bad.left_out == {"option of a poll": 1, "dead story": 1, "deleted story": 1}
    assert (bad.num_records, bad.lines, bad.cut_short) == (11, [], False)


def test_a_thread_of_lines(tmp_path: Path) -> None:
    rows, (bad,) = _read(_lines(tmp_path / "items.jsonl", THREAD))
    _check_thread(rows, bad)


@pytest.mark.parametrize("table", ["items", "hn_items"])
def test_a_thread_of_a_database(tmp_path: Path, table: str) -> None:
    rows, (bad,) = _read(_database(tmp_path / "hn #1.sqlite", THREAD, table))
    _check_thread(rows, bad)


def test_a_database_of_json(tmp_path: Path) -> None:
    wrapped = [{"id": record["id"], "data": json.dumps(record)} for record in THREAD]
    rows, (bad,) = _read(_database(tmp_path / "hn.db", wrapped, "hn_items", "id data"))
    _check_thread(rows, bad)


def test_a_database_without_optional_columns_and_with_other_names(tmp_path: Path) -> None:
    records = [{"ID": 1, "type": "story", "author": "ann", "time": TIME, "kids": [2]}]
    records += [{"ID": 2, "type": "comment", "author": "bob", "time": TIME}]
    rows, (bad,) = _read(_database(tmp_path / "hn.sqlite3", records, "items", "ID type author time kids"))
    assert [(row["post_id"], row["parent_id"], row["user"]) for row in rows] == [("1", None, "ann"), ("2", "1", "bob")]
    assert bad.lines == []


def test_a_view_is_read(tmp_path: Path) -> None:
    path = _database(tmp_path / "hn.db", THREAD, "raw")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE VIEW items AS SELECT * FROM raw")
    rows, (bad,) = _read(path)
    _check_thread(rows, bad)


def test_rowid_ranges_give_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"id": number * 7, "type": "story", "time": TIME, "title": "t"} for number in range(1, 40)]
    path = _database(tmp_path / "hn.db", records)
    monkeypatch.setattr(hackernews, "RANGE_ROWS", 50)
    rows, bads = _read(path)
    assert len(bads) == 6
    assert [row["post_id"] for row in rows] == [str(record["id"]) for record in records]


def test_tables_are_bounded_and_ranges_cover_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"id": %d, "type": "story", "time": 1600000000, "title": "t"}\n'
    path.write_text("".join(line % number for number in range(BLOCK_ROWS + 5)))
    reader = HackerNews()
    (piece,) = reader.pieces(path)
    assert [table.num_rows for _, table in reader.read(piece, BadRecords())] == [BLOCK_ROWS, 5]
    monkeypatch.setattr(hackernews, "ranges", lambda file: [(0, 1_000), (1_000, 500_000), (500_000, None)])
    rows, bads = _read(path)
    assert len(bads) == 3
    assert [row["post_id"] for row in rows] == [str(number) for number in range(BLOCK_ROWS + 5)]


def test_a_file_whose_comments_have_no_parents_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hackernews, "ranges", lambda file: [(0, 10), (10, None)])
    path = _lines(tmp_path / "a.jsonl", [{"id": 2, "type": "comment", "time": TIME}])
    assert len(HackerNews().pieces(path)) == 1
    assert len(HackerNews().pieces(_lines(tmp_path / "b.jsonl", [{"id": 2, "type": "story"}]))) == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("no json", "no JSON object"),
        ("[1]", "no JSON object"),
        ("null", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ({"type": "story", "time": TIME}, "no id"),
        ({"id": True, "type": "story", "time": TIME}, "no id"),
        ({"id": 1, "type": "story"}, "no time"),
        ({"id": 1, "type": "story", "time": "soon"}, "time that is no number and no ISO 8601"),
        ({"id": 1, "type": "story", "time": [1]}, "time that is no number and no ISO 8601"),
        ({"id": 1, "type": "story", "time": "nan"}, "time that is no number and no ISO 8601"),
        ({"id": 1, "type": "story", "time": True}, "time that is no number and no ISO 8601"),
        ({"id": 1, "type": "story", "time": 3}, "time before 1990"),
        ({"id": 1, "type": "story", "time": TIME * 1000}, "time after the year 9999: seconds are expected"),
        ({"id": 1, "type": "story", "time": 10**400}, "time after the year 9999: seconds are expected"),
        ({"id": 1, "type": "user", "time": TIME}, "type that is not story, job, poll, pollopt or comment"),
        ({"id": 1, "type": "comment", "time": TIME}, "comment without a parent"),
        ({"id": 10**30, "type": "comment", "time": TIME}, "comment without a parent"),
    ],
)
def test_malformed_records_are_set_aside(tmp_path: Path, record: Any, reason: str) -> None:
    good = {"id": "12", "type": "story", "time": "2020-09-13T14:26:40+02:00", "title": "t"}
    rows, (bad,) = _read(_lines(tmp_path / "a.jsonl", [record, good]))
    assert [(row["post_id"], row["time"].isoformat()) for row in rows] == [("12", "2020-09-13T12:26:40")]
    assert [(line.number, line.reason) for line in bad.lines] == [(1, reason)]
    assert bad.num_records == 2


def test_future_times_repeated_ids_and_cycles_are_kept_for_the_builder(tmp_path: Path) -> None:
    records = [
        {"id": 1, "type": "story", "time": 4_000_000_000, "title": "t"},
        {"id": 1, "type": "story", "time": TIME, "title": "t"},
        {"id": 2, "type": "comment", "time": TIME, "parent": 3},
        {"id": 3, "type": "comment", "time": TIME, "parent": 2},
        {"id": 4, "type": "comment", "time": TIME, "parent": 999},
    ]
    rows, (bad,) = _read(_lines(tmp_path / "a.jsonl", records))
    assert [row["post_id"] for row in rows] == ["1", "1", "2", "3", "4"]
    assert bad.lines == []


def test_halves_of_surrogate_pairs_are_written(tmp_path: Path) -> None:
    story = {"id": "\ud83d1", "type": "story", "by": "a\udc00", "time": TIME, "title": "t\ud83d", "url": "\ud83d"}
    rows, _ = _read(_lines(tmp_path / "a.jsonl", [story]))
    assert (rows[0]["post_id"], rows[0]["user"], rows[0]["title"], rows[0]["url"]) == ("?1", "a?", "t", "?")


def test_a_cut_file_yields_what_is_there(tmp_path: Path) -> None:
    path = _lines(tmp_path / "a.jsonl", THREAD)
    path.write_bytes(path.read_bytes()[:-20])
    rows, (bad,) = _read(path)
    assert len(rows) == 7
    assert (bad.cut_short, [line.number for line in bad.lines]) == (True, [11])


def test_a_giant_line_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    story = {"id": 1, "type": "story", "time": TIME, "title": "x" * (17 * 2**20)}
    rows, (bad,) = _read(_lines(path, [story, THREAD[5]]))
    assert [row["post_id"] for row in rows] == ["6"]
    assert bad.lines[0].reason == "longer than 16,777,216 bytes"


def test_text_of_a_database_that_is_no_utf8_is_one_bad_record(tmp_path: Path) -> None:
    path = _database(tmp_path / "a.db", THREAD[5:7])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE items SET title = CAST(x'ff41' AS TEXT) WHERE id = 6")
    rows, (bad,) = _read(path)
    assert [row["post_id"] for row in rows] == ["7"]
    assert [(line.number, line.reason) for line in bad.lines] == [(1, "not UTF-8")]


def test_a_damaged_database_yields_what_is_there(tmp_path: Path) -> None:
    records = [{"id": number, "type": "story", "time": TIME, "title": "t" * 200} for number in range(1, 2_000)]
    path = _database(tmp_path / "a.db", records)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 8192] = b"\xff" * 8192
    path.write_bytes(raw)
    rows, (bad,) = _read(path)
    assert 500 < len(rows) < 1_500
    assert [row["post_id"] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert bad.cut_short
    assert [line.reason for line in bad.lines] == ["the database is damaged from this row on"]
    assert bad.num_records == len(rows) + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: folder / "none.jsonl",
            r"There is no .*none\.jsonl: give hackernews a file of items as JSON lines",
        ),
        (lambda folder: folder, r"holds no file that ends in \.jsonl, .*: give hackernews a file"),
        (lambda folder: _lines(folder / "a.txt", []), r"a\.txt does not end in \.jsonl"),
        (lambda folder: _lines(folder / "a.db", ["no database at all"]), r"a\.db is no whole SQLite database \("),
        (
            lambda folder: _database(folder / "a.db", [], "news"),
            r"a\.db has no table of items: call it items or hn_items",
        ),
        (lambda folder: _database(folder / "a.db", [], "items", "id type"), "Table items of a.db has no column time"),
    ],
)
def test_a_wrong_path_is_one_sentence(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HackerNews().pieces(make(tmp_path))


def test_a_cut_database_is_refused(tmp_path: Path) -> None:
    path = _database(tmp_path / "a.db", [{"id": number, "title": "t" * 500} for number in range(500)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"a\.db is no whole SQLite database \(.*\): fetch it again"):
        HackerNews().pieces(path)


def test_it_is_registered_and_honest() -> None:
    reader = feed("hackernews")
    assert isinstance(reader, HackerNews)
    assert not reader.seen_real
    assert reader.licence.startswith("unknown")
    assert reader.takes


def test_an_empty_database_has_no_rows(tmp_path: Path) -> None:
    rows, (bad,) = _read(_database(tmp_path / "a.db", []))
    assert rows == []
    assert bad.num_records == 0
