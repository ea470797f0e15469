"""The records behind the cells of the page: which runs a row has, and each run once, as JSON within the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tastelab.results.rows import Row
from tastelab.results.sections import Section
from tastelab.results.store import EXTRAS, Record, lookup

CURVE_DIGITS = 4
METRIC_DIGITS = 6
SLICE_METRIC = "auc"
"""The metric of slices that the page shows, unless the run was chosen by another; records have them all."""


@dataclass
class Ledger:
    """Rows and runs in the order in which the page shows them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, Record] = field(default_factory=dict)

    def enter(self, title: str, section: Section, row: Row) -> int | None:
        """Enter a row with its runs and return its number; None where nothing was run for it."""
        parts = {"runs": row.runs, "failed": row.failed, "trials": row.trials}
        if not any(parts.values()):
            return None
        for record in (record for records in parts.values() for record in records):
            self.runs.setdefault(record["run_id"], compact(record))
        entry: dict[str, Any] = {"title": title, "label": row.label, "data": section.data, "size": section.size}
        entry |= {part: [record["run_id"] for record in records] for part, records in parts.items()}
        if row.comparison is not None:
            entry["comparison"] = row.comparison["comparison"]
        self.rows.append(entry)
        return len(self.rows) - 1

    def as_json(self) -> str:
        """Write all as JSON that can stand within a script element: no `<` that could end it."""
        plain = json.dumps({"rows": self.rows, "runs": self.runs}, ensure_ascii=False, separators=(",", ":"))
        return plain.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def compact(record: Mapping[str, Any]) -> Record:
    """Copy a record with its curves and metrics rounded to what a screen can show, slices with one metric alone.

    All else stays as it is.
    """
    kept = dict(record)
    if not kept.get("stale"):
        kept.pop("stale", None)
    if curves := kept.get("curves"):
        kept["curves"] = {name: [steps, rounded(values, CURVE_DIGITS)] for name, (steps, values) in curves.items()}
    if kept.get("metrics"):
        kept["metrics"] = rounded(kept["metrics"], METRIC_DIGITS)
    if kept.get("slices"):
        metric = lookup(kept, "config.retrieval.metric") or SLICE_METRIC
        kept["slices"] = {name: [_lean(each, metric) for each in slices] for name, slices in kept["slices"].items()}
    for extra in EXTRAS:
        if kept.get(extra):
            kept[extra] = rounded(kept[extra], CURVE_DIGITS)
    return kept


def _lean(found: Mapping[str, Any], metric: str) -> dict[str, Any]:
    metrics = {name: value for name, value in (found.get("metrics") or {}).items() if name == metric}
    lean = {key: value for key, value in found.items() if key != "metrics"}
    return lean | ({"metrics": rounded(metrics, METRIC_DIGITS)} if metrics else {})


def rounded(value: Any, digits: int) -> Any:
    """Round every float within a JSON value to so many significant digits."""
    if isinstance(value, float):
        short = float(f"{value:.{digits}g}")
        return int(short) if short.is_integer() and abs(short) < 1e6 else short
    if isinstance(value, Mapping):
        return {key: rounded(part, digits) for key, part in value.items()}
    return [rounded(part, digits) for part in value] if isinstance(value, list) else value
