"""The generic form: a folder with `events`, `items` and maybe `accounts`, as .parquet, .csv or .jsonl files.

Each may be several files (`events-0.parquet`, `events-1.parquet`), and .csv and .jsonl may be packed (.gz, .zst). The
columns, in any order; others are ignored:

| file | columns that must be there | that may be there |
| --- | --- | --- |
| events | user, item, time | kind ("click"), weight (1; below 0: disliked), community (the item's counts) |
| items | id, title | text, community, time (when it came up), url, tags (comma-separated), user (who wrote it) |
| accounts | user, person | |

A time is ISO 8601 (UTC where no zone is named) or a number of seconds since 1970. Texts are plain; HTML in them goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from tastelab.data.feeds import row_files
from tastelab.data.feeds.base import ACCOUNTS, POSTS, REACTIONS, BadRecords, Feed, Kind, Piece
from tastelab.data.feeds.columns import Column, floats, is_date, set_aside, strings, times
from tastelab.data.feeds.text import MAX_TEXT_CHARS, clean_title, without_personal

NEEDED = {"events": ("user", "item", "time"), "items": ("id", "title"), "accounts": ("user", "person")}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "events": ("kind", "weight"),
    "items": ("text", "community", "time", "url", "tags", "user"),
    "accounts": (),
}


class Generic(Feed):
    """Events are reactions to items; items are posts, whose author is known where they have a column `user`."""

    name: ClassVar[str] = "generic"
    takes: ClassVar[str] = "a folder with events and items as .parquet, .csv or .jsonl"
    licence: ClassVar[str] = "that of the files: ask who made them"

    def pieces(self, path: Path) -> list[Piece]:
        """Cut the files in the folder `path`; a piece's range is in the units of `row_files.ranges`.

        Raises:
            ValueError: There are no events or no items, or a file lacks a column or cannot be read.
        """
        if not path.is_dir():
            raise ValueError(f"There is no folder {path}: give generic {self.takes}.")
        files = [file for file in sorted(path.iterdir()) if _table_of(file) in NEEDED and file.is_file()]
        for table in ("events", "items"):
            if not any(_table_of(file) == table for file in files):
                raise ValueError(f"{path} holds no {table}.parquet, .csv or .jsonl: give generic {self.takes}.")
        for file in files:
            _check_columns(file)
        return [Piece(self.name, file, "", *span) for file in files for span in row_files.ranges(file)]

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read a piece: reactions of events, posts of items, accounts of accounts."""
        table = _table_of(piece.path)
        kind, convert = _CONVERTERS[table]
        names = NEEDED[table] + OPTIONAL[table]
        for numbers, rows in row_files.read_rows(piece.path, names, bad, piece.start, piece.stop):
            try:
                yield kind, convert(numbers, rows, bad)
            except ValueError as error:
                raise ValueError(f"{piece.path}: {error}") from error


def _table_of(path: Path) -> str:
    """Return "events" of `events.csv` and of `events-2024.parquet`; "" if the file is of another format."""
    return path.name.split(".")[0].split("-")[0] if row_files.format_of(path) else ""


def _check_columns(path: Path) -> None:
    found = row_files.column_names(path)
    missing = [name for name in NEEDED[_table_of(path)] if name not in found]
    if missing:
        has = f"it has {', '.join(found)}" if found else "it is empty"
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: {has}.")


def _events(numbers: Sequence[int], rows: pa.Table, bad: BadRecords) -> pa.Table:
    user, item, when = strings(rows["user"]), strings(rows["item"]), times(rows["time"])
    weight = pc.fill_null(floats(_column(rows, "weight")), 1.0).cast(pa.float32(), safe=False)
    faults = {
        "no user": user.is_null(),
        "no item": item.is_null(),
        "no time": when.is_null(),
        "a weight that is no finite number": pc.invert(pc.is_finite(weight)),
    }
    sound = set_aside(bad, numbers, rows, faults)
    kind = pc.fill_null(strings(_column(rows, "kind")), "click")
    return _table(
        REACTIONS,
        sound,
        post_id=item,
        user=user,
        time=when,
        date_only=is_date(rows["time"]),
        kind=kind,
        weight=weight,
    )


def _items(numbers: Sequence[int], rows: pa.Table, bad: BadRecords) -> pa.Table:
    item, given = strings(rows["id"]), _column(rows, "time")
    when = times(given)
    faults = {"no id": item.is_null(), "a time that is none": pc.and_(when.is_null(), strings(given).is_valid())}
    sound = set_aside(bad, numbers, rows, faults)
    return _table(
        POSTS,
        sound,
        post_id=item,
        parent_id=pa.nulls(len(rows), pa.string()),
        user=strings(_column(rows, "user")),
        time=when,
        kind=pa.repeat("post", len(rows)),
        title=_texts(rows, "title"),
        text=_texts(rows, "text"),
        tags=_texts(rows, "tags"),
        **{name: pc.fill_null(strings(_column(rows, name)), "") for name in ("community", "url")},
    )


def _accounts(numbers: Sequence[int], rows: pa.Table, bad: BadRecords) -> pa.Table:
    user, person = strings(rows["user"]), strings(rows["person"])
    sound = set_aside(bad, numbers, rows, {"no user": user.is_null(), "no person": person.is_null()})
    return _table(ACCOUNTS, sound, user=user, person=person)


_CONVERTERS: dict[str, tuple[Kind, Callable[[Sequence[int], pa.Table, BadRecords], pa.Table]]] = {
    "events": ("reactions", _events),
    "items": ("posts", _items),
    "accounts": ("accounts", _accounts),
}


def _column(rows: pa.Table, name: str) -> Column:
    return rows[name] if name in rows.column_names else pa.nulls(len(rows), pa.string())


def _texts(rows: pa.Table, name: str) -> pa.Array:
    """Return plain texts without names, "" where there is none."""
    found = strings(_column(rows, name)).to_pylist()
    plain = (without_personal(clean_title(text))[:MAX_TEXT_CHARS] if text else "" for text in found)
    return pa.array(plain, pa.string())


def _table(schema: pa.Schema, sound: pa.Array, **columns: pa.Array) -> pa.Table:
    """Return the sound rows as a table of `schema`."""
    kept = [columns[field.name].filter(sound).cast(field.type) for field in schema]
    return pa.table(kept, schema=schema)
