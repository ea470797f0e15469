"""Records → a Markdown page, a CSV file, and a summary on the screen.

A table is made from records alone, so that any machine that has `reports/runs/` writes the same bytes. The page begins
with a matrix in the layout of [A] (see `matrix`); a section per size and data set follows with intervals, tests and
cost. Every value is a mean over seeds; its interval is the mean of the seeds' own bootstrap bounds (see
`rows.Estimate`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tastelab.results.captions import caption, notes, run_list
from tastelab.results.columns import COLUMNS, aligned, cells, column, plain
from tastelab.results.comparisons import with_comparisons
from tastelab.results.matrix import legend, markdown, panels
from tastelab.results.measures import measure
from tastelab.results.published import published
from tastelab.results.relative import with_relatives
from tastelab.results.rows import FIXED, RETRIEVAL_BASELINES, Row, comparable, make_rows
from tastelab.results.sections import Section, sections
from tastelab.results.sheet import line, sheet, with_others
from tastelab.results.slices import slice_block
from tastelab.results.store import Record, lookup


class Reported(Protocol):
    """What can be written as a table: `Table`, and `probes.ProbeTable`."""

    @property
    def name(self) -> str:
        """Name of its files."""

    @property
    def title(self) -> str:
        """What stands above it."""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Dotted paths on which all of its trained runs must agree."""

    def written(self, records: Sequence[Record]) -> tuple[str, str]:
        """Return the Markdown page and the CSV file that records make."""

    def screen(self, records: Sequence[Record], size: str) -> str:
        """Return plain text, of records of one size, for a screen."""


@dataclass(frozen=True)
class Table:
    """What a table shows: declared by an experiment, filled from its records.

    `columns` and `details` become two Markdown tables per section, of quality and of cost, so that each fits the
    width of a page; under a matrix, which has all metrics, the section shows the first of them alone. The first metric
    is also what slices and the screen look at, and tests against the first row if there are any of it. What a column
    can be: see `columns.column`.
    A wrong column, or a published figure that does not exist or belongs to no row, raises `ValueError` at once.
    """

    name: str
    title: str
    group: str = "group"
    """Dotted path of the value in a record that rows are grouped by."""
    rows: tuple[tuple[str, str], ...] | None = None
    """(group, label) of each row in order, pending ones included; None takes the groups as records bring them."""
    heading: str = "System"
    """Header of the labels."""
    columns: tuple[str, ...] = (
        *("auc", "auc:interval", "auc:sd", "mrr", "ndcg@5", "ndcg@10"),
        *("vs_first", "vs_first:holm", "seeds"),
    )
    details: tuple[str, ...] = (
        *("trials", "trained", "train_impressions", "wall_time", "throughput"),
        *("latency_1", "latency_64", "memory"),
    )
    """The column `trials` is left out where nothing was searched."""
    baselines: bool = True
    fixed: tuple[str, ...] = FIXED
    """Dotted paths on which all records of the table must agree; those that differ from the latest are left out."""
    figures: tuple[str, ...] = ()
    """Names of the plots that each section shows."""
    note: str = ""
    datasets: tuple[tuple[str, str], ...] = (
        ("mind-small", "MIND-small"),
        ("mix_sample", "Mix sample"),
        ("synthetic", "Synthetic"),
    )
    """(name in records, header) of each data set of the matrix, pending ones included; empty: no matrix."""
    published: Mapping[str, str] = field(default_factory=dict)
    """Label or group of a row → key of `published.PUBLISHED`: the figure shown beside it."""
    references: tuple[str, ...] = ()
    """Keys of `published.PUBLISHED` that get rows of their own, with published columns only."""

    def __post_init__(self) -> None:
        for key in (*self.columns, *self.details):
            column(key)
        for key in (*self.published.values(), *self.references):
            published(key)
        names = {name for row in self.rows or () for name in row}
        if self.rows is not None and (lost := set(self.published) - names):
            raise ValueError(
                f"The table {self.name} has no row '{min(lost)}' to show a published figure beside: "
                f"use one of {', '.join(label for _, label in self.rows)}."
            )

    @property
    def metrics(self) -> list[str]:
        """The metrics among the columns, each once."""
        names = [key.partition(":")[0] for key in self.columns]
        return list(dict.fromkeys(name for name in names if name not in COLUMNS))

    @property
    def headline(self) -> str:
        """The first metric: what slices and the screen look at, and tests if there are any of it."""
        return self.metrics[0] if self.metrics else "auc"

    def fill(self, records: Sequence[Record], size: str) -> tuple[list[Row], list[Record]]:
        """Return the rows that records of one size make, tests included, and the records that did not belong."""
        kept, left_out = comparable(records, size, self.fixed)
        of_users = self.baselines and measure(self.headline).over == "users"
        baselines = RETRIEVAL_BASELINES if of_users else self.baselines
        rows = with_relatives(make_rows(kept, self.group, self.rows, baselines))
        return with_comparisons(rows, kept, self._tested(kept)), left_out

    def _tested(self, records: Sequence[Record]) -> str:
        """Return what the tests of these records are about: the first metric, or the first other one that has any."""
        about = {lookup(record, "comparison.metric") for record in records}
        return next((metric for metric in self.metrics if metric in about), self.headline)

    def written(self, records: Sequence[Record]) -> tuple[str, str]:
        """Return the Markdown page and the CSV file that records make."""
        found = sections(records) or [Section("default", "", ())]
        filled = [(section, *self.fill(section.records, section.size)) for section in found]
        parts = [f"# {self.title}", *_matrix(self, records)]
        headed = bool(self.datasets) or len(filled) > 1
        for section, rows, left_out in filled if records or not self.datasets else ():
            title = dict(self.datasets).get(section.data, section.data)
            parts += [f"## In detail: {title}, size {section.size}"] if headed else []
            parts += _detail(self, section, rows, left_out)
        metrics = with_others(self.metrics, [row for _, rows, _ in filled for row in rows])
        lines = [line(row, section, metrics) for section, rows, _ in filled for row in rows]
        return page_of(parts), sheet(lines)

    def screen(self, records: Sequence[Record], size: str) -> str:
        """Return the first metric, its uncertainty, seeds, trials and cost as plain text."""
        rows, left_out = self.fill(records, size)
        metric = self.headline
        keys = (metric, f"{metric}:interval", f"{metric}:sd", "seeds", "trials", "trained", "wall_time")
        text = plain(cells(rows, self.heading, keys, metric=metric), _sides(keys))
        return "\n".join([f"{self.title} · size {size}", "", text, "", *notes(rows, left_out, size, self.note)]) + "\n"


