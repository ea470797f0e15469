"""The columns a table can have: from a row to a cell for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tastelab.results.formats import ABSENT, count, difference, duration, metric_label, milliseconds, p_value
from tastelab.results.measures import Measure, as_number, measure
from tastelab.results.rows import Estimate, Row
from tastelab.results.store import distinct, lookup

__all__ = ["ABSENT", "COLUMNS", "Column", "aligned", "cells", "column", "duration", "metric_label", "plain"]


@dataclass(frozen=True)
class Column:
    """A column: its header, its cell, which side the cell is set to, and which value is marked as the best, if any.

    `better` is 1 where the highest is the best, -1 where the lowest is. In a header `{metric}` and `{unit}` stand for
    the metric that tests are about and the unit of its differences, `{examples}` for what a run trains on.
    """

    header: str
    cell: Callable[[Row], str]
    right: bool = True
    better: int = 0

    def headed(self, metric: str, tested: str) -> str:
        """Write the header in a table whose first metric is `metric`, and whose tests are about `tested`."""
        examples = "impressions" if measure(metric).over == "impressions" else "examples"
        known = measure(tested)
        return self.header.format(metric=known.label, unit=known.difference_unit, examples=examples)


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
    known = measure(metric)

    def shown(row: Row) -> str:
        found = row.estimate(metric)
        return ABSENT if found is None else cell(found, known)

    return Column(header.format(known), shown, better=0 if part else known.better)


def row_label(row: Row) -> str:
    """Write a row's label, and that it is stale where it is."""
    return row.label + (" (stale)" if row.status == "stale" else "")


def cells(
    rows: Sequence[Row], heading: str, keys: Sequence[str], mark_best: bool = False, metric: str = "auc"
) -> list[list[str]]:
    """Return the header and one line of cells per row; the best of two or more trained rows is set in bold.

    `metric` is the table's first: it tells which words headers take, and what tests are about where there are none.
    """
    tested = next((row.comparison["comparison"]["metric"] for row in rows if row.comparison), metric)
    columns = [column(key) for key in keys]
    lines = [[row_label(row), *(each.cell(row) for each in columns)] for row in rows]
    for position, each in enumerate(columns, start=1):
        if mark_best and each.better:
            for i in best_rows(rows, [line[position] for line in lines], each.better):
                lines[i][position] = f"**{lines[i][position]}**"
    return [[heading, *(each.headed(metric, tested) for each in columns)], *lines]


def best_rows(rows: Sequence[Row], printed: Sequence[str], better: int = 1) -> list[int]:
    """Return which rows are the best of a column: of two or more finished, trained ones; ties as printed.

    The highest value is the best where `better` is 1, the lowest where it is -1; where it is 0 there is no best.
    """
    rivals = [i for i, row in enumerate(rows) if better and not row.baseline and row.status == "finished"]
    values = {i: better * as_number(printed[i]) for i in rivals if printed[i] != ABSENT}
    return [i for i in values if len(values) > 1 and values[i] == max(values.values())]


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


def _set(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _interval(found: Estimate, known: Measure) -> str:
    return ABSENT if found.low is None or found.high is None else known.span(found.low, found.high)


def _spread(found: Estimate, known: Measure) -> str:
    return ABSENT if found.sd is None else f"±\u00a0{known.number(found.sd).lstrip('+')}"


def _test(row: Row) -> Any:
    return None if row.comparison is None else row.comparison["comparison"]


def _trials(row: Row) -> str:
    if row.baseline:
        return ABSENT
    failed = row.num_trials("failed")
    searched = row.num_trials("finished") + row.num_trials("pruned")
    return f"{searched}" + (f" + {failed} failed" if failed else "")


def _trained(row: Row) -> str:
    trained, total = row.mean("params_trained"), row.mean("params_total")
    share = f" ({100 * trained / total:.1f} %)" if trained and total else ""
    return count(trained) + share


def _impressions_seen(row: Row) -> str:
    """Impressions that an epoch goes through, times the epochs; a baseline trains on none."""
    seen = []
    for run in () if row.baseline else row.runs:
        number, epochs = lookup(run, "config.data.train_impressions"), lookup(run, "config.optim.epochs") or 1
        text = "all" if number is None else count(number)
        seen.append(text if epochs == 1 else f"{text} × {epochs}")
    return ", ".join(dict.fromkeys(seen)) or ABSENT


def _common(path: str, form: str = "{}") -> Callable[[Row], str]:
    """Make a cell of what the runs of a row have at a path; several values are listed."""
    return lambda row: ", ".join(map(form.format, distinct(row.runs, path))) or ABSENT


def _number(path: str, form: Callable[[float | None], str]) -> Callable[[Row], str]:
    """Make a cell of the mean over runs of the number at a path."""
    return lambda row: form(row.mean(path))


def _form(form: str) -> Callable[[float | None], str]:
    return lambda value: ABSENT if value is None else form.format(value)


PARTS: dict[str, tuple[str, Callable[[Estimate, Measure], str]]] = {
    "": ("{0.label}", lambda found, known: known.number(found.mean)),
    "interval": ("95 % interval", _interval),
    "sd": ("± seeds", _spread),
    "n": ("{0.over}", lambda found, known: count(found.n)),
}

COLUMNS = {
    "vs_first": Column("Δ {metric} to first row{unit}", lambda row: difference(_test(row))),
    "vs_first:p": Column("p", lambda row: p_value((_test(row) or {}).get("p"))),
    "vs_first:holm": Column("p (Holm)", lambda row: p_value(row.p_holm)),
    "seeds": Column("seeds", lambda row: f"{len(row.runs)}" if row.runs else ABSENT),
    "trials": Column("trials searched", _trials),
    "trained": Column("parameters trained", _trained),
    "train_impressions": Column("training {examples}", _impressions_seen),
    "features": Column("features", _common("features"), right=False),
    "dialect": Column("ties", _common("dialect"), right=False),
    "encoder": Column("encoder", _common("encoder.name"), right=False),
    "learning_rate": Column("learning rate", _common("config.optim.learning_rate", "{:.3g}")),
    "weight_decay": Column("weight decay", _common("config.optim.weight_decay", "{:.3g}")),
    "epochs": Column("epochs", _common("config.optim.epochs")),
    "global_batch": Column("batch", _common("config.optim.global_batch")),
    "wall_time": Column("time per run", _number("wall_time_s", duration)),
    "throughput": Column("{examples}/s", _number("throughput.impressions_per_s", _form("{:,.1f}"))),
    "latency_1": Column("latency (ms), batch 1", _number("latency_ms.warm_1", milliseconds)),
    "latency_64": Column("latency (ms), batch 64", _number("latency_ms.warm_64", milliseconds)),
    "latency_cold_1": Column("cold (ms), batch 1", _number("latency_ms.cold_1", milliseconds)),
    "latency_cold_64": Column("cold (ms), batch 64", _number("latency_ms.cold_64", milliseconds)),
    "memory": Column("peak memory", _number("peak_memory_mb", _form("{:,.0f} MB"))),
}
"""Columns that are not metrics."""
