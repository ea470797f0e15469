"""Records of JSON feeds: lines to checked values, values to rows of posts and reactions, rows to tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from tastelab.data.feeds.base import BLOCK_ROWS, SCHEMAS, BadRecords, Kind
from tastelab.data.feeds.lines import read_lines
from tastelab.data.feeds.text import MAX_TEXT_CHARS, clean_title, plain_text, without_personal

Record = dict[str, Any]
Entry = tuple[Kind, tuple[object, ...]]
"""A row of a table, and which."""

_EARLIEST = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
_LATEST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


class Malformed(Exception):
    """A record that cannot be read; its message is the reason, the same for all records with this fault."""


class LeftOut(Exception):
    """A sound record that is no part of the feed; its message says why."""


def objects(
    path: Path, bad: BadRecords, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, bytes, Record]]:
    """Read the JSON objects of a file's lines: (number, line, object); any other line goes to `bad`."""
    for number, line in read_lines(path, bad, start, stop):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield number, line, value
        else:
            bad.add(number, "no JSON object", line)


def entries(
    records: Iterable[tuple[int, bytes, Record]], convert: Callable[[Record], Iterable[Entry]], bad: BadRecords
) -> Iterator[Entry]:
    """Convert records to rows; what `convert` raises as `Malformed` or `LeftOut` is counted in `bad`."""
    for number, line, record in records:
        try:
            yield from convert(record)
        except Malformed as error:
            bad.add(number, str(error), line)
        except LeftOut as error:
            bad.left_out[str(error)] += 1


def tables(rows: Iterable[Entry]) -> Iterator[tuple[Kind, pa.Table]]:
    """Batch rows into tables of `SCHEMAS`, of at most `BLOCK_ROWS` rows."""
    held: dict[Kind, list[tuple[object, ...]]] = {}
    for kind, row in rows:
        block = held.setdefault(kind, [])
        block.append(row)
        if len(block) == BLOCK_ROWS:
            yield kind, _table(kind, held.pop(kind))
    for kind, block in held.items():
        yield kind, _table(kind, block)


def item(
    post_id: str,
    user: str | None,
    time: int,
    community: str,
    title: str,
    text: str = "",
    url: str = "",
    tags: Sequence[str] = (),
) -> Entry:
    """Return the row of a post that replies to nothing; `title` and `text` are plain already."""
    names = ",".join(tag for tag in (" ".join(clean(tag).replace(",", " ").split()) for tag in tags) if tag)
    text = without_personal(text)[:MAX_TEXT_CHARS]
    title = without_personal(title)[:MAX_TEXT_CHARS]
    row = (post_id, None, user, time, "post", community, title, text, utf8(url), names)
    return "posts", row


def reply(post_id: str, parent_id: str, user: str | None, time: int | None, community: str = "") -> Entry:
    """Return the row of a comment, of which no text is kept."""
    return "posts", (post_id, parent_id, user, time, "comment", community, "", "", "", "")


def reaction(post_id: str, user: str, time: int, kind: str, weight: float) -> Entry:
    """Return the row of a vote or the like."""
    return "reactions", (post_id, user, time, False, kind, weight)


def clean(value: object) -> str:
    """Return a short text, such as a title, as plain text without names; "" if it is no text."""
    return without_personal(clean_title(value)) if isinstance(value, str) else ""


def plain(value: object) -> str:
    """Return HTML as plain text; "" if it is no text."""
    return plain_text(value) if isinstance(value, str) else ""


def identifier(value: object) -> str:
    """Return an id as text: a text or a whole number. Anything else raises `Malformed`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and (text := utf8(value).strip()):
        return text
    raise Malformed("no id")


def name(value: object) -> str | None:
    """Return the name of a user as it is; None if there is none."""
    return (utf8(value).strip() or None) if isinstance(value, str) else None


def host(url: str) -> str:
    """Return the host of a link, "" if it is no link, such as one with half a bracket."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def moment(value: object) -> int:
    """Return a time in seconds since 1970: a number, a number as text, or ISO 8601, which is UTC if it names no zone.

    Raises:
        Malformed: no time, one before 1990 or after the year 9999 (such as milliseconds).
    """
    if value is None or value == "":
        raise Malformed("no time")
    seconds = value if isinstance(value, int | float) else _parsed(value)
    if isinstance(seconds, bool) or seconds != seconds:
        raise Malformed("time that is no number and no ISO 8601")
    if seconds < _EARLIEST:  # infinity falls under one of these
        raise Malformed("time before 1990")
    if seconds > _LATEST:
        raise Malformed("time after the year 9999: seconds are expected")
    return int(seconds)


def utf8(text: str) -> str:
    """Return `text` without halves of surrogate pairs, which JSON can name and UTF-8 cannot write."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def feed_files(path: Path, feed: str, takes: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the file at `path`, or the files of the folder at `path`, with one of the suffixes.

    Raises:
        ValueError: there is none.
    """
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _is_one(file, suffixes))
        if not found:
            raise ValueError(f"{path} holds no file that ends in {', '.join(suffixes)}: give {feed} a {takes}.")
        return found
    if not path.is_file():
        raise ValueError(f"There is no {path}: give {feed} a {takes}.")
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path.name} does not end in {', '.join(suffixes)}: give {feed} a {takes}.")
    return [path]


def _is_one(file: Path, suffixes: Sequence[str]) -> bool:
    return file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()


def _parsed(value: object) -> float:
    if not isinstance(value, str):
        return math.nan
    try:
        return float(value)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _table(kind: Kind, rows: list[tuple[object, ...]]) -> pa.Table:
    schema = SCHEMAS[kind]
    columns = zip(schema, zip(*rows, strict=True), strict=True)
    return pa.Table.from_arrays([pa.array(values, field.type) for field, values in columns], schema=schema)
