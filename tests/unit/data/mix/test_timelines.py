"""Eligible items of a timeline by rank, against lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tastelab.data.mix.timelines import Skips, Timelines


def test_ranks_among_eligible_items_and_back() -> None:
    rng = np.random.default_rng(0)
    num = [40, 40, 15, 15, 30]  # groups 0 and 1 share a timeline, and 2 and 3
    starts = [0, 0, 40, 40, 55]
    passed = [
        np.sort(rng.choice(n, rng.integers(1, n // 2), replace=False)) + s for s, n in zip(starts, num, strict=True)
    ]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in passed])])
    skips = Skips(np.concatenate(passed), offsets, np.array(starts))
    for group, (start, size) in enumerate(zip(starts, num, strict=True)):
        eligible = [row for row in range(start, start + size) if row not in passed[group]]
        ranks = np.arange(len(eligible))
        assert skips.row_of(np.full(len(ranks), group), ranks).tolist() == eligible
        places = np.arange(offsets[group], offsets[group + 1])
        expected = [sum(other < row for other in eligible) for row in passed[group]]
        assert skips.eligible_before(np.full(len(places), group), places).tolist() == expected


def test_saved_arrays_come_back_mapped(tmp_path: Path) -> None:
    made = Timelines.of(("a", "b"), np.array([0, 0, 1], np.int32), np.array([5, 6, 1]), np.array([9, 8, 7], np.uint64))
    assert made.starts.tolist() == [0, 2, 3]
    made.save(tmp_path / "timelines")
    found = Timelines.load(tmp_path / "timelines")
    assert isinstance(found.created, np.memmap)
    for name in ("communities", "created", "hashes", "starts"):
        assert getattr(found, name).tolist() == getattr(made, name).tolist()
