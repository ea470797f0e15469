"""Records → the rows of a table or the points of a figure: grouped, comparable, and averaged over seeds.

Two rules keep a row honest. All records behind a table agree on what must not vary within it (size, data, encoder,
split, ties, study). And all runs of a row share one configuration but for the seed: the latest one, so that a run of an
earlier choice is never averaged with one of the present choice.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tastelab.config import digest
from tastelab.results.store import Record, lookup

BASELINES = {
    "random": "Random",
    "popularity": "Popularity",
    "newest": "Newest",
    "tfidf": "TF-IDF",
    "frozen": "Frozen encoder",
}
"""Baseline name → row label, in the order of the last rows of every ranking table (methods.md §1)."""

OPTIONAL_BASELINES = {"newest"}  # exists only where items have dates
RETRIEVAL_BASELINES = ("random", "popularity", "frozen")
"""Those of a retrieval table: over a whole catalogue the others rank nothing that a user asked for."""

APART = ("comparison", "probe")
"""Roles of records that name the runs they belong to, and neither make a row nor decide which runs a row shows."""

FIXED = ("data.fingerprint", "encoder.fingerprint", "split", "dialect", "trial.study")
"""Where all records of one table must agree, as far as they have the value."""


@dataclass(frozen=True)
class Estimate:
    """A metric of one row.

    `mean` is the mean over seeds. `low` and `high` are the means of the seeds' own 95 % bootstrap bounds: the
    uncertainty of drawing impressions (users for retrieval), for one run and not for the mean of several, so never too
    narrow. `sd` is the standard deviation over seeds (n - 1), None for one seed: the uncertainty of training. `n`
    counts the impressions, or users, that have the metric.
    """

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int | None


@dataclass(frozen=True)
class Row:
    """One row: the finished runs behind it, in the order of their seeds, and what became of the others."""

    group: str
    label: str
    baseline: bool = False
    runs: tuple[Record, ...] = ()
    failed: tuple[Record, ...] = ()
    trials: tuple[Record, ...] = ()
    comparison: Record | None = None
    """The record of the paired test of these very runs against those of the first row (see `comparisons`)."""
    p_holm: float | None = None
    """p of that test, corrected for the number of rows that were tested (Holm)."""
    relative: Mapping[str, Estimate] = field(default_factory=dict)
    """Metrics that hang on the other rows of the table (see `relative`)."""

    @property
    def status(self) -> str:
        """`finished`, `stale` (made by an older method version), `failed` (nothing finished) or `pending`."""
        if self.runs:
            return "stale" if self.runs[0].get("stale") else "finished"
        return "failed" if self.failed else "pending"

    @property
    def seeds(self) -> list[int]:
        """Seeds of the finished runs."""
        return [run["seed"] for run in self.runs if run.get("seed") is not None]

    def num_trials(self, status: str) -> int:
        """Count the search trials of this row that ended with a status."""
        return sum(trial["status"] == status for trial in self.trials)

    def mean(self, path: str) -> float | None:
        """Mean over runs of the number at a dotted path; None where no run has it."""
        return _mean([lookup(run, path) for run in self.runs])

    def estimate(self, metric: str) -> Estimate | None:
        """Average a metric over the runs; None where no run has it."""
        if metric in self.relative:
            return self.relative[metric]
        found = [values for run in self.runs if (values := lookup(run, "metrics") or {}).get(metric)]
        cells = [values[metric] for values in found]
        means = [cell["mean"] for cell in cells if cell.get("mean") is not None]
        if not means:
            return None
        sd = statistics.stdev(means) if len(means) > 1 else None
        low, high = _mean([cell.get("low") for cell in cells]), _mean([cell.get("high") for cell in cells])
        return Estimate(math.fsum(means) / len(means), low, high, sd, max(cell.get("n") or 0 for cell in cells) or None)


def comparable(records: Iterable[Record], size: str, fixed: Sequence[str] = FIXED) -> tuple[list[Record], list[Record]]:
    """Split the records of one size into those that agree with the latest one and those left out.

    A record that lacks a fixed value (a baseline has no encoder) agrees with any. Search trials look at another split
    than the runs of the table, so the split binds only the others. Comparisons and probes are kept and decide nothing:
    each names the runs that it holds for.
    """
    sized = [record for record in records if record["size"] == size]
    apart = [record for record in sized if record["role"] in APART]
    kept, left_out = [record for record in sized if record["role"] not in APART], []
    for path in fixed:
        bound = [r for r in kept if lookup(r, path) is not None and not (path == "split" and r["role"] == "search")]
        wrong = [r for r in bound if lookup(r, path) != lookup(bound[-1], path)]
        left_out += wrong
        kept = [r for r in kept if not any(r is other for other in wrong)]
    return kept + apart, left_out


def make_rows(
    records: Sequence[Record],
    group: str = "group",
    rows: Sequence[tuple[str, str]] | None = None,
    baselines: bool | Sequence[str] = True,
) -> list[Row]:
    """Group comparable records into rows; baselines come last. Comparisons and probes make no row.

    Args:
        records: Of one size, as `comparable` returns them.
        group: Dotted path of the value that rows are grouped by.
        rows: (group, label) of every row in order, pending ones included; None takes the groups as they come.
        baselines: Whether to end with the baselines; names are those that have a row before they are run.
    """
    named = [r for r in records if r["role"] not in ("baseline", *APART) and lookup(r, group) is not None]
    order = rows or list({str(lookup(r, group)): str(r.get("label") or lookup(r, group)) for r in named}.items())
    made = [_row(name, label, [r for r in named if str(lookup(r, group)) == name]) for name, label in order]
    expected = tuple(BASELINES.keys() - OPTIONAL_BASELINES) if baselines is True else baselines or ()
    return made + (_baseline_rows(records, expected) if baselines else [])


def _row(group: str, label: str, records: Sequence[Record]) -> Row:
    finals = one_configuration([r for r in records if r["role"] != "search"])
    return Row(
        group,
        label,
        runs=tuple(r for r in finals if r["status"] == "finished"),
        failed=tuple(r for r in finals if r["status"] == "failed"),
        trials=tuple(r for r in records if r["role"] == "search"),
    )


def _baseline_rows(records: Sequence[Record], expected: Collection[str]) -> list[Row]:
    by_name: dict[str, list[Record]] = {name: [] for name in BASELINES}
    for record in records:
        if record["role"] == "baseline":
            by_name.setdefault(str(lookup(record, "config.baseline") or record.get("group")), []).append(record)
    rows = []
    for name, found in by_name.items():
        if found or name in expected:
            label = BASELINES.get(name) or str(found[-1].get("label") or name)
            finals = one_configuration(found)
            done = tuple(r for r in finals if r["status"] == "finished")
            rows.append(Row(name, label, True, done, tuple(r for r in finals if r["status"] == "failed")))
    return rows


def one_configuration(records: Sequence[Record]) -> list[Record]:
    """Keep the runs of the latest configuration, the latest run of each seed, in the order of seeds."""
    fresh = [r for r in records if not r.get("stale")] or list(records)
    if not fresh:
        return []
    latest = _science(fresh[-1])
    by_seed = {r.get("seed"): r for r in fresh if _science(r) == latest}
    return sorted(by_seed.values(), key=lambda r: (r.get("seed") is None, r.get("seed") or 0))


def _science(record: Record) -> str:
    """Identify a configuration regardless of its seed."""
    config = {key: value for key, value in (record.get("config") or {}).items() if key != "seed"}
    return digest([config, lookup(record, "data.fingerprint"), lookup(record, "encoder.fingerprint")])


def _mean(values: Iterable[Any]) -> float | None:
    numbers = [float(value) for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
