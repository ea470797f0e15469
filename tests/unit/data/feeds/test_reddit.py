from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tastelab.data.feeds import reddit
from tastelab.data.feeds.base import POSTS, BadRecords, feed
from tastelab.data.feeds.reddit import Reddit
from tastelab.data.feeds.text import MAX_TEXT_CHARS

TIME = 1_600_000_000
RTL = "\u0645\u0631\u062d\u0628\u0627"
SUBMISSION: dict[str, Any] = {
    "id": "abc",
    "subreddit": "askx",
    "author": "ann",
    "title": f"\u202eR&amp;D\x07 with <b>style</b> {RTL} by jo@mail.example",
    "selftext": "Ask u/jo-doe &gt; why Vec<T>",
    "url": "https://www.reddit.com/r/askx/comments/abc/rd/",
    "created_utc": TIME,
    "over_18": True,
    "link_flair_text": "Help, please",
}
COMMENT: dict[str, Any] = {
    "id": "c1",
    "link_id": "t3_abc",
    "parent_id": "t3_abc",
    "author": "bob",
    "created_utc": str(TIME + 60),
    "subreddit": "askx",
    "body": "private words",
}


def _write(path: Path, records: list[Any]) -> Path:
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in records).encode()
    if path.suffix == ".zst":
        text = zstandard.ZstdCompressor().compress(text)
    elif path.suffix == ".gz":
        text = gzip.compress(text)
    path.write_bytes(text)
    return path


def _read(path: Path) -> tuple[list[dict[str, Any]], BadRecords]:
    reader, rows, bad = Reddit(), [], BadRecords()
    for piece in reader.pieces(path):
        for kind, table in reader.read(piece, bad):
            assert kind == "posts"
            assert table.schema == POSTS
            table.validate(full=True)
            rows += table.to_pylist()
    return rows, bad


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".zst", ".gz"])
def test_a_thread(tmp_path: Path, suffix: str) -> None:
    # What a file holds is read from it: the names are the wrong way round.
    _write(tmp_path / f"RC_2020-09{suffix}", [SUBMISSION])
    nested = COMMENT | {"id": "c2", "parent_id": "t1_c1", "author": "ann"}
    _write(tmp_path / f"RS_2020-09{suffix}", [COMMENT, nested])
    (item, first, second), bad = _read(tmp_path)
    assert [row["post_id"] for row in (item, first, second)] == ["t3_abc", "t1_c1", "t1_c2"]
    assert [row["parent_id"] for row in (item, first, second)] == [None, "t3_abc", "t3_abc"]
    assert [row["user"] for row in (item, first, second)] == ["ann", "bob", "ann"]
    assert [row["kind"] for row in (item, first, second)] == ["post", "comment", "comment"]
    assert [row["community"] for row in (item, first, second)] == ["askx"] * 3
    assert item["title"] == f"R&D with style {RTL} by [e-mail]"
    assert item["text"] == "Ask [name] > why Vec<T>"
    assert (item["url"], item["tags"]) == ("", "Help please,nsfw")
    assert (first["title"], first["text"], first["tags"]) == ("", "", "")
    assert (first["time"] - item["time"]).total_seconds() == 60
    assert (bad.num_records, bad.lines, bad.cut_short) == (3, [], False)


def test_a_link_is_kept(tmp_path: Path) -> None:
    (row,), _ = _read(_write(tmp_path / "a.jsonl", [SUBMISSION | {"url": "https://a.example/x", "selftext": ""}]))
    assert (row["url"], row["text"]) == ("https://a.example/x", "")


def test_texts_are_cut(tmp_path: Path) -> None:
    (row,), _ = _read(_write(tmp_path / "a.jsonl", [SUBMISSION | {"selftext": "word " * 1_000}]))
    assert len(row["text"]) == 2_000


def test_deleted_authors_and_bots_are_nobody(tmp_path: Path) -> None:
    authors = ["[deleted]", "[removed]", "AutoModerator", None]
    submissions = [SUBMISSION | {"id": f"s{number}", "author": author} for number, author in enumerate(authors)]
    comments = [COMMENT | {"id": f"c{number}", "author": author} for number, author in enumerate(authors)]
    rows, bad = _read(_write(tmp_path / "a.jsonl", submissions))
    assert [(row["post_id"], row["user"]) for row in rows] == [(f"t3_s{number}", None) for number in range(4)]
    assert bad.left_out == {}
    rows, bad = _read(_write(tmp_path / "a.jsonl", comments))
    assert [(row["post_id"], row["user"]) for row in rows] == [("t1_c0", None), ("t1_c1", None), ("t1_c3", None)]
    assert bad.left_out == {"comment of a bot": 1}


