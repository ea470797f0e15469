"""Parts of posts and reactions → who engaged with which item when, in buckets of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.mix.gather import NO_TIME
from tastelab.data.mix.hashing import NO_HASH, U64
from tastelab.data.mix.people import People
from tastelab.data.mix.roots import REASONS, UNKNOWN, positions

EVENT = np.dtype([("person", "<u8"), ("row", "<i4"), ("time", "<i8"), ("sign", "i1"), ("kind", "<u2")])
"""An engagement: 23 bytes. `kind` 0 is posting the item."""
OWN = "own post"
DAY_S = 86_400
Mask = npt.NDArray[np.bool_]
Events = npt.NDArray[np.void]


@dataclass(frozen=True)
class Lookup:
    """What tells the item of a post and the person of a user; tasks map its files."""

    ids: U64
    """Sorted hashes of posts."""
    rows: npt.NDArray[np.int32]
    """Row of each one's item, or a reason of `roots.REASONS`."""
    created: npt.NDArray[np.int64]
    """When each item was posted."""
    people: People

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        folder.mkdir(parents=True)
        arrays: dict[str, npt.NDArray[Any]] = {"ids": self.ids, "rows": self.rows, "created": self.created}
        arrays |= {"users": self.people.users, "persons": self.people.persons}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)

    @staticmethod
    def load(folder: Path) -> Lookup:
        """Map the arrays."""
        names = ("ids", "rows", "created", "users", "persons")
        ids, rows, created, users, persons = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in names)
        return Lookup(ids, rows, created, People(users, persons))

    def items(self, hashes: U64) -> npt.NDArray[np.int32]:
        """Row of the item of each post, or the reason why there is none."""
        found = positions(self.ids, hashes)
        return np.where(found < 0, UNKNOWN, self.rows[found]) if len(self.ids) else np.full(len(hashes), UNKNOWN)


@dataclass(frozen=True)
class PartTask:
    """A file of posts or of reactions, and where its engagements go."""

    kind: str
    file: str
    number: int


@dataclass(frozen=True)
class Engage:
    """Turns one part into a file of engagements, sorted by the bucket of their person; runs as a task."""

    lookup: Path
    folder: Path
    kinds: tuple[str, ...]
    """Kinds of engagements, `OWN` first."""
    num_buckets: int
    newest: int
    """Latest plausible time."""

    def __call__(self, task: PartTask) -> dict[str, Any]:
        """Write the events of a part and the offsets of its buckets; return what was dropped."""
        lookup, table = Lookup.load(self.lookup), pq.read_table(task.file)
        events, dropped = engagements(task.kind, table, lookup, self.kinds, self.newest)
        buckets = bucket_of(events["person"], self.num_buckets)
        order = np.argsort(buckets, kind="stable")
        np.save(events_file(self.folder, task.number), events[order])
        offsets = np.searchsorted(buckets[order], np.arange(self.num_buckets + 1))
        np.save(offsets_file(self.folder, task.number), offsets)
        return {"dropped": dict(dropped), "events": len(events)}


def events_file(folder: Path, number: int) -> Path:
    """Where the engagements of a part are."""
    return folder / f"events-{number:06d}.npy"


def offsets_file(folder: Path, number: int) -> Path:
    """Where the first event of each bucket in a part is told."""
    return folder / f"offsets-{number:06d}.npy"


def bucket_of(persons: U64, num_buckets: int) -> npt.NDArray[np.int64]:
    """Bucket of each person, by the upper half of the hash."""
    return ((persons >> np.uint64(32)) * np.uint64(num_buckets) >> np.uint64(32)).astype(np.int64)


def read_bucket(folder: Path, num_parts: int, bucket: int) -> Events:
    """Read the engagements of one bucket from all parts."""
    slices = [np.empty(0, EVENT)]
    for number in range(num_parts):
        start, stop = np.load(offsets_file(folder, number), mmap_mode="r")[bucket : bucket + 2]
        if stop > start:
            slices.append(np.load(events_file(folder, number), mmap_mode="r")[start:stop])
    return np.concatenate(slices)


def engagements(
    kind: str, table: pa.Table, lookup: Lookup, kinds: Sequence[str], newest: int
) -> tuple[Events, Counter[str]]:
    """Resolve a part: the events that are kept, and the number of dropped ones by reason.

    A post without a parent is its author's event of kind `OWN`. A time without an hour becomes the end of its day, and
    nothing happens before its item is there.
    """
    columns = {name: table[name].to_numpy() for name in ("id", "user", "time")}
    rows = lookup.items(columns["id"])
    codes = _codes(table["kind"], kinds)
    signs = np.ones(len(rows), np.int8)
    time = columns["time"]
    if kind == "posts":
        own = table["parent"].to_numpy() == NO_HASH
        codes[own] = 0
        checked = ~own  # what is wrong with an item is counted where items are chosen
        noun = "reply"
    else:
        weights = table["weight"].to_numpy()
        signs = np.sign(np.nan_to_num(weights)).astype(np.int8)
        end_of_day = time - time % DAY_S + DAY_S - 1
        time = np.where(table["date_only"].to_numpy(), end_of_day, time)
        checked = np.ones(len(rows), bool)
        noun = "reaction"
    tests = {reason: rows == code for code, reason in REASONS.items()} | {
        f"{noun} without a user": columns["user"] == NO_HASH,
        f"{noun} without a time": columns["time"] == NO_TIME,
        f"{noun} from the future": columns["time"] > newest,
        f"{noun} without a weight": signs == 0,
    }
    kept, dropped = _sift(tests, checked)
    events = np.empty(int(kept.sum()), EVENT)
    events["person"] = lookup.people.of(columns["user"][kept])
    events["row"] = rows[kept]
    events["time"] = np.maximum(time[kept], lookup.created[rows[kept]])
    events["sign"], events["kind"] = signs[kept], codes[kept]
    return events, dropped


def _sift(tests: dict[str, Mask], counted: Mask) -> tuple[Mask, Counter[str]]:
    """Return what no test drops, and how often each was the first that did."""
    kept, dropped = np.ones(len(counted), bool), Counter[str]()
    for reason, failing in tests.items():
        dropped[reason] += int((kept & failing & counted).sum())
        kept &= ~failing
    return kept, +dropped


def _codes(names: pa.ChunkedArray, kinds: Sequence[str]) -> npt.NDArray[np.uint16]:
    """Place of each kind in `kinds`."""
    encoded = names.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    places = np.asarray([kinds.index(name, 1) for name in encoded.dictionary.to_pylist()], np.uint16)
    if not len(encoded):
        return np.empty(0, np.uint16)
    found: npt.NDArray[np.uint16] = places[encoded.indices.to_numpy(zero_copy_only=False)]
    return found
