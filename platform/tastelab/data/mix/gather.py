"""Pieces of feeds → parts: tables of hashed posts, reactions and accounts, and of items' texts.

A task reads one piece as a stream, so it holds a block of it at a time. A part has about `PART_ROWS` rows, which bounds
what the tasks after it hold, however large a piece is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.feeds.base import BadRecords, Kind, feed
from tastelab.data.mix.hashing import hashed, seed_of
from tastelab.data.mix.sources import SourcePiece
from tastelab.data.quarantine import BadLine

PART_ROWS = 262_144
BAD_LINES_KEPT = 10_000
"""Malformed records of a piece that are listed; all are counted."""
NO_TIME = np.iinfo(np.int64).min

POST_PART = pa.schema(
    [
        pa.field("id", pa.uint64()),
        pa.field("check", pa.uint32()),  # a second hash of the same id: tells a repeated id from a collision
        pa.field("parent", pa.uint64()),  # `NO_HASH`: an item
        pa.field("user", pa.uint64()),  # `NO_HASH`: unknown
        pa.field("time", pa.int64()),  # seconds since 1970; `NO_TIME`: unknown
        pa.field("kind", pa.string()),
    ]
)
ITEM_PART = pa.schema(
    [
        pa.field("id", pa.uint64()),
        pa.field("time", pa.int64()),
        *(pa.field(name, pa.string()) for name in ("community", "title", "text", "url", "tags")),
    ]
)
REACTION_PART = pa.schema(
    [
        pa.field("id", pa.uint64()),
        pa.field("user", pa.uint64()),
        pa.field("time", pa.int64()),
        pa.field("date_only", pa.bool_()),
        pa.field("kind", pa.string()),
        pa.field("weight", pa.float32()),
    ]
)
ACCOUNT_PART = pa.schema([pa.field("user", pa.uint64()), pa.field("person", pa.uint64())])
PARTS = {"posts": POST_PART, "items": ITEM_PART, "reactions": REACTION_PART, "accounts": ACCOUNT_PART}


@dataclass
class CountedBad(BadRecords):
    """Malformed records without their text, which may name people: the first are listed, all are counted."""

    num_bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, number: int, reason: str, text: bytes = b"") -> None:
        """Count a record, and keep its number and the reason."""
        self.num_bad += 1
        self.reasons[reason] += 1
        if len(self.lines) < BAD_LINES_KEPT:
            self.lines.append(BadLine(number, reason, b""))


class _Parts:
    """Writes the tables of one kind to numbered files, a new one after every `PART_ROWS` rows."""

    def __init__(self, folder: Path, kind: str, piece: int) -> None:
        self.stem, self.schema = folder / f"{kind}-{piece:06d}", PARTS[kind]
        self.files: list[str] = []
        self.num_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows_of_file = 0

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        if self._writer is None:
            file = self.stem.with_name(f"{self.stem.name}-{len(self.files):05d}.parquet")
            self._writer = pq.ParquetWriter(file, self.schema, compression="zstd")
            self.files.append(str(file))
        self._writer.write_table(table)
        self.num_rows += table.num_rows
        self._rows_of_file += table.num_rows
        if self._rows_of_file >= PART_ROWS:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._rows_of_file = None, 0


@dataclass(frozen=True)
class Gather:
    """Reads one piece into parts under a scratch folder; runs as a task."""

    folder: Path
    labels: tuple[str, ...]
    """Labels of the sources: ids of two of them never meet."""
    key: bytes
    """Of all hashes: without it a list of names tells neither who is who nor what was drawn."""

    def __call__(self, task: SourcePiece) -> dict[str, Any]:
        """Read a piece; return its files by kind and its counts."""
        bad, kinds = CountedBad(), set[str]()
        parts = {kind: _Parts(self.folder, kind, task.number) for kind in PARTS}
        reader, label = feed(task.piece.feed), self.labels[task.source]
        persons = reader.name if reader.persons_span_sources else label
        for kind, table in reader.read(task.piece, bad):
            for name, part in self._hashed(kind, table, label, persons).items():
                parts[name].write(part)
            if kind != "accounts":
                kinds.update(table["kind"].unique().to_pylist())
        for part in parts.values():
            part.close()
        return {
            "source": task.source,
            "file": task.piece.label,
            "start": task.piece.start,
            "files": {kind: part.files for kind, part in parts.items()},
            "rows": {kind: part.num_rows for kind, part in parts.items()},
            "kinds": sorted(kinds),
            "records": bad.num_records,
            "bad": bad.num_bad,
            "bad_lines": [[line.number, line.reason] for line in bad.lines],
            "cut_short": bad.cut_short,
            "left_out": dict(bad.left_out),
        }

    def _hashed(self, kind: Kind, table: pa.Table, label: str, persons: str) -> dict[str, pa.Table]:
        """Replace the identifiers of a block by hashes; posts are told apart from items' texts."""
        posts, users = (seed_of(kind, label, key=self.key) for kind in ("post", "user"))
        if kind == "accounts":
            people = hashed(table["person"], seed_of("person", persons, key=self.key))
            return {"accounts": _table(ACCOUNT_PART, user=hashed(table["user"], users), person=people)}
        known = {
            "id": hashed(table["post_id"], posts),
            "user": hashed(table["user"], users),
            "time": pc.fill_null(table["time"].cast(pa.int64()), NO_TIME),
            "kind": table["kind"],
        }
        if kind == "reactions":
            known |= {"date_only": table["date_only"], "weight": table["weight"]}
            return {"reactions": _table(REACTION_PART, **known)}
        check = (hashed(table["post_id"], seed_of("check", label, key=self.key)) & np.uint64(0xFFFFFFFF)).astype(
            np.uint32
        )
        thin = _table(POST_PART, check=check, parent=hashed(table["parent_id"], posts), **known)
        texts = {name: table[name] for name in ("community", "title", "text", "url", "tags")}
        items = _table(ITEM_PART, id=known["id"], time=known["time"], **texts).filter(table["parent_id"].is_null())
        community = pc.if_else(pc.equal(items["community"], ""), label, items["community"])
        return {"posts": thin, "items": items.set_column(2, "community", community)}


def _table(schema: pa.Schema, **columns: Any) -> pa.Table:
    return pa.table({field.name: columns[field.name] for field in schema}, schema=schema)