def test_removed_submissions_are_left_out(tmp_path: Path) -> None:
    gone = [{"removed": True}, {"removed_by_category": "moderator"}, {"title": "[deleted by user]"}]
    kept = [{"removed": False, "removed_by_category": None, "selftext": "[removed]"}]
    rows, bad = _read(_write(tmp_path / "a.jsonl", [SUBMISSION | change for change in gone + kept]))
    assert [row["text"] for row in rows] == [""]
    assert bad.left_out == {"removed or deleted submission": 3}
    assert bad.lines == []


@pytest.mark.parametrize(
    ("link", "parent", "expected"),
    [("t3_abc", "t1_gone", "t3_abc"), ("t3_abc", None, "t3_abc"), (None, "t1_x", "t1_x"), (7, "t3_y", "t3_y")],
)
def test_the_parent_is_the_submission_where_it_is_named(tmp_path: Path, link: Any, parent: Any, expected: str) -> None:
    (row,), _ = _read(_write(tmp_path / "a.jsonl", [COMMENT | {"link_id": link, "parent_id": parent}]))
    assert row["parent_id"] == expected


@pytest.mark.parametrize(
    ("first", "change", "reason"),
    [
        (COMMENT, {"link_id": None, "parent_id": "t3_"}, "comment without a parent"),
        (COMMENT, {"id": ""}, "no id"),
        (COMMENT, {"id": 1.5}, "no id"),
        (COMMENT, {"subreddit": None}, "no subreddit"),
        (SUBMISSION, {"title": None}, "submission without a title"),
        (SUBMISSION, {"subreddit": ""}, "no subreddit"),
        (SUBMISSION, {"created_utc": None}, "no time"),
        (SUBMISSION, {"created_utc": "late"}, "time that is no number and no ISO 8601"),
        (SUBMISSION, {"created_utc": 0}, "time before 1990"),
    ],
)
def test_malformed_records_are_set_aside(tmp_path: Path, first: dict[str, Any], change: Any, reason: str) -> None:
    rows, bad = _read(_write(tmp_path / "a.jsonl", [first, first | change, "{", first]))
    assert len(rows) == 2  # the same id twice: the builder judges it
    assert [(line.number, line.reason) for line in bad.lines] == [(2, reason), (3, "no JSON object")]
    assert bad.num_records == 4


def test_a_cut_dump_yields_what_is_there(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.zst", [SUBMISSION | {"id": f"{number:x}"} for number in range(4_000)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    rows, bad = _read(path)
    assert [row["post_id"] for row in rows] == [f"t3_{number:x}" for number in range(len(rows))]
    assert 1_000 < len(rows) < 3_900
    assert (bad.cut_short, len(bad.lines)) == (True, 1)


def test_ranges_of_a_plain_file_give_every_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "a.jsonl", [COMMENT | {"id": str(number)} for number in range(50)])
    monkeypatch.setattr(reddit, "ranges", lambda file: [(0, 700), (700, 701), (701, None)])
    rows, bad = _read(path)
    assert [row["post_id"] for row in rows] == [f"t1_{number}" for number in range(50)]
    assert bad.num_records == 50


@pytest.mark.parametrize(
    ("name", "records", "message"),
    [
        (
            "a.jsonl",
            [{"id": 1, "type": "story"}],
            r"The first record of a\.jsonl is no Reddit submission .*: give reddit",
        ),
        ("a.jsonl", ["<xml/>"], r"The first record of a\.jsonl is no Reddit"),
        ("a.csv", [], r"a\.csv does not end in \.jsonl, .*: give reddit a file of submissions"),
        ("", [], r"There is no .*missing: give reddit a file of submissions or comments"),
    ],
)
def test_a_wrong_path_is_one_sentence(tmp_path: Path, name: str, records: list[Any], message: str) -> None:
    path = _write(tmp_path / name, records) if name else tmp_path / "missing"
    with pytest.raises(ValueError, match=message):
        Reddit().pieces(path)


def test_it_is_registered_and_honest() -> None:
    reader = feed("reddit")
    assert isinstance(reader, Reddit)
    assert not reader.seen_real
    assert reader.licence.startswith("unknown")


def test_odd_texts_and_endless_titles(tmp_path: Path) -> None:
    odd = [SUBMISSION | {"id": "a", "selftext": ["x"]}, SUBMISSION | {"id": "b", "title": "word " * 100_000}]
    rows, bad = _read(_write(tmp_path / "RS.jsonl", odd))
    assert rows[0]["text"] == ""
    assert len(rows[1]["title"]) == MAX_TEXT_CHARS
    assert not bad.lines
