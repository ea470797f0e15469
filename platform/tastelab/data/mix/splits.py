"""Impressions of all buckets → train and dev by time, each impression or the last of each person, bucket by bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.mix.buckets import DayCounts, days_file, people_file, windows_file
from tastelab.data.mix.engagements import DAY_S
from tastelab.data.mix.timelines import Ints

SPLITS = ("train", "dev")
NEVER = np.iinfo(np.int64).max


def cuts(folder: Path, num_buckets: int, num_communities: int, dev_share: float) -> Ints:
    """Return for each community the time from which on its impressions are dev.

    It is the time of the impression with which the latest `dev_share` begins (rounded to whole impressions); those at
    the same second are dev, too, so dev is a little more than its share where times tie. Counts per day tell on which
    day it lies, and only the times of that day are looked at one by one.
    """
    days = DayCounts()
    for number in range(num_buckets):
        days.merge(np.load(days_file(folder, number)))
    day, rest = _cut_days(days.counted(), num_communities, dev_share)
    times = [_times_of_days(windows_file(folder, number), day) for number in range(num_buckets)]
    community = np.concatenate([each[0] for each in times])
    time = np.concatenate([each[1] for each in times])
    order = np.lexsort((time, community))
    ends = np.searchsorted(community[order], np.arange(num_communities), side="right")
    found = np.full(num_communities, NEVER)
    some = rest > 0
    found[some] = time[order][ends[some] - rest[some]]
    return found


def _cut_days(counts: Ints, num_communities: int, dev_share: float) -> tuple[Ints, Ints]:
    """Day of each community on which dev begins, and how many impressions of that day are dev (0: none at all)."""
    days, rests = np.full(num_communities, NEVER), np.zeros(num_communities, np.int64)
    bounds = np.searchsorted(counts[:, 0], np.arange(num_communities + 1))
    for community in range(num_communities):
        rows = counts[bounds[community] : bounds[community + 1]]
        wanted = int(rows[:, 2].sum() * dev_share + 0.5)
        if wanted:
            from_end = np.cumsum(rows[::-1, 2])
            place = int(np.searchsorted(from_end, wanted))
            days[community] = rows[len(rows) - 1 - place, 1]
            rests[community] = wanted - (from_end[place - 1] if place else 0)
    return days, rests


def _times_of_days(file: Path, days: Ints) -> tuple[Ints, Ints]:
    """Community and time of the impressions on their community's day."""
    table = pq.read_table(file, columns=["community", "time"])
    community, time = table["community"].to_numpy().astype(np.int64), table["time"].to_numpy()
    wanted = time // DAY_S == days[community]
    return community[wanted], time[wanted]


def read_windows(folder: Path, number: int, cut: Ints) -> Iterator[tuple[pa.Table, Ints, npt.NDArray[np.bool_]]]:
    """Yield the impressions of a bucket in pieces.

    Yields:
        A table with the columns of `schema.IMPRESSIONS` but `row` and `impression_id`; the split of each row, as a
        place in `SPLITS`; and whether it is that of its person's last click in its split.
    """
    file = pq.ParquetFile(windows_file(folder, number))
    thin = file.read(["person", "community", "time"])
    person, time = thin["person"].to_numpy().astype(np.int64), thin["time"].to_numpy()
    split = (time >= cut[thin["community"].to_numpy()]).astype(np.int64)
    final = last_of_each(2 * person + split)
    users = pq.read_table(people_file(folder, number))["user_id"]
    start = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        stop = start + len(table)
        columns = {name: table[name] for name in ("history", "feedback", "candidates", "labels")}
        columns["user_id"] = users.take(table["person"])
        columns["time"] = pc.cast(table["time"], pa.timestamp("s"))
        yield pa.table(columns), split[start:stop], final[start:stop]
        start = stop


def last_of_each(keys: Ints) -> npt.NDArray[np.bool_]:
    """Mark the last row of each key.

    Rows come in the order of clicks. The last by the time of the impression would be another one: a window that ends
    long after its click has the click among its oldest items, so taking the latest would make age tell the label.
    """
    _, from_end = np.unique(keys[::-1], return_index=True)
    found = np.zeros(len(keys), bool)
    found[len(keys) - 1 - from_end] = True
    return found
