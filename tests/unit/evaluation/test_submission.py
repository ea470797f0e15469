"""MIND's submission file, read back as its evaluator reads it."""

from __future__ import annotations

import itertools
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tastelab.evaluation import submission
from tastelab.evaluation.submission import write_submission


def read(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["prediction.txt"]
        assert archive.testzip() is None
        return archive.read("prediction.txt").decode()


def test_lines_by_hand(tmp_path: Path) -> None:
    write_submission(tmp_path / "p.zip", ["7", "3", "x"], [0.1, 0.9, 0.5, 2.0, 2.0], [0, 3, 5, 5])
    assert read(tmp_path / "p.zip") == "7 [3,1,2]\n3 [2,1]\nx []\n"


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_every_line_ranks_as_the_official_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(submission, "CHUNK_IMPRESSIONS", chunk)
    rng = np.random.default_rng(0)
    offsets = np.append(0, np.cumsum(rng.integers(1, 40, 50)))
    scores = rng.random(offsets[-1]).round(1)
    ids = [str(i) for i in rng.permutation(50)]
    write_submission(tmp_path / "p.zip", ids, scores, offsets)
    lines = read(tmp_path / "p.zip").splitlines()
    assert len(lines) == 50
    for line, impression, (a, b) in zip(lines, ids, itertools.pairwise(offsets), strict=True):
        assert re.fullmatch(r"\d+ \[\d+(,\d+)*\]", line)
        name, ranks = line.split()
        order = np.argsort(scores[a:b], kind="stable")[::-1]
        assert name == impression
        assert np.array(json.loads(ranks))[order].tolist() == list(range(1, b - a + 1))


def test_ids_of_any_kind(tmp_path: Path) -> None:
    kinds = ([1, 2], np.array([1, 2]), pa.array(["1", "2"]), pa.chunked_array([["1"], ["2"]]))
    for ids in kinds:
        write_submission(tmp_path / "p.zip", ids, [1.0, 2.0], [0, 1, 2])
        assert read(tmp_path / "p.zip") == "1 [1]\n2 [1]\n"


def test_the_same_ranks_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, ["1"], [1.0, 2.0], [0, 2])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.zip"
    write_submission(path, ["1"], [1.0, 2.0], [0, 2])
    before = path.read_bytes()

    def full_disk(*_: object) -> Iterator[str]:
        yield "1 [2"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(submission, "_lines", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_submission(path, ["1"], [2.0, 1.0], [0, 2])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Impression 1 \(counted from 0\) has a score that is NaN"):
        write_submission(tmp_path / "p.zip", ["1", "2"], [1.0, math.nan], [0, 1, 2])
    with pytest.raises(ValueError, match="one id per impression: there are 1 ids and 2 impressions"):
        write_submission(tmp_path / "p.zip", ["1"], [1.0, 2.0], [0, 1, 2])
    with pytest.raises(ValueError, match="does not exist: create it or write elsewhere"):
        write_submission(tmp_path / "no" / "p.zip", ["1"], [1.0], [0, 1])
    assert not list(tmp_path.iterdir())
