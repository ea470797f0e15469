"""Records of probes → a matrix: trained models as rows, the conditions that each was measured under again as columns.

A probe counts only while the run that it is a probe of (`of`) is one that its row shows. The probes of one column agree
on what was measured (data, split, ties, domains); those that differ from the latest are left out. As in any row, the
latest configuration and the latest run of each seed count (see `rows`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tastelab.results.rows import FIXED, Row, comparable, make_rows, one_configuration
from tastelab.results.store import Record, lookup

Names = Sequence[str | tuple[str, str]]
"""Names of rows or columns in order; a pair is (name in the records, label)."""

FROZEN = "frozen"
AGREE = ("data.fingerprint", "split", "dialect", "config.evaluation.domains", "config.evaluation.max_impressions")
"""Dotted paths on which the probes of one column agree."""

SERVED: Mapping[str, Any] = {
    "config.data.features": None,
    "config.data.missing": 0.0,
    "config.data.title_words": None,
    "config.data.max_tokens": None,
    "config.data.max_history": None,
    "config.evaluation.retriever": None,
}
"""What a model reads when it is served, and what is retrieved for it: dotted path → the value where a record leaves it
out."""

ALL_BUT = re.compile(r"All but (.+)")


@dataclass(frozen=True)
class Column:
    """A condition under which models were measured."""

    name: str
    label: str
    domains: frozenset[str] | None = None
    """What the measured impressions are about; None: all that the data have, or not known yet."""


@dataclass(frozen=True)
class ProbeMatrix:
    """Rows, columns, and their cells: a cell is a row whose runs are the probes of one row under one condition."""

    rows: tuple[Row, ...]
    """The trained ones in order, then the baselines, the frozen encoder last."""
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, str], Row]
    """By group of the row and name of the column; every pair is there, pending ones without runs."""
    left_out: tuple[Record, ...] = ()

    def cell(self, row: Row, column: Column) -> Row:
        """Return the probes of a row under a condition."""
        return self.cells[row.group, column.name]

    def value(self, row: Row, column: Column, metric: str) -> float | None:
        """Return the mean of a cell, None while it is pending."""
        found = self.cell(row, column).estimate(metric)
        return None if found is None else found.mean

    def is_own(self, row: Row, column: Column) -> bool:
        """Tell whether a row was measured as it was trained: it read the same, about domains that it was trained on."""
        probes = self.cell(row, column).runs
        if row.baseline or not probes or not row.runs:
            return False
        reads_alike = all(_read(probes[0], path) == _read(row.runs[0], path) for path in SERVED)
        trained_on = _domains(row.runs[0], "config.data.domains")
        seen = trained_on is None if column.domains is None else self.is_inside(row, column)
        return reads_alike and seen

    def is_inside(self, row: Row, column: Column) -> bool:
        """Tell whether a row was trained on the domains of a column; a column of all domains is inside of none."""
        if row.baseline or not row.runs or column.domains is None:
            return False
        trained_on = _domains(row.runs[0], "config.data.domains")
        return trained_on is None or column.domains <= trained_on

    def is_outside(self, row: Row, column: Column) -> bool:
        """Tell whether a row never saw the domains of a column in training, as an untrained row never does."""
        if not row.runs or column.domains is None or (row.baseline and row.group != FROZEN):
            return False
        trained_on = frozenset[str]() if row.baseline else _domains(row.runs[0], "config.data.domains")
        return trained_on is not None and not column.domains & trained_on

    def in_domain(self, row: Row, metric: str) -> float | None:
        """Return the mean over the columns inside a row's domains; None while one of them is pending."""
        return self._mean(row, [column for column in self.columns if self.is_inside(row, column)], metric)

    def zero_shot(self, row: Row, metric: str) -> float | None:
        """Return the mean over the columns outside a row's domains; None while one of them is pending."""
        return self._mean(row, [column for column in self.columns if self.is_outside(row, column)], metric)

    def best_zero_shot(self, column: Column, metric: str) -> Row | None:
        """Return the best cell of a column among the trained rows that never saw its domains."""
        rivals = [self.cell(row, column) for row in self.rows if not row.baseline and self.is_outside(row, column)]
        found = [(each.mean, -place) for place, cell in enumerate(rivals) if (each := cell.estimate(metric))]
        return rivals[-max(found)[1]] if found else None

    def left_one_out(self, column: Column) -> Row | None:
        """Return the cell of a column in the row trained on all but it; None where no row is."""
        rows = [row for row in self.rows if (named := ALL_BUT.fullmatch(row.label)) and named[1] == column.label]
        return self.cell(rows[-1], column) if rows else None

    def _mean(self, row: Row, columns: Sequence[Column], metric: str) -> float | None:
        found = [self.value(row, column, metric) for column in columns]
        known = [value for value in found if value is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(found) else None


def probe_matrix(
    records: Sequence[Record],
    size: str,
    rows: Names | None = None,
    columns: Names | None = None,
    group: str = "group",
    fixed: Sequence[str] = FIXED,
    baselines: bool = True,
) -> ProbeMatrix:
    """Build the matrix of the records of one size.

    Args:
        records: Of one section, as `sections` returns them.
        size: Of the records.
        rows: The trained rows in order, pending ones included; None takes the groups of the records, those that are
            named after a column in the order of the columns.
        columns: The conditions in order, pending ones included; None takes the probes by their `probe_order`.
        group: Dotted path of the value that rows are grouped by.
        fixed: Where all trained runs must agree (see `rows.comparable`).
        baselines: Whether to end with the baselines that were probed, the frozen encoder last.
    """
    kept, _ = comparable(records, size, fixed)
    everything = make_rows(kept, group)
    shown = _pairs(rows)
    trained = make_rows(kept, group, shown, baselines=False)
    probes = [record for record in kept if record["role"] == "probe"]
    ids = {run["run_id"] for row in everything for run in row.runs}
    valid = _agreeing([probe for probe in probes if probe.get("of") in ids])
    order = _order(columns, valid)
    probed = {probe["of"] for probe in valid}
    untrained = [row for row in everything if baselines and row.baseline and _is_shown(row, probed)]
    made = (*(trained if rows else _diagonal(trained, order)), *untrained)
    cells = {(row.group, column.name): _cell(row, column, valid) for row in made for column in order}
    left_out = tuple(probe for probe in probes if not any(probe is other for other in valid))
    return ProbeMatrix(made, tuple(order), cells, left_out)


def _is_shown(row: Row, probed: set[str]) -> bool:
    """Tell whether a baseline has a row: the frozen encoder always, those that train nothing once they were probed."""
    return row.group == FROZEN or any(run["run_id"] in probed for run in row.runs)


def _diagonal(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Put rows in the order of the columns that they are named after, then those of all, then those of all but one.

    Records come as runs end, which differs from launch to launch.
    """
    places = {column.label: place for place, column in enumerate(columns)}

    def place(row: Row) -> tuple[int, int]:
        left_out = ALL_BUT.fullmatch(row.label)
        if row.label in places:
            return 0, places[row.label]
        return (2, places[left_out[1]]) if left_out and left_out[1] in places else (1, 0)

    return sorted(rows, key=place)


def _cell(row: Row, column: Column, probes: Iterable[Record]) -> Row:
    ids = {run["run_id"] for run in row.runs}
    found = one_configuration([p for p in probes if p["of"] in ids and str(p["probe"]) == column.name])
    done, failed = (tuple(p for p in found if p["status"] == status) for status in ("finished", "failed"))
    return Row(row.group, f"{row.label} → {column.label}", row.baseline, done, failed)


def _agreeing(probes: Sequence[Record]) -> list[Record]:
    """Keep of each column the probes that agree with its latest one."""
    latest = {str(probe["probe"]): _measured(probe) for probe in probes}
    return [probe for probe in probes if _measured(probe) == latest[str(probe["probe"])]]


def _measured(probe: Record) -> list[Any]:
    return [lookup(probe, path) for path in AGREE]


def _order(columns: Names | None, probes: Sequence[Record]) -> list[Column]:
    latest = {str(probe["probe"]): probe for probe in probes}
    by_order = sorted(latest, key=lambda name: latest[name].get("probe_order") or 0)
    pairs = [(name, name) for name in by_order] if columns is None else _pairs(columns) or []
    return [Column(name, label, _domains(latest.get(name, {}), "config.evaluation.domains")) for name, label in pairs]


def _pairs(names: Names | None) -> list[tuple[str, str]] | None:
    return None if names is None else [(name, name) if isinstance(name, str) else name for name in names]


def _domains(record: Record, path: str) -> frozenset[str] | None:
    named = lookup(record, path)
    return None if named is None else frozenset(map(str, named))


def _read(record: Record, path: str) -> Any:
    value = lookup(record, path)
    return SERVED[path] if value is None else value
