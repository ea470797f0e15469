"""One bucket of people → a file of their impressions; runs as a task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.mix.engagements import DAY_S, read_bucket
from tastelab.data.mix.hashing import U64
from tastelab.data.mix.people import written_ids
from tastelab.data.mix.timelines import Timelines
from tastelab.data.mix.windows import WINDOWS, Rules, Taste, impressions, taste

DISLIKED = "disliked"


@dataclass(frozen=True)
class Bucket:
    """Makes the impressions of one bucket of people."""

    folder: Path
    """Where the engagements are."""
    timelines: Path
    num_parts: int
    kinds: tuple[str, ...]
    rules: Rules
    key: bytes
    """Of the written identifiers."""

    def __call__(self, number: int) -> dict[str, Any]:
        """Write the impressions of bucket `number`, and return its counts."""
        timelines = Timelines.load(self.timelines)
        found = taste(read_bucket(self.folder, self.num_parts, number), timelines, self.rules.own_posts)
        counts, days = Counter[str]({"impressions": 0}), DayCounts()
        with pq.ParquetWriter(windows_file(self.folder, number), WINDOWS, compression="zstd") as writer:
            for table in impressions(found, timelines, self.rules, counts):
                days.add(table)
                counts["impressions"] += len(table)
                writer.write_table(table)
        np.save(days_file(self.folder, number), days.counted())
        persons = found.persons[np.flatnonzero(np.diff(found.people, prepend=-1))]
        ids = written_ids("u", persons, self.key)
        check_one_id_each(persons, ids)
        pq.write_table(pa.table({"user_id": ids}), people_file(self.folder, number))
        return {"counts": dict(counts), **summary(found, timelines, self.kinds)}


def check_one_id_each(persons: U64, ids: pa.Array) -> None:
    """Raise `ValueError` where a person of a bucket has two identifiers, or two people share one.

    Buckets are ranges of the persons' hashes, so no person is in two of them.
    """
    if not len(np.unique(persons)) == len(persons) == len(ids.unique()):
        raise ValueError("Two people would have one identifier, or one person two: build with another --salt.")


class DayCounts:
    """Impressions per community and day: a few numbers from which to cut the splits."""

    def __init__(self) -> None:
        """Start with none."""
        self._tables = [np.empty((0, 3), np.int64)]

    def add(self, windows: pa.Table) -> None:
        """Count a table of impressions."""
        days = windows["time"].to_numpy() // DAY_S
        pairs = np.stack([windows["community"].to_numpy().astype(np.int64), days], axis=1)
        values, counts = np.unique(pairs, axis=0, return_counts=True)
        self.merge(np.column_stack([values, counts]))

    def merge(self, table: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Add rows of community, day, count."""
        self._tables.append(table)
        if len(self._tables) > 16:
            self._tables = [self.counted()]

    def counted(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rows of community, day, count, sorted."""
        rows = np.concatenate(self._tables)
        values, inverse = np.unique(rows[:, :2], axis=0, return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, inverse.reshape(-1), rows[:, 2])
        return np.column_stack([values, counts])


def summary(found: Taste, timelines: Timelines, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Count engagements by kind and community, and people by community."""
    by_kind = np.bincount(found.kinds, minlength=len(kinds)).tolist()
    communities = timelines.communities[found.rows]
    num = len(timelines.starts) - 1
    _, first = np.unique(found.groups, return_index=True)
    return {
        "people": found.num_people,
        "kinds": {kind: count for kind, count in zip(kinds, by_kind, strict=True) if count}
        | {DISLIKED: int((found.signs < 0).sum())},
        "engagements": np.bincount(communities, minlength=num).tolist(),
        "people_of": np.bincount(communities[first], minlength=num).tolist(),
        "most": int(np.diff(np.flatnonzero(np.diff(found.people, prepend=-1, append=-2))).max(initial=0)),
    }


def windows_file(folder: Path, number: int) -> Path:
    """Where the impressions of a bucket are."""
    return folder / f"windows-{number:06d}.parquet"


def days_file(folder: Path, number: int) -> Path:
    """Where the impressions of a bucket are counted by community and day."""
    return folder / f"days-{number:06d}.npy"


def people_file(folder: Path, number: int) -> Path:
    """Where the written identifiers of a bucket's people are."""
    return folder / f"people-{number:06d}.parquet"
