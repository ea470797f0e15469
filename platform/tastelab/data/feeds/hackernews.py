"""Hacker News: its items as JSON lines, or in a table of a SQLite database.

The fields of an item are those of the public API: id, type, by, time (seconds since 1970), parent, kids, title, url,
text (HTML), dead, deleted. A database has them as columns of a table `items` or `hn_items`, of which id, type and time
are needed; columns `id` and `data`, the item as JSON, will do as well.
"""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from tastelab.data.feeds.base import BadRecords, Feed, Kind, Piece
from tastelab.data.feeds.lines import COMPRESSED, PLAIN, ranges, read_lines
from tastelab.data.feeds.records import (
    Entry,
    LeftOut,
    Malformed,
    Record,
    clean,
    entries,
    feed_files,
    identifier,
    item,
    moment,
    name,
    objects,
    plain,
    reply,
    tables,
)

COMMUNITY = "hackernews"
DATABASE = (".sqlite", ".sqlite3", ".db")
TABLES = ("items", "hn_items", "item", "hackernews")
RANGE_ROWS = 500_000
"""Rowids of a table that one task reads."""
_COLUMNS = {
    "id": ("id",),
    "type": ("type",),
    "by": ("by", "author"),
    "time": ("time", "timestamp"),
    "parent": ("parent", "parent_id"),
    "kids": ("kids",),
    "title": ("title",),
    "url": ("url",),
    "text": ("text",),
    "dead": ("dead",),
    "deleted": ("deleted",),
    "data": ("data",),
}
_TRUE = (True, 1, "1", "true", "True")
Kids = Callable[[], Iterable[tuple[object, object]]]
"""Reads (id, kids) of every item that has kids."""


