"""Metrics of a row that only the whole table gives: its popularity index, and its gain in dwell time.

Both are relative to rows of the same table section, so they are no part of a record and are made when a table is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tastelab.results.measures import measure
from tastelab.results.rows import Estimate, Row

YARDSTICK = "popularity"
"""What recommends by popularity alone, a baseline or a row: always the highest, so not what others are relative to."""


@dataclass(frozen=True)
class Relative:
    """A derived metric: which one it is made of, relative to which row, and the sentence that says so."""

    source: str
    reference: Callable[[Sequence[Row], str], Row | None]
    shift: float
    """Taken from the ratio: 0 leaves it, 1 turns it into a gain."""
    note: str

    def reference_row(self, rows: Sequence[Row]) -> Row | None:
        """Return the row that the others are relative to, None where none has the metric above 0."""
        row = self.reference(rows, self.source)
        found = row.estimate(self.source) if row else None
        return row if found is not None and found.mean > 0 else None


def _highest(rows: Sequence[Row], metric: str) -> Row | None:
    """The trained row or named baseline with the highest metric: [B]'s max over A'."""
    found = [(e.mean, row) for row in rows if not _is_yardstick(row) and (e := row.estimate(metric))]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _first(rows: Sequence[Row], metric: str) -> Row | None:
    return rows[0] if rows and not rows[0].baseline and rows[0].estimate(metric) else None


def _is_yardstick(row: Row) -> bool:
    return row.group.lower() == YARDSTICK or row.status == "stale"


RELATIVE = {
    "popularity_index": Relative(
        "popularity",
        _highest,
        0.0,
        "Popularity index: the mean share of the clicks of training that a retrieved item has, divided by the highest "
        "of the rows ({label}: {value}). What recommends by popularity alone is shown, and is not what others are "
        "divided by.",
    ),
    "dwell_gain": Relative(
        "dwell", _first, 1.0, "Dwell time gain: the relative difference to the first row ({label}: {value})."
    ),
}
"""Metric → how it follows from another over the rows of one table ([B], popularity index; methods.md §1)."""


def with_relatives(rows: Sequence[Row]) -> list[Row]:
    """Attach to each row the metrics that are relative to the others; the reference counts as known exactly."""
    made = list(rows)
    for name, relative in RELATIVE.items():
        reference = relative.reference_row(rows)
        found = reference.estimate(relative.source) if reference else None
        if found is None:
            continue
        for i, row in enumerate(made):
            if own := row.estimate(relative.source):
                made[i] = replace(row, relative={**row.relative, name: _divided(own, found.mean, relative.shift)})
    return made


def relative_notes(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Say of each derived metric of a table what it is relative to."""
    notes = []
    for name, relative in RELATIVE.items():
        reference = relative.reference_row(rows) if name in metrics else None
        found = reference.estimate(relative.source) if reference else None
        if reference is not None and found is not None:
            value = measure(relative.source).number(found.mean)
            notes.append(relative.note.format(label=reference.label, value=value))
    return notes


def _divided(found: Estimate, by: float, shift: float) -> Estimate:
    low, high = (None if bound is None else bound / by - shift for bound in (found.low, found.high))
    return Estimate(found.mean / by - shift, low, high, None if found.sd is None else found.sd / by, found.n)
