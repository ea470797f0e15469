"""Rows → rows with the paired test of each against the first, corrected for the number of tests.

A test is recorded once, with the ids of the runs on either side. It is shown only while the two rows show these very
runs: after a re-run with another configuration, or with one more seed, it counts no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from tastelab.results.rows import Row
from tastelab.results.store import Record, lookup

SIGNIFICANT = 0.05
Key = TypeVar("Key")


def with_comparisons(rows: Sequence[Row], records: Sequence[Record], metric: str = "auc") -> list[Row]:
    """Attach to each row its valid test against the first row, and Holm's correction over all that have one.

    Args:
        rows: As `make_rows` returns them; the first is what the others are tested against, unless it is a baseline.
        records: Those with the role `comparison` are looked at; of several that hold for a row, the last counts.
        metric: What the test is about.
    """
    made = {_sides(r): r for r in records if _usable(r, metric)}
    if not rows or rows[0].baseline:
        return list(rows)
    first, *others = rows
    found = {i: made.get((_ids(row), _ids(first))) for i, row in enumerate(others) if row.runs and first.runs}
    ps = {i: float(record["comparison"]["p"]) for i, record in found.items() if record is not None}
    corrected = holm(ps)
    return [
        first,
        *(replace(row, comparison=found.get(i), p_holm=corrected.get(i)) for i, row in enumerate(others)),
    ]


def holm(ps: Mapping[Key, float]) -> dict[Key, float]:
    """Correct p-values for their number m: the i-th smallest times m - i + 1, never below a smaller one's, at most 1.

    Rejecting those below a level keeps the chance of any false rejection below it (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected: dict[Key, float] = {}
    highest = 0.0
    for rank, (key, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(ps) - rank) * p))
        corrected[key] = highest
    return corrected


def _usable(record: Record, metric: str) -> bool:
    fresh = record["role"] == "comparison" and record["status"] == "finished" and not record.get("stale")
    found = record.get("comparison") or {}
    return fresh and found.get("metric") == metric and None not in (found.get("difference"), found.get("p"))


def _sides(record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(lookup(record, "comparison.runs") or ()), tuple(lookup(record, "comparison.against_runs") or ())


def _ids(row: Row) -> tuple[str, ...]:
    return tuple(run["run_id"] for run in row.runs)
