"""Columns as files have them (texts, numbers, dates) → ids, times and weights of a feed's tables, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.data.feeds.base import BLOCK_ROWS, BadRecords

Column: TypeAlias = pa.Array
"""An array or a chunked one."""
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1, 9999))
_DATE = r"^\d{4}-\d\d-\d\d$"


def strings(column: Column) -> pa.Array:
    """Return texts; "" and blanks become null, whole floats lose their ".0", lists are joined by commas.

    Raises:
        ValueError: The type has no text, such as a struct.
    """
    column = _one(column)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pc.all(pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2**53)), min_count=0).as_py():
            column = column.cast(pa.int64())  # pandas makes floats of whole numbers where one is missing
    try:
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ValueError(
            f"A column of type {column.type} cannot be read as text: write it as texts or numbers."
        ) from error
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def times(column: Column) -> pa.Array:
    """Return times in seconds, UTC: of dates and times, of numbers (seconds since 1970), or of texts of either.

    Texts are ISO 8601; without a zone they are UTC. What is no time, or outside the years 1 to 9998, becomes null.
    """
    column = _one(column)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"), safe=False)  # a zone is only a way to show the same time
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        column = _from_seconds(column.cast(pa.float64(), safe=False))
    else:
        column = _from_texts(strings(column))
    seconds = column.cast(pa.int64())
    sound = pc.and_(pc.greater_equal(seconds, _FIRST), pc.less(seconds, _LAST))
    return pc.if_else(sound, column, pa.scalar(None, pa.timestamp("s")))


def is_date(column: Column) -> pa.Array:
    """Return which values of a column of times name a day without an hour."""
    column = _one(column)
    if pa.types.is_date(column.type):
        return pa.array(np.ones(len(column), dtype=bool))
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.fill_null(pc.match_substring_regex(pc.utf8_trim_whitespace(column), _DATE), False)
    return pa.array(np.zeros(len(column), dtype=bool))


def floats(column: Column) -> pa.Array:
    """Return numbers as float64; a text that is none becomes NaN, nothing stays null."""
    column = _one(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = strings(column)
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return pa.array([None if text is None else _number(text) for text in column.to_pylist()], pa.float64())


def set_aside(bad: BadRecords, numbers: Sequence[int], rows: pa.Table, faults: dict[str, Column]) -> pa.Array:
    """Put each row with a fault to `bad` under its first one, and return which rows have none.

    Args:
        bad: Takes the rows.
        numbers: Number of each row.
        rows: The rows as they were read.
        faults: Reason → which rows have the fault.
    """
    sound = np.ones(len(numbers), dtype=bool)
    for reason, fault in faults.items():
        found = np.asarray(_one(fault)) & sound
        for row in np.flatnonzero(found).tolist():
            bad.add(numbers[row], reason, str(rows.slice(row, 1).to_pylist()[0]).encode("utf-8", "replace"))
        sound &= ~found
    return pa.array(sound)


def in_blocks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables and cut large ones to `BLOCK_ROWS` rows, the last one to fewer."""
    held: list[pa.Table] = []
    num_rows = 0
    for table in tables:
        held.append(table)
        num_rows += table.num_rows
        if num_rows >= BLOCK_ROWS:
            whole = pa.concat_tables(held)
            cut = num_rows - num_rows % BLOCK_ROWS
            yield from (whole.slice(start, BLOCK_ROWS) for start in range(0, cut, BLOCK_ROWS))
            held, num_rows = [whole.slice(cut)], num_rows - cut
    if num_rows:
        yield pa.concat_tables(held)


def _one(column: Column) -> pa.Array:
    """Return a column as one array without dictionary."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _from_seconds(seconds: pa.Array) -> pa.Array:
    sound = pc.and_(pc.greater_equal(seconds, _FIRST), pc.less(seconds, _LAST))  # NaN is in neither
    known = pc.if_else(sound, pc.floor(seconds), pa.scalar(None, pa.float64()))
    return known.cast(pa.int64()).cast(pa.timestamp("s"))


def _from_texts(texts: pa.Array) -> pa.Array:
    """Return times of texts: of all at once where they have one form, else one by one."""
    try:
        return _from_seconds(texts.cast(pa.float64()))
    except pa.ArrowInvalid:
        pass
    for zone in (None, "UTC"):
        try:
            return texts.cast(pa.timestamp("us", zone)).cast(pa.timestamp("s"), safe=False)
        except pa.ArrowInvalid:
            pass
    found = [None if text is None else _moment(text) for text in texts.to_pylist()]
    return _from_seconds(pa.array(found, pa.float64()))


def _moment(text: str) -> float:
    """Return the seconds since 1970 of a text, or NaN."""
    if not math.isnan(seconds := _number(text)):
        return seconds
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
