"""A feed that tests write as rows of tables, read in pieces of a few rows."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tastelab.data.feeds import base
from tastelab.data.feeds.base import SCHEMAS, BadRecords, Feed, Kind, Piece

Rows = Sequence[Mapping[str, Any]]
MakeFeed = Callable[..., Path]
DEFAULTS: dict[str, dict[str, Any]] = {
    "posts": {
        "parent_id": None,
        "user": None,
        "kind": "post",
        "community": "",
        "title": "",
        "text": "",
        "url": "",
        "tags": "",
    },
    "reactions": {"date_only": False, "kind": "vote", "weight": 1.0},
    "accounts": {},
}


class Toy(Feed):
    """A folder with `posts.json`, `reactions.json` and `accounts.json`; a row without values is malformed."""

    name = "toy"

    def pieces(self, path: Path) -> list[Piece]:
        starts = range(0, 210, 70)
        return [Piece("toy", file, "", start, start + 70) for file in sorted(path.iterdir()) for start in starts]

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        kind: Kind = piece.path.stem  # type: ignore[assignment]
        rows = json.loads(piece.path.read_text())[piece.start : piece.stop]
        bad.num_records += len(rows)
        for number, row in enumerate(rows, 1):
            if not row:
                bad.add(number, "empty record", b"jane@example.org")
        kept = [DEFAULTS[kind] | row for row in rows if row]
        schema = SCHEMAS[kind]
        columns = {field.name: [row[field.name] for row in kept] for field in schema}
        yield kind, pa.table({name: pa.array(values, schema.field(name).type) for name, values in columns.items()})


@pytest.fixture
def make_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFeed:
    """Function that writes a toy feed and returns its folder: `make_feed(name, posts=…, reactions=…, accounts=…)`."""
    module = types.ModuleType("toy_feed")
    module.Toy = Toy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_feed", module)
    monkeypatch.setitem(base.FEEDS, "toy", "toy_feed:Toy")

    def make(name: str = "feed", **tables: Rows) -> Path:
        folder = tmp_path / "feeds" / name
        folder.mkdir(parents=True)
        for kind, rows in tables.items():
            (folder / f"{kind}.json").write_text(json.dumps(list(rows)))
        return folder

    return make
