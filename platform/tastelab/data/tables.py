"""The prepared data set on disk: `items.parquet`, `impressions/<split>/part-*.parquet`, `meta.json`.

A writer streams tables into a temporary folder and moves it into place when it is complete, so that a prepared
folder is either whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.schema import IMPRESSIONS, ITEM_EXTRAS, ITEMS

FORMAT = 1
ROWS_PER_FILE = 8_192
ROWS_PER_GROUP = 1_024  # the grain at which training reads in shuffled order

# A row group names nearly as many items as it has slots: a dictionary of them costs time and space.
ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["labels.list.element"],
    "column_encoding": dict.fromkeys(("history.list.element", "candidates.list.element"), "BYTE_STREAM_SPLIT"),
}


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set: where it is and what `meta.json` says of it."""

    path: Path
    meta: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Label of the data set."""
        return str(self.meta["name"])

    @property
    def fingerprint(self) -> str:
        """Hash of the content of its tables: 12 hex digits."""
        return str(self.meta["fingerprint"])

    @property
    def num_items(self) -> int:
        """Number of rows of the item table."""
        return int(self.meta["num_items"])

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that are present."""
        return tuple(self.meta["splits"])

    def num_impressions(self, split: str) -> int:
        """Return the number of impressions of a split."""
        return int(self.meta["splits"][self._known(split)]["num_impressions"])

    def has_labels(self, split: str) -> bool:
        """Tell whether the impressions of a split carry clicks."""
        return bool(self.meta["splits"][self._known(split)]["has_labels"])

    @property
    def has_feedback(self) -> bool:
        """Tell whether any history says of an item that it was disliked."""
        return any(split.get("has_feedback", False) for split in self.meta["splits"].values())

    def items(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the item table."""
        return pq.read_table(self.path / "items.parquet", columns=columns and list(columns))

    def has_item_column(self, name: str) -> bool:
        """Tell whether the item table has one of the columns of `schema.ITEM_EXTRAS`."""
        return name in pq.read_schema(self.path / "items.parquet").names

    def files(self, split: str) -> list[Path]:
        """List the impression files of a split in file order."""
        return sorted((self.path / "impressions" / self._known(split)).glob("part-*.parquet"))

    def impressions(self, split: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a whole split; for data that fits, and for thin columns of data that does not."""
        return pq.read_table(self.path / "impressions" / self._known(split), columns=columns and list(columns))

    def _known(self, split: str) -> str:
        if split not in self.meta["splits"]:
            raise ValueError(f"'{self.name}' has no split '{split}': it holds {', '.join(self.splits)}.")
        return split


def open_prepared(path: Path) -> PreparedData:
    """Open a prepared folder; raise `ValueError` if it is none or of another format."""
    try:
        meta = json.loads((path / "meta.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"{path} is no prepared data set: run `tastelab data prepare` on its raw files.") from None
    if meta.get("format") != FORMAT:
        raise ValueError(f"{path} was prepared in format {meta.get('format')}, not {FORMAT}: prepare it again.")
    return PreparedData(path, meta)


class DatasetWriter:
    """Write a prepared data set in streaming fashion; use as a context manager.

    `write_items` is called once; `write_impressions` any number of times per split, in file order, without the `row`
    column, which the writer adds. Nothing appears at `path` before the block ends without an error.
    """

    def __init__(self, path: Path, name: str, **extra: Any) -> None:
        """Prepare to write `path`; `extra` goes into `meta.json` (source, known best AUC, …)."""
        self.path, self.extra, self.name = path, extra, name
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._hash = hashlib.sha256()
        self._num_items = 0
        self._splits: dict[str, _SplitWriter] = {}

    def __enter__(self) -> DatasetWriter:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def write_items(self, items: pa.Table) -> None:
        """Write the item table: columns of `schema.ITEMS`, and those of `schema.ITEM_EXTRAS` that it has."""
        schema = pa.schema([*ITEMS, *(field for field in ITEM_EXTRAS if field.name in items.column_names)])
        items = items.select(schema.names).cast(schema)
        pq.write_table(items, self._partial / "items.parquet", compression="zstd")
        self._num_items = items.num_rows
        _update(self._hash, items)

    def write_impressions(self, split: str, impressions: pa.Table) -> None:
        """Append impressions (columns of `schema.IMPRESSIONS` but `row`) to a split."""
        if split not in self._splits:
            self._splits[split] = _SplitWriter(self._partial / "impressions" / split)
        self._splits[split].append(impressions)

    def file(self, name: str) -> Path:
        """Return where to put a further file that belongs to the data set, such as a list of malformed lines."""
        return self._partial / name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        splits = {}
        for split, writer in sorted(self._splits.items()):
            writer.flush()
            self._hash.update(f"{split}:{writer.hash.hexdigest()}".encode())
            splits[split] = {"num_impressions": writer.num_rows, "has_labels": writer.has_labels}
            splits[split] |= {"has_feedback": True} if writer.has_dislikes else {}
        meta = {"format": FORMAT, "name": self.name, "fingerprint": self._hash.hexdigest()[:12]}
        meta |= {"num_items": self._num_items, "splits": splits} | self.extra
        (self._partial / "meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        shutil.rmtree(self.path, ignore_errors=True)
        self._partial.rename(self.path)


class _SplitWriter:
    """Cut a stream of impressions into files of `ROWS_PER_FILE` rows."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.hash = folder, hashlib.sha256()
        self.num_rows, self.num_files, self.has_labels, self.has_dislikes = 0, 0, False, False
        self._pending: list[pa.Table] = []
        self._num_pending = 0

    def append(self, impressions: pa.Table) -> None:
        rows = pa.array(np.arange(self.num_rows, self.num_rows + impressions.num_rows))
        table = impressions.append_column("row", rows).select(IMPRESSIONS.names).cast(IMPRESSIONS)
        self.num_rows += table.num_rows
        self.has_labels |= table["labels"].null_count < table.num_rows
        self.has_dislikes |= bool((pc.min(pc.list_flatten(table["feedback"])).as_py() or 0) < 0)
        self._pending.append(table)
        self._num_pending += table.num_rows
        while self._num_pending >= ROWS_PER_FILE:
            self._write(ROWS_PER_FILE)

    def flush(self) -> None:
        if self._num_pending or not self.num_files:
            self._write(self._num_pending)

    def _write(self, num_rows: int) -> None:
        table = pa.concat_tables(self._pending or [IMPRESSIONS.empty_table()])
        head, rest = table.slice(0, num_rows), table.slice(num_rows)
        pq.write_table(head, self.folder / f"part-{self.num_files:05d}.parquet", ROWS_PER_GROUP, **ENCODING)
        _update(self.hash, head)
        self.num_files += 1
        self._pending, self._num_pending = [rest] if rest.num_rows else [], rest.num_rows


def _update(digest: Any, table: pa.Table) -> None:
    """Hash a table's content, independent of chunks, slices and the version of the file format."""
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        digest.update(name.encode())
        if pa.types.is_list(column.type):
            digest.update(pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False).tobytes())
            column = column.flatten()
        if pa.types.is_string(column.type):
            filled = pc.fill_null(column, "\x00")
            digest.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).tobytes())
            digest.update("".join(filled.to_pylist()).encode())
        else:
            ints = column.cast(pa.int64())
            digest.update(pc.fill_null(ints, -(2**62)).to_numpy(zero_copy_only=False).tobytes())
