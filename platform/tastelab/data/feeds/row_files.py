"""Rows of .parquet, .csv and .jsonl files, packed (.gz, .zst) or not, as small tables with types as found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.feeds import base, lines
from tastelab.data.feeds.base import BLOCK_ROWS, BadRecords
from tastelab.data.quarantine import MAX_TEXT

SUFFIXES = (".parquet", ".csv", ".jsonl")
PACKED = (".gz", ".zst")
PIECE_ROWS = 1_000_000
"""Rows of a Parquet file that one task reads, in whole row groups."""
_BLOCK_BYTES = 16 * 2**20
Rows = tuple[Sequence[int], pa.Table]
"""Numbers of rows in what is read (from 1), and the rows."""


def format_of(path: Path) -> str:
    """Return the suffix of a file that says what it is: ".csv" of `events.csv.gz`; "" if it is none of `SUFFIXES`."""
    suffix = (path.with_suffix("") if path.suffix in PACKED else path).suffix
    return "" if suffix not in SUFFIXES or (suffix == ".parquet" and path.suffix in PACKED) else suffix


def column_names(path: Path) -> list[str]:
    """Return the columns of a file: its header, or the keys of its first objects; empty: it has no rows at all."""
    if format_of(path) == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    if format_of(path) == ".csv":
        return next(_csv_records(path, BadRecords()), [])
    first = islice(_objects(path, BadRecords(), 0, None), 100)
    return list(dict.fromkeys(name for _, row in first for name in row))


def ranges(path: Path) -> list[tuple[int, int | None]]:
    """Cut a file into ranges for `read_rows`: row groups of Parquet, bytes of plain JSON lines, else all of it."""
    if format_of(path) == ".jsonl":
        return lines.ranges(path)
    if format_of(path) == ".csv":
        return [(0, None)]
    meta, cuts, num_rows = _parquet(path).metadata, [0], 0
    for group in range(meta.num_row_groups):
        num_rows += meta.row_group(group).num_rows
        if num_rows >= PIECE_ROWS:
            cuts, num_rows = [*cuts, group + 1], 0
    stops = [*cuts[1:], meta.num_row_groups]
    return [(start, stop) for start, stop in zip(cuts, stops, strict=True) if start < stop] or [(0, 0)]


def read_rows(path: Path, names: Sequence[str], bad: BadRecords, start: int, stop: int | None) -> Iterator[Rows]:
    """Read a range of a file in blocks of at most `BLOCK_ROWS` rows, with those of the columns `names` that it has.

    Rows that cannot be read go to `bad`, which also counts all rows. A line of CSV or JSON above `base.MAX_LINE` is
    never held, nor is more than a block; a row of Parquet is, however large its cells are. A field of CSV is at most
    131,072 characters long.

    Raises:
        ValueError: The file is no whole Parquet file.
    """
    if format_of(path) == ".parquet":
        return _read_parquet(path, names, bad, start, stop)
    if format_of(path) == ".csv":
        return _read_csv(path, names, bad)
    return _read_jsonl(path, names, bad, start, stop)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file: write or download it again.") from error


def _read_parquet(path: Path, names: Sequence[str], bad: BadRecords, start: int, stop: int | None) -> Iterator[Rows]:
    with _parquet(path) as file:
        columns = [name for name in names if name in file.schema_arrow.names]
        groups = range(start, file.metadata.num_row_groups if stop is None else stop)
        try:
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=groups, columns=columns, use_threads=False):
                first = bad.num_records + 1
                bad.num_records += batch.num_rows
                yield range(first, first + batch.num_rows), pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is no whole Parquet file: write or download it again.") from error


def _read_csv(path: Path, names: Sequence[str], bad: BadRecords) -> Iterator[Rows]:
    records = _csv_records(path, bad)
    header = next(records, [])
    columns = [(name, header.index(name)) for name in names if name in header]
    for numbers, rows in _blocks(_whole(records, len(header), bad)):
        yield numbers, pa.table({name: pa.array([row[at] for row in rows], pa.string()) for name, at in columns})


def _whole(records: Iterator[list[str]], width: int, bad: BadRecords) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the records that have all fields, with number and size; the last one may have been cut."""
    for record in records:
        bad.num_records += 1
        if len(record) == width:
            yield bad.num_records, sum(map(len, record)), record
        else:
            bad.add(bad.num_records, "a wrong number of fields", ",".join(record).encode("utf-8", "replace"))


def _csv_records(path: Path, bad: BadRecords) -> Iterator[list[str]]:
    """Yield the records of a CSV file, its header first; what cannot be read goes to `bad`, which counts only that."""
    with pa.input_stream(str(path)) as unpacked, io.BufferedReader(unpacked, 2**20) as stream:
        records = csv.reader(_lines(stream, bad))
        while True:
            try:
                if record := next(records):
                    yield record
            except StopIteration:
                return
            except csv.Error as error:
                bad.num_records += 1
                bad.add(bad.num_records, f"no CSV: {error}")
            except OSError:  # packed, and the packed bytes end or are damaged
                bad.cut_short = True
                bad.num_records += 1
                bad.add(bad.num_records, "the file ends within this record")
                return


def _lines(stream: io.BufferedReader, bad: BadRecords) -> Iterator[str]:
    """Yield the lines of a text that are UTF-8 and no longer than `MAX_LINE`."""
    encoding = "utf-8-sig"
    while line := stream.readline(base.MAX_LINE + 1):
        reason = ""
        if len(line) > base.MAX_LINE and not line.endswith(b"\n"):
            reason = f"longer than {base.MAX_LINE:,} bytes"
            while (more := stream.readline(2**20)) and not more.endswith(b"\n"):
                pass
        try:
            text = "" if reason else line.decode(encoding)
        except UnicodeDecodeError:
            reason = "not UTF-8"
        encoding = "utf-8"
        if not reason:
            yield text
            continue
        bad.num_records += 1
        bad.add(bad.num_records, reason, line[:MAX_TEXT])


def _read_jsonl(path: Path, names: Sequence[str], bad: BadRecords, start: int, stop: int | None) -> Iterator[Rows]:
    objects = ((number, len(row), row) for number, row in _objects(path, bad, start, stop))
    for numbers, rows in _blocks(objects):
        yield numbers, pa.table({name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names})


def _objects(path: Path, bad: BadRecords, start: int, stop: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines.read_lines(path, bad, start, stop):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            bad.add(number, "no JSON object", line)


def _text(value: object) -> str | None:
    """Return a value of JSON as CSV would have it: lists joined by commas."""
    if value is None:
        return None
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # JSON can name half a character


def _blocks(rows: Iterator[tuple[int, int, Any]]) -> Iterator[tuple[list[int], list[Any]]]:
    """Gather (number, size, row) to blocks of `BLOCK_ROWS` rows or about `_BLOCK_BYTES`."""
    numbers: list[int] = []
    held: list[Any] = []
    size = 0
    for number, row_size, row in rows:
        numbers.append(number)
        held.append(row)
        size += row_size
        if len(held) == BLOCK_ROWS or size > _BLOCK_BYTES:
            yield numbers, held
            numbers, held, size = [], [], 0
    if held:
        yield numbers, held
