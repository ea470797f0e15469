"""Items and impressions → the two prepared data sets of a mix, which list the same items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tastelab.data.mix.duplicates import near_duplicates
from tastelab.data.mix.items import Catalog
from tastelab.data.mix.options import MixOptions
from tastelab.data.mix.report import too_few
from tastelab.data.mix.splits import SPLITS, read_windows
from tastelab.data.mix.timelines import Ints
from tastelab.data.progress import bar_of
from tastelab.data.tables import DatasetWriter


@dataclass(frozen=True)
class Windows:
    """Where the impressions of a build are, and how they are cut."""

    folder: Path
    num_buckets: int
    cut: Ints
    """Time of each community from which on its impressions are dev."""


def write(folder: Path, name: str, items: pa.Table, windows: Windows, meta: dict[str, Any], show: bool) -> None:
    """Write `folder`, the last impression of each person per split, and `folder/all`, every impression.

    An impression has the same identifier in both: its number in the build.

    Raises:
        ValueError: A split would be empty.
    """
    every = folder.with_name(f"{folder.name}-all")
    counts, start = Counter[str](), 0
    with (
        DatasetWriter(folder, name, variant="final", **meta) as final,
        DatasetWriter(every, f"{name}-all", variant="all", **meta) as whole,
        bar_of(windows.num_buckets, "writing", show, unit=" buckets") as bar,
    ):
        for writer in (final, whole):
            writer.write_items(items)
        for bucket in range(windows.num_buckets):
            for table, split, last in read_windows(windows.folder, bucket, windows.cut):
                numbers = pa.array(np.arange(start, start + len(table))).cast(pa.string())
                table, start = table.append_column("impression_id", numbers), start + len(table)
                for code, label in enumerate(SPLITS):
                    of_split = split == code
                    counts[label] += int(of_split.sum())
                    _append(whole, label, table, of_split)
                    _append(final, label, table, of_split & last)
            bar.update(1)
        if not all(counts[label] for label in SPLITS):
            raise ValueError(too_few(*(counts[label] for label in SPLITS)))
    every.rename(folder / "all")


def _append(writer: DatasetWriter, split: str, table: pa.Table, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    if rows.any():
        writer.write_impressions(split, table.filter(pa.array(rows)))


def item_table(items: Catalog, key: bytes) -> pa.Table:
    """Return the item table with near-duplicates marked."""
    texts = items.texts(["title", "url"])
    groups = near_duplicates(texts["title"].to_pylist(), texts["url"].to_pylist())
    return items.table(key, np.asarray(groups, np.int32))


def described(options: MixOptions, quarantine: dict[str, Any]) -> dict[str, Any]:
    """Return what `meta.json` says of a build beside the tables."""
    return {"source": "mix", "options": options.public(), "quarantine": quarantine}
