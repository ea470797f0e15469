"""Columns as files have them → ids, times, numbers: every type that Parquet, CSV and JSON give."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from tastelab.data.feeds.base import BLOCK_ROWS, BadRecords
from tastelab.data.feeds.columns import floats, in_blocks, is_date, set_aside, strings, times

NOON = datetime(2016, 8, 2, 12, 30, 5)
SECONDS = int(NOON.replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", " b\t", "", "  ", None]), ["a", "b", None, None, None]),
        (pa.array([1, -2, None]), ["1", "-2", None]),
        (pa.array([1.0, None, 2.0**40]), ["1", None, str(2**40)]),
        (pa.array([1.0, float("nan"), None]), ["1", None, None]),
        (pa.array([1.0, 2.5]), ["1", "2.5"]),
        (pa.array([1e300]), ["1e+300"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([["a", "b"], [], None]), ["a,b", None, None]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.chunked_array([["x"], ["y"]]), ["x", "y"]),
        (pa.chunked_array([], pa.large_string()), []),
    ],
)
def test_strings(column: pa.Array, expected: list[str | None]) -> None:
    found = strings(column)
    assert found.type == pa.string() and found.to_pylist() == expected


def test_what_has_no_text() -> None:
    with pytest.raises(ValueError, match=r"A column of type struct<a: int64> cannot be read as text"):
        strings(pa.array([{"a": 1}]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([NOON], pa.timestamp("ns")),
        pa.array([NOON]).dictionary_encode(),
        pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp("ms", "Europe/Paris")),
        pa.array([SECONDS]),
        pa.array([SECONDS], pa.int32()),
        pa.array([SECONDS + 0.9]),
        pa.array([str(SECONDS)]),
        pa.array([f"{SECONDS}.75"]),
        pa.array(["2016-08-02T12:30:05"]),
        pa.array(["2016-08-02 12:30:05.999"]),
        pa.array(["2016-08-02T12:30:05.123456789"]),
        pa.array(["2016-08-02T12:30:05Z"]),
        pa.array(["2016-08-02T14:30:05+02:00"]),
        pa.array([" 2016-08-02T14:30:05+02:00 "]),
        pa.array(["20160802T123005Z"]),
    ],
)
def test_times(column: pa.Array) -> None:
    assert times(column).type == pa.timestamp("s") and times(column).to_pylist() == [NOON]


def test_times_of_mixed_forms_and_none() -> None:
    texts = ["2016-08-02T12:30:05", "2016-08-02T14:30:05+02:00", str(SECONDS), "yesterday", "", None, "nan", "1e300"]
    expected: list[Any] = [NOON, NOON, NOON, *[None] * 5]
    assert times(pa.array(texts)).to_pylist() == expected
    assert times(pa.array([float("nan"), float("inf"), -1e18, 1e18, None, 0.0])).to_pylist() == [
        *[None] * 5,
        datetime(1970, 1, 1),
    ]
    assert times(pa.array([date(2016, 8, 2), None])).to_pylist() == [datetime(2016, 8, 2), None]
    assert times(pa.array([10**18, -5])).to_pylist() == [None, datetime(1969, 12, 31, 23, 59, 55)]
    assert times(pa.array([NOON.time()])).to_pylist() == [None]


def test_is_date() -> None:
    assert is_date(pa.array(["2016-08-02", "2016-08-02T00:00:00", " 2016-08-02", "5", None])).to_pylist() == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert is_date(pa.array([date(2016, 8, 2)])).to_pylist() == [True]
    assert is_date(pa.array([NOON])).to_pylist() == [False]


def test_floats() -> None:
    found = floats(pa.array(["1", "-2.5", "much", None, ""])).to_pylist()
    assert found[:2] == [1.0, -2.5] and found[2] != found[2] and found[3:] == [None, None]
    assert floats(pa.array([3, None])).to_pylist() == [3.0, None]
    assert floats(pa.array([1, 2], pa.float32())).to_pylist() == [1.0, 2.0]


def test_set_aside_names_the_first_fault() -> None:
    bad = BadRecords()
    rows = pa.table({"user": ["a", None, "c"], "n": [1, 2, 3]})
    faults = {"no user": pa.array([False, True, False]), "odd": pa.array([False, True, True])}
    assert set_aside(bad, [7, 8, 9], rows, faults).to_pylist() == [True, False, False]
    assert [(line.number, line.reason) for line in bad.lines] == [(8, "no user"), (9, "odd")]
    assert bad.lines[1].text == b"{'user': 'c', 'n': 3}"


@pytest.mark.parametrize("sizes", [[], [0], [5], [BLOCK_ROWS], [1, BLOCK_ROWS, 1], [3 * BLOCK_ROWS + 2, 7], [900] * 40])
def test_in_blocks(sizes: list[int]) -> None:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    tables = [pa.table({"x": range(a, a + n)}) for a, n in zip(starts, sizes, strict=True)]
    blocks = list(in_blocks([t.cast(pa.schema([("x", pa.int64())])) for t in tables]))
    assert [x for block in blocks for x in block["x"].to_pylist()] == list(range(sum(sizes)))
    assert [block.num_rows for block in blocks[:-1]] == [BLOCK_ROWS] * (len(blocks) - 1)
    assert all(0 < block.num_rows <= BLOCK_ROWS for block in blocks)
