"""Several prepared data sets → one whose items say where they come from, to train and to test across domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.domains import domains, item_domains
from tastelab.data.mix.card import warnings
from tastelab.data.ragged import flat
from tastelab.data.tables import ROWS_PER_FILE, DatasetWriter, PreparedData, open_prepared
from tastelab.schema import SPLITS

VERSION = 1
"""Raised when the same parts give other tables, so that caches are written again."""


@dataclass(frozen=True)
class _Part:
    """A data set, the name that its ids begin with, and its first row in the joined item table."""

    data: PreparedData
    name: str
    first_row: int


def ordered(parts: Sequence[PreparedData]) -> list[PreparedData]:
    """Return the parts in the order in which they are joined, whatever order they were given in.

    Raises:
        ValueError: There are fewer than two, or two of them are the same.
    """
    if len(parts) < 2:
        raise ValueError(f"Joining takes two or more data sets, not {len(parts)}: name them with commas between.")
    for place, part in enumerate(parts):
        if same := [other for other in parts[:place] if other.fingerprint == part.fingerprint]:
            both = part.name if same[0].name == part.name else f"{same[0].name}' and '{part.name}"
            raise ValueError(f"'{both}' is the same data set twice: join different ones.")
    return sorted(parts, key=lambda part: (part.name, part.fingerprint))


def join(parts: Sequence[PreparedData], target: Path, name: str) -> PreparedData:
    """Write the union of prepared data sets and open it.

    Items stand part after part, and so do the impressions of each split; ids of items, users and impressions begin
    with the name of their part. `community` is the name of the part, or "<name>/<community>" where a part has several
    domains (`data.domains`). Nothing is decided anew: histories, candidates, labels and feedback are those of the
    parts. A part whose impressions have no labels is left out of a split that others label.

    Args:
        parts: Data sets to join, in any order.
        target: Folder to write; it appears only when it is complete.
        name: Label of the joined data set.

    Raises:
        ValueError: There are fewer than two, or two of them are the same.
    """
    chosen = _named(ordered(parts))
    left_out: dict[str, list[str]] = {}
    facts = [
        {"name": part.name, "fingerprint": part.data.fingerprint, "num_items": part.data.num_items} for part in chosen
    ]
    with DatasetWriter(target, name, source="join", parts=facts) as writer:
        marks = any(part.data.has_item_column("near_duplicate") for part in chosen)
        writer.write_items(pa.concat_tables([_items(part, marks) for part in chosen]))
        for split in SPLITS:
            holders = [part for part in chosen if split in part.data.splits]
            labelled = [part for part in holders if part.data.has_labels(split)] or holders
            if len(labelled) < len(holders):
                left_out[split] = [part.name for part in holders if part not in labelled]
            for part in labelled:
                for table in _impressions(part, split):
                    writer.write_impressions(split, table)
        writer.extra |= {"left_out": left_out} if left_out else {}
        said = [f"{part.name}: {sentence}" for part in chosen for sentence in warnings(part.data)]
        writer.extra |= {"warnings": said} if said else {}
    return open_prepared(target)


def _named(parts: Sequence[PreparedData]) -> list[_Part]:
    """Give each part its rows and a name of its own: data sets of one name get their fingerprint behind it."""
    names = [part.name for part in parts]
    starts = np.cumsum([0, *(part.num_items for part in parts)]).tolist()
    return [
        _Part(part, part.name if names.count(part.name) == 1 else f"{part.name}-{part.fingerprint}", start)
        for part, start in zip(parts, starts, strict=False)
    ]


def _items(part: _Part, marks: bool) -> pa.Table:
    items = part.data.items()
    items = items.set_column(0, "item_id", _prefixed(part, items["item_id"]))
    items = items.drop_columns([name for name in ("community", "near_duplicate") if name in items.column_names])
    items = items.append_column("community", pa.array(_communities(part), pa.string()))
    if not marks:
        return items
    first = pa.nulls(items.num_rows, pa.int32())
    if part.data.has_item_column("near_duplicate"):
        first = pc.add(part.data.items(["near_duplicate"])["near_duplicate"], pa.scalar(part.first_row, pa.int32()))
    return items.append_column("near_duplicate", first)


def _communities(part: _Part) -> list[str]:
    if len(domains(part.data)) == 1:
        return [part.name] * part.data.num_items
    names, codes_N = item_domains(part.data)
    full = [*(f"{part.name}/{name}" for name in names), ""]  # the last is that of items of no domain, code -1
    return [full[code] for code in codes_N.tolist()]


def _impressions(part: _Part, split: str) -> Iterator[pa.Table]:
    for file in part.data.files(split):
        for batch in pq.ParquetFile(file).iter_batches(ROWS_PER_FILE):
            table = pa.Table.from_batches([batch]).drop_columns(["row"])
            for name in ("impression_id", "user_id"):
                table = table.set_column(table.column_names.index(name), name, _prefixed(part, table[name]))
            for name in ("history", "candidates"):
                table = table.set_column(table.column_names.index(name), name, _shifted(table[name], part.first_row))
            yield table


def _prefixed(part: _Part, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(part.name, ids, ":")


def _shifted(lists: pa.ChunkedArray, first_row: int) -> pa.ListArray:
    rows, offsets = flat(lists)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array((rows + first_row).astype(np.int32)))
