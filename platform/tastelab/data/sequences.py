"""Every user's clicks in the order of time, derived once from the impressions and kept inside the prepared folder.

`sequences/` holds flat arrays that every process maps, and the clicks that training may see once more as Parquet files
in small row groups of whole users, which training reads in shuffled order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.logged import read_logged
from tastelab.data.merging import LEVELS, TRAIN, Clicks, merged
from tastelab.data.tables import PreparedData
from tastelab.schema import UNKNOWN_TIME

Ints = npt.NDArray[np.int64]

FORMAT = 1
ROWS_PER_GROUP = 1_024  # clicks; a group ends with the user that fills it, so the longest user bounds the rest
GROUPS_PER_FILE = 64
ARRAYS = ("offsets", "items", "times", "splits", "impressions")


@dataclass(frozen=True)
class Sequences:
    """All clicks of all users, user after user, each user's in order of time; a click's row is its place among them."""

    path: Path
    users: pa.Array  # ids; a user without any click has a row, too
    offsets: Ints  # user u owns the clicks offsets[u]:offsets[u + 1]
    items: npt.NDArray[np.int32]
    times: Ints  # seconds, UNKNOWN_TIME where the data date no click
    splits: npt.NDArray[np.int8]  # 0 train, 1 dev, 2 test; 3 and 4: known from histories of dev and test alone
    impressions: npt.NDArray[np.int32]  # place, over all splits in file order; -1: known from a history alone
    dwell: npt.NDArray[np.float32] | None = None  # seconds, NaN where unknown

    @property
    def num_clicks(self) -> int:
        """Clicks of all splits."""
        return len(self.items)

    @property
    def num_users(self) -> int:
        """Users of all splits, with or without clicks."""
        return len(self.offsets) - 1

    @cached_property
    def has_times(self) -> bool:
        """Tell whether the data date any click."""
        return bool((self.times != UNKNOWN_TIME).any())

    @property
    def has_dwell(self) -> bool:
        """Tell whether the data know how long any item was looked at."""
        return self.dwell is not None

    def users_of(self, rows: Ints) -> Ints:
        """Return the user of each click."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def known(self, level: int) -> Ints | None:
        """Return the rows that a split may see, sorted: its own and those before it; None: all that comes earlier.

        Cuts in time need not agree for all of a user's items. Where they do not, a click of dev may lie before one of
        train and is hidden from it.
        """
        return self._known[level]

    @cached_property
    def _known(self) -> tuple[Ints | None, ...]:
        levels = LEVELS[self.splits]
        falls = np.flatnonzero(np.diff(levels) < 0) + 1
        if np.isin(falls, self.offsets).all():  # falls only from one user to the next
            return (None, None, None)
        return tuple(np.flatnonzero(levels <= level) for level in range(3))


def prepare_sequences(data: PreparedData) -> Sequences:
    """Derive the sequences of a prepared data set, unless they lie in its folder already, and map them."""
    path = data.path / "sequences"
    if not _is_current(path, data):
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial, data)
        if path.exists() and not _is_current(path, data):
            shutil.rmtree(path)
        try:
            partial.rename(path)
        except OSError:  # another process finished the same first
            shutil.rmtree(partial)
    return open_sequences(path)


def open_sequences(path: Path) -> Sequences:
    """Map sequences that `prepare_sequences` wrote."""
    arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    dwell = np.load(path / "dwell.npy", mmap_mode="r") if (path / "dwell.npy").exists() else None
    users = pq.read_table(path / "users.parquet")["user_id"]
    return Sequences(path, pa.concat_arrays([pa.array([], pa.string()), *users.chunks]), **arrays, dwell=dwell)


def write_sequences(path: Path, sequences: Sequences) -> None:
    """Write sequences, such as those of a simulation, into an existing folder, as training reads them."""
    for name in ARRAYS:
        np.save(path / f"{name}.npy", getattr(sequences, name))
    if sequences.dwell is not None:
        np.save(path / "dwell.npy", sequences.dwell)
    pq.write_table(pa.table({"user_id": sequences.users}), path / "users.parquet")
    _write_training(path / "train", sequences)


def _is_current(path: Path, data: PreparedData) -> bool:
    try:
        meta = json.loads((path / "meta.json").read_text())
    except FileNotFoundError:
        return False
    return bool(meta == _meta(data))


def _meta(data: PreparedData) -> dict[str, object]:
    return {"format": FORMAT, "fingerprint": data.fingerprint}


def _write(path: Path, data: PreparedData) -> None:
    logged = read_logged(data)
    write_sequences(path, _gathered(path, logged.user_ids, merged(logged, data.num_items)))
    (path / "meta.json").write_text(json.dumps(_meta(data)) + "\n")


def _gathered(path: Path, user_ids: pa.Array, blocks: Iterable[Clicks]) -> Sequences:
    parts = list(blocks)
    counts = np.zeros(len(user_ids), np.int64)
    for part in parts:
        counts += np.bincount(part.users, minlength=len(user_ids))
    return Sequences(
        path,
        user_ids,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *(part.items for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.times for part in parts)]),
        np.concatenate([np.zeros(0, np.int8), *(part.splits for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(part.impressions for part in parts)]),
    )


def _write_training(folder: Path, sequences: Sequences) -> None:
    """Write the clicks of train alone: what training reads holds no other."""
    folder.mkdir()
    rows = np.flatnonzero(sequences.splits == TRAIN)
    users = sequences.users_of(rows)
    columns = {"row": rows, "user": users, "item": sequences.items[rows]}
    if sequences.has_times:
        columns["time"] = sequences.times[rows]
    if sequences.dwell is not None:
        columns["dwell"] = sequences.dwell[rows]
    table = pa.table(columns)
    groups = list(_group_slices(users))
    for number, start in enumerate(range(0, len(groups), GROUPS_PER_FILE)):
        with pq.ParquetWriter(folder / f"part-{number:05d}.parquet", table.schema, compression="zstd") as writer:
            for part in groups[start : start + GROUPS_PER_FILE]:
                writer.write_table(table.slice(part.start, part.stop - part.start), row_group_size=len(table))


def _group_slices(users: Ints) -> Iterator[slice]:
    """Cut sorted users' clicks so that a group holds the users whose first click lies in the same stretch."""
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    cuts = starts[np.flatnonzero(np.diff(starts // ROWS_PER_GROUP, prepend=-1))]
    for start, stop in zip(cuts.tolist(), [*cuts[1:].tolist(), len(users)], strict=False):
        yield slice(start, stop)