def write_table(table: Reported, records: Sequence[Record], reports: Path) -> tuple[Path, Path]:
    """Write `reports/tables/<name>.md` and `.csv` and return their paths.

    Args:
        table: The declaration.
        records: As `RecordStore.load` returns them; a row holds the latest configuration that it was run with.
        reports: The reports folder.
    """
    page, data = table.written(records)
    folder = reports / "tables"
    return write_text(folder / f"{table.name}.md", page), write_text(folder / f"{table.name}.csv", data)


def summary(table: Reported, records: Sequence[Record], size: str) -> str:
    """Return the table as plain text for a screen."""
    return table.screen(records, size)


def page_of(parts: Sequence[str]) -> str:
    """Join the blocks of a Markdown page; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader, or a kill, meets the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    return partial.replace(path)


def _matrix(table: Table, records: Sequence[Record]) -> list[str]:
    """The matrix of each size: what a reader of [A] looks for first."""
    parts = []
    for size, shown in panels(table, records).items() if table.datasets else ():
        remarks = [table.note, *legend(shown)] if table.note else legend(shown)
        listed = "\n".join(f"- {remark}" for remark in remarks)
        parts += [f"## Results at size {size}", *markdown(table, shown), listed]
    return parts


def _detail(table: Table, section: Section, rows: Sequence[Row], left_out: Sequence[Record]) -> list[str]:
    """One section: what its records share, quality, cost, notes, figures, and the runs behind it."""
    idle = {"trials"} if not any(row.trials for row in rows) else set()
    shown_above = set(table.metrics[1:]) if table.datasets else set()
    kept = [[key for key in keys if key not in idle | shown_above] for keys in (table.columns, table.details)]
    made = [(cells(rows, table.heading, keys, mark_best=True, metric=table.headline), keys) for keys in kept if keys]
    tables = [aligned(lines, _sides(keys)) for lines, keys in made]
    remarks = notes(rows, left_out, section.size, "" if table.datasets else table.note, table.metrics)
    listed = "\n".join(f"- {remark}" for remark in remarks)
    experiments = sorted({run["experiment"] for row in rows for run in row.runs})
    source = ", ".join(f"`runs/{name}.jsonl`" for name in experiments) or "no finished run yet"
    images = [f"![{name}](../figures/{name}-{section.slug}.svg)" for name in table.figures if section.records]
    by_slice = slice_block(rows, table.headline)
    return [*caption(rows, section.size), *tables, listed, *images, by_slice, run_list(rows), f"Made from {source}."]


def _sides(keys: Sequence[str]) -> list[bool]:
    return [False, *(column(key).right for key in keys)]