class HackerNews(Feed):
    """Stories, jobs and polls as items, comments as replies; votes are not public.

    Dead and deleted stories are left out. Such comments stay as links of their thread, without a user. A comment
    without `parent` is looked up in the `kids` of the items of its file, which is then read once more.
    """

    name: ClassVar[str] = "hackernews"
    takes: ClassVar[str] = (
        "file of items as JSON lines (.jsonl, .ndjson, .json, .zst, .gz), folder of such, or SQLite database with a "
        "table of items (.sqlite, .sqlite3, .db)"
    )
    licence: ClassVar[str] = (
        "unknown: Hacker News states no licence for its items, which belong to their authors; Y Combinator's terms of "
        "use apply, ask before passing them on"
    )

    def pieces(self, path: Path) -> list[Piece]:
        """Cut files into ranges of bytes, and a database's table into ranges of rowids."""
        files = feed_files(path, self.name, self.takes, (*PLAIN, *COMPRESSED, *DATABASE))
        found = []
        for file in files:
            if file.suffix.lower() in DATABASE:
                found += _table_pieces(file)
            else:
                cuts = [(0, None)] if _needs_kids(file) else ranges(file)
                found += [Piece(self.name, file, "", *cut) for cut in cuts]
        return found

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read a range of items; rows of a database are numbered from 1 in the range."""
        if piece.part:
            records, kids = _table_records(piece, bad), partial(_table_kids, piece.path, piece.part)
        else:
            records, kids = objects(piece.path, bad, piece.start, piece.stop), partial(_line_kids, piece.path)
        parents = _Parents(kids)
        return tables(entries(records, lambda record: [_entry(record, parents)], bad))


class _Parents:
    """Parents of comments by the `kids` of all items, read when first asked: 16 bytes a comment."""

    def __init__(self, kids: Kids) -> None:
        self._kids = kids
        self._found: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, comment: str) -> str:
        if self._found is None:
            self._found = self._read()
        kids, parents = self._found
        if comment.isdecimal() and len(comment) <= 18 and len(kids):
            place = int(np.searchsorted(kids, int(comment)))
            if place < len(kids) and kids[place] == int(comment):
                return str(parents[place])
        raise Malformed("comment without a parent")

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        kids, parents = array("q"), array("q")
        for parent, below in self._kids():
            numbers = [int(kid) for kid in re.findall(r"\d{1,18}", str(below))]
            if numbers and re.fullmatch(r"\d{1,18}", str(parent)):
                kids.extend(numbers)
                parents.extend([int(str(parent))] * len(numbers))
        order = np.argsort(np.asarray(kids, np.int64), kind="stable")
        return np.asarray(kids, np.int64)[order], np.asarray(parents, np.int64)[order]


def _entry(record: Record, parents: _Parents) -> Entry:
    item_id, kind = identifier(record.get("id")), record.get("type")
    if kind == "pollopt":
        raise LeftOut("option of a poll")
    if kind not in ("story", "job", "poll", "comment"):
        raise Malformed("type that is not story, job, poll, pollopt or comment")
    gone = "deleted" if record.get("deleted") in _TRUE else "dead" if record.get("dead") in _TRUE else ""
    if kind == "comment":
        parent = record.get("parent")
        parent_id = identifier(parent) if parent not in (None, "") else parents.of(item_id)
        time = None if gone and not record.get("time") else moment(record.get("time"))
        return reply(item_id, parent_id, None if gone else name(record.get("by")), time, COMMUNITY)
    if gone:
        raise LeftOut(f"{gone} {kind}")
    url = record.get("url")
    return item(
        item_id,
        name(record.get("by")),
        moment(record.get("time")),
        COMMUNITY,
        clean(record.get("title")),
        plain(record.get("text")),
        url if isinstance(url, str) else "",
    )


def _needs_kids(path: Path) -> bool:
    """Whether comments have no `parent`: then each range would read the whole file again."""
    head = (record for _, _, record in islice(objects(path, BadRecords()), 1_000))
    return any(record.get("type") == "comment" and not record.get("parent") for record in head)


def _line_kids(path: Path) -> Iterator[tuple[object, object]]:
    for _, line in read_lines(path, BadRecords()):
        if b'"kids"' in line:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record.get("id"), record.get("kids")


def _table_pieces(path: Path) -> list[Piece]:
    try:
        with closing(_connect(path)) as connection:
            table = next((table for table in TABLES if _columns(connection, table)), None)
            if table is None:
                raise ValueError(f"{path.name} has no table of items: call it {TABLES[0]} or {TABLES[1]}.")
            columns = _columns(connection, table)
            for field in {"id", "type", "time"} - columns.keys() if "data" not in columns else ():
                raise ValueError(f"Table {table} of {path.name} has no column {field}: it needs id, type and time.")
            first, last = _bounds(connection, table) if {"parent", "data"} & columns.keys() else (None, None)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path.name} is no whole SQLite database ({error}): fetch it again.") from error
    if first is None or last is None:
        return [Piece(HackerNews.name, path, table)]
    starts = range(first, last + 1, RANGE_ROWS)
    return [Piece(HackerNews.name, path, table, start, start + RANGE_ROWS) for start in starts]


def _bounds(connection: sqlite3.Connection, table: str) -> tuple[int | None, int | None]:
    """Return the first and the last rowid; None where the table, or view, has none."""
    try:
        # Both in one SELECT would read the whole table.
        first, last = (
            connection.execute(f'SELECT {end}(rowid) FROM "{table}"').fetchone()[0] for end in ("min", "max")
        )
    except sqlite3.OperationalError:
        return None, None
    return first, last


def _table_records(piece: Piece, bad: BadRecords) -> Iterator[tuple[int, bytes, Record]]:
    where = "" if piece.stop is None else f" WHERE rowid >= {piece.start:d} AND rowid < {piece.stop:d}"
    number = 0
    try:
        for number, record in enumerate(_select(piece.path, piece.part, tuple(_COLUMNS), where), 1):
            bad.num_records += 1
            line = json.dumps(record, default=repr).encode()
            if any(isinstance(value, bytes) for value in record.values()):
                bad.add(number, "not UTF-8", line)
            elif (whole := _whole(record)) is None:
                bad.add(number, "no JSON object", line)
            else:
                yield number, line, whole
    except sqlite3.DatabaseError:
        bad.num_records += 1
        bad.add(number + 1, "the database is damaged from this row on")
        bad.cut_short = True


def _whole(record: Record) -> Record | None:
    """Return the item of a row: its columns, or the JSON of its column `data` where it has no type."""
    if "data" not in record or "type" in record:
        return record
    try:
        value = json.loads(record["data"])
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _table_kids(path: Path, table: str) -> Iterator[tuple[object, object]]:
    for record in _select(path, table, ("id", "type", "kids", "data"), ""):
        whole = _whole(record) or {}
        if whole.get("kids"):
            yield whole.get("id"), whole["kids"]


def _select(path: Path, table: str, wanted: tuple[str, ...], where: str) -> Iterator[Record]:
    """Stream rows of a table as records of the columns that it has."""
    with closing(_connect(path)) as connection:
        columns = {name: column for name, column in _columns(connection, table).items() if name in wanted}
        chosen = ", ".join(f'"{column}"' for column in columns.values())
        for values in connection.execute(f'SELECT {chosen} FROM "{table}"{where}'):
            yield dict(zip(columns, values, strict=True))


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return field of an item → column of the table that has it."""
    found = {row[1].lower(): row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    named = {field: next((found[name] for name in names if name in found), None) for field, names in _COLUMNS.items()}
    return {field: column for field, column in named.items() if column is not None}


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
