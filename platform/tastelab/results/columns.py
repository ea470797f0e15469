"""The columns a table can have: from a row to a cell for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tastelab.results.rows import Estimate, Row
from tastelab.results.store import distinct

ABSENT = "–"
METRIC_LABELS = {"auc": "AUC", "mrr": "MRR", "ndcg": "nDCG", "hr": "HR"}


@dataclass(frozen=True)
class Column:
    """A column: its header, its cell, which side the cell is set to, and whether its highest value is marked."""

    header: str
    cell: Callable[[Row], str]
    right: bool = True
    marked: bool = False


def column(key: str) -> Column:
    """Return the column of a key.

    A key is a metric (`auc`), a part of one (`auc:interval`, `auc:sd`, `auc:n`) or a key of `COLUMNS`.
    """
    if key in COLUMNS:
        return COLUMNS[key]
    metric, _, part = key.partition(":")
    header, cell = PARTS.get(part, (None, None))
    if header is None or cell is None:
        raise ValueError(
            f"Unknown column '{key}': a metric takes :interval, :sd or :n; others are {', '.join(COLUMNS)}."
        )

    def shown(row: Row) -> str:
        found = row.estimate(metric)
        return ABSENT if found is None else cell(found)

    return Column(header.format(metric_label(metric)), shown, marked=not part)


def cells(rows: Sequence[Row], heading: str, keys: Sequence[str], mark_best: bool = False) -> list[list[str]]:
    """Return the header and one line of cells per row; the best of two or more trained rows is set in bold."""
    columns = [column(key) for key in keys]
    lines = [
        [row.label + (" (stale)" if row.status == "stale" else ""), *(each.cell(row) for each in columns)]
        for row in rows
    ]
    for position, each in enumerate(columns, start=1):
        if mark_best and each.marked:
            _mark_best(rows, lines, position)
    return [[heading, *(each.header for each in columns)], *lines]


def aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Lay out a Markdown table with aligned pipes: `lines` with the header first, `right` tells each column's side."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in escaped)) for i in range(len(right))]
    rule = [("-" * (width - 1) + ":") if side else "-" * width for width, side in zip(widths, right, strict=True)]
    padded = [[_set(*each) for each in zip(line, widths, right, strict=True)] for line in escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def plain(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Lay out a table for a screen: columns two blanks apart under a line."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(right))]
    padded = ["  ".join(_set(*each) for each in zip(line, widths, right, strict=True)).rstrip() for line in lines]
    return "\n".join([padded[0], "  ".join("─" * width for width in widths), *padded[1:]])


def metric_label(metric: str) -> str:
    """Write a metric's key as the field does: `ndcg@5` → `nDCG@5`."""
    name, at, k = metric.partition("@")
    return METRIC_LABELS.get(name, name) + at + k


def duration(seconds: float | None) -> str:
    """Write seconds in the largest unit that leaves two or three digits: 47 s, 3.2 min, 5.1 h."""
    if seconds is None:
        return ABSENT
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _set(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _mark_best(rows: Sequence[Row], lines: list[list[str]], position: int) -> None:
    """Set the highest value among finished, trained rows in bold; equal as printed is equal."""
    rivals = [i for i, row in enumerate(rows) if not row.baseline and row.status == "finished"]
    rivals = [i for i in rivals if lines[i][position] != ABSENT]
    best = max((float(lines[i][position]) for i in rivals), default=None)
    for i in rivals:
        if len(rivals) > 1 and float(lines[i][position]) == best:
            lines[i][position] = f"**{lines[i][position]}**"


def _interval(found: Estimate) -> str:
    return ABSENT if found.low is None or found.high is None else f"{found.low:.4f} – {found.high:.4f}"


def _spread(found: Estimate) -> str:
    return ABSENT if found.sd is None else f"± {found.sd:.4f}"


def _count(number: float | None) -> str:
    return ABSENT if number is None else f"{number:,.0f}"


def _trials(row: Row) -> str:
    if row.baseline:
        return ABSENT
    failed = row.num_trials("failed")
    searched = row.num_trials("finished") + row.num_trials("pruned")
    return f"{searched}" + (f" + {failed} failed" if failed else "")


def _trained(row: Row) -> str:
    trained, total = row.mean("params_trained"), row.mean("params_total")
    share = f" ({100 * trained / total:.1f} %)" if trained and total else ""
    return _count(trained) + share


def _common(path: str) -> Callable[[Row], str]:
    """Make a cell of what the runs of a row have at a path; several values are listed."""
    return lambda row: ", ".join(map(str, distinct(row.runs, path))) or ABSENT


def _number(path: str, form: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.mean(path)
        return ABSENT if value is None else form.format(value)

    return cell


PARTS: dict[str, tuple[str, Callable[[Estimate], str]]] = {
    "": ("{}", lambda found: f"{found.mean:.4f}"),
    "interval": ("95 % interval", _interval),
    "sd": ("± seeds", _spread),
    "n": ("impressions", lambda found: _count(found.n)),
}

COLUMNS = {
    "seeds": Column("seeds", lambda row: f"{len(row.runs)}" if row.runs else ABSENT),
    "trials": Column("trials searched", _trials),
    "trained": Column("parameters trained", _trained),
    "features": Column("features", _common("features"), right=False),
    "dialect": Column("ties", _common("dialect"), right=False),
    "wall_time": Column("time per run", lambda row: duration(row.mean("wall_time_s"))),
    "throughput": Column("impressions/s", _number("throughput.impressions_per_s", "{:,.1f}")),
    "memory": Column("peak memory", _number("peak_memory_mb", "{:,.0f} MB")),
}
"""Columns that are not metrics."""
