"""Splits by time and the last impression of each person, against sorting everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastelab.data.mix.buckets import DayCounts, days_file, windows_file
from tastelab.data.mix.splits import NEVER, cuts, last_of_each


def write_buckets(folder: Path, buckets: list[tuple[list[int], list[int]]]) -> None:
    for number, (community, time) in enumerate(buckets):
        table = pa.table({"community": pa.array(community, pa.int32()), "time": pa.array(time, pa.int64())})
        pq.write_table(table, windows_file(folder, number))
        days = DayCounts()
        days.add(table)
        np.save(days_file(folder, number), days.counted())


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cuts_are_those_of_the_sorted_times(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(0)
    community, time = rng.integers(0, 3, 900), rng.integers(0, 10 * 86_400, 900)
    time[:300] = time[0]  # a crowd at one second
    write_buckets(tmp_path, [(community[i::4].tolist(), time[i::4].tolist()) for i in range(4)])
    found = cuts(tmp_path, 4, 4, share)
    for number in range(3):
        times = np.sort(time[community == number])
        assert found[number] == times[len(times) - int(len(times) * share + 0.5)]
    assert found[3] == NEVER  # a community without impressions


def test_one_impression_of_a_community_stays_in_train(tmp_path: Path) -> None:
    write_buckets(tmp_path, [([0], [5]), ([], [])])
    assert cuts(tmp_path, 2, 1, 0.2).tolist() == [NEVER]


def test_times_before_1970_and_ties_over_midnight(tmp_path: Path) -> None:
    write_buckets(tmp_path, [([0] * 4, [-200_000, -1, 0, 86_400])])
    assert cuts(tmp_path, 1, 1, 0.5).tolist() == [0]
    assert cuts(tmp_path, 1, 1, 0.75).tolist() == [-1]


def test_the_last_of_each_key() -> None:
    keys = np.array([1, 2, 1, 2, 1, 3])
    assert last_of_each(keys).tolist() == [False, False, False, True, True, True]
    assert last_of_each(keys[:0]).tolist() == []


def test_day_counts_merge() -> None:
    days = DayCounts()
    for _ in range(40):
        days.merge(np.array([[0, 3, 1], [1, 3, 2]]))
    assert days.counted().tolist() == [[0, 3, 40], [1, 3, 80]]
