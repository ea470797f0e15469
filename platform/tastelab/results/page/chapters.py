"""An experiment on the page: its question, then a view of tables and figures for each data set and size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tastelab.results.captions import caption, notes, warnings
from tastelab.results.matrix import Panel, legend, panels
from tastelab.results.page.grids import Numbers, grid, matrix_grid
from tastelab.results.page.ledger import Ledger
from tastelab.results.page.markup import data_uri, inline, tag, text
from tastelab.results.page.probes import probe_parts
from tastelab.results.plots import Plot, figure_names
from tastelab.results.probes import ProbeTable
from tastelab.results.rows import Row
from tastelab.results.sections import Section, sections
from tastelab.results.store import Record
from tastelab.results.tables import Table

SIZES = ("default", "paper", "smoke")
"""The order of views."""


@dataclass(frozen=True)
class Chapter:
    """What an experiment declares, as far as the page shows it."""

    name: str
    question: str
    tables: tuple[Table | ProbeTable, ...] = ()
    plots: tuple[Plot, ...] = ()

    @property
    def title(self) -> str:
        """The first table's title, or the name."""
        return self.tables[0].title if self.tables else self.name


@dataclass(frozen=True)
class View:
    """One size and data set of an experiment, with the panel of each table that has one there."""

    section: Section
    panels: dict[str, Panel]

    @property
    def name(self) -> str:
        """What the tab says: the data set, the size where it is not the default, and whether nothing was run."""
        headers = [panel.header for panel in self.panels.values()]
        size = "" if self.section.size == "default" else f"size {self.section.size}"
        state = "" if self.section.records else "pending"
        return " · ".join(filter(None, (headers[0] if headers else self.section.data, size, state)))


def render_chapter(chapter: Chapter, records: Sequence[Record], reports: Path, ledger: Ledger) -> str:
    """Write an experiment as HTML and enter the rows of its tables in the ledger."""
    head = [tag("p", tag("code", text(chapter.name)), class_="name"), tag("h2", text(chapter.title))]
    shown = [_view(chapter, view, reports, ledger) for view in views(chapter, records)]
    return tag("section", *head, _question(chapter.question), *shown, class_="chapter", id=chapter.name)


def views(chapter: Chapter, records: Sequence[Record]) -> list[View]:
    """Return what an experiment shows, one view per size and data set: the default size first, what waits last."""
    found = {(section.size, section.data): section for section in sections(records)}
    placed: dict[tuple[str, str], dict[str, Panel]] = {}
    for table in chapter.tables:
        for panel in _panels(table, records) if isinstance(table, Table) else ():
            placed.setdefault((panel.size, panel.dataset), {})[table.name] = panel
    keys = list(dict.fromkeys([*placed, *found])) or [("default", "")]
    keys.sort(key=lambda key: (SIZES.index(key[0]), key not in found))
    return [View(found.get(key) or Section(*key, ()), placed.get(key, {})) for key in keys]


def _panels(table: Table, records: Sequence[Record]) -> list[Panel]:
    return [panel for shown in panels(table, records).values() for panel in shown] if table.datasets else []


def _question(question: str) -> str:
    """Show the first paragraph of an experiment's docstring, and fold the others."""
    first, _, rest = question.strip().partition("\n\n")
    folded = tag("details", tag("summary", "What varies, what is fixed"), tag("pre", text(rest.rstrip())))
    return tag("p", inline(" ".join(first.split())), class_="question") + (folded if rest.strip() else "")


def _view(chapter: Chapter, view: View, reports: Path, ledger: Ledger) -> str:
    parts = [tag("h3", text(view.name), class_="view-name")]
    for table in chapter.tables:
        parts += [tag("h3", text(table.title))] if len(chapter.tables) > 1 else []
        if isinstance(table, ProbeTable):
            parts += probe_parts(table, view.section, ledger)
        else:
            parts += _table(table, view, ledger)
    parts += [_figure(plot, view.section, reports) for plot in chapter.plots if view.section.records]
    anchor = f"{chapter.name}--{view.section.slug or 'pending'}"
    return tag("section", *parts, class_="view", id=anchor, data_name=view.name)


def _table(table: Table, view: View, ledger: Ledger) -> list[str]:
    """Write one table at one size and data set: beside the published figures, then in detail, then what it cost."""
    section, panel = view.section, view.panels.get(table.name)
    rows, left_out = table.fill(section.records, section.size)
    numbers = [ledger.enter(table.title, section, row) for row in rows]
    above = caption(rows, section.size) if section.records else ["Nothing was run here yet."]
    parts = [tag("p", inline(line), class_="caption") for line in above]
    parts += [matrix_grid(table, panel, numbers), _notes(_remarks(table, panel))] if panel else []
    if section.records or panel is None:
        parts += _detail(table, rows, numbers)
        parts.append(_notes(notes(rows, left_out, section.size, "" if panel else table.note, table.metrics)))
    return [*parts, _runs(rows, numbers)]


def _remarks(table: Table, panel: Panel) -> list[str]:
    origins = [f"Published: {panel.origins}."] if panel.published_metrics else []
    return [*warnings(panel.runs), *([table.note] if table.note else []), *legend([panel]), *origins]


def _detail(table: Table, rows: Sequence[Row], numbers: Numbers) -> list[str]:
    searched = any(row.trials for row in rows)
    details = [key for key in table.details if key != "trials" or searched]
    shown = {"Intervals and tests": table.columns, "Cost": details}
    return [
        tag("h4", name) + grid(table, keys, rows, numbers, f"{table.title}: {name}")
        for name, keys in shown.items()
        if keys
    ]


def _notes(remarks: Sequence[str]) -> str:
    return tag("ul", *(tag("li", inline(remark)) for remark in remarks), class_="notes") if remarks else ""


def _runs(rows: Sequence[Row], numbers: Numbers) -> str:
    """List every run of every row, folded away: each has an address of its own."""
    lines = [
        tag("p", text(row.label), ": ", ", ".join(_run(run) for run in (*row.runs, *row.failed)), data_row=number)
        for row, number in zip(rows, numbers, strict=True)
        if row.runs or row.failed
    ]
    return tag("details", tag("summary", "Runs"), *lines, class_="runs") if lines else ""


def _run(run: Record) -> str:
    return tag("a", tag("code", text(run["run_id"])), href=f"#run={run['run_id']}")


def _figure(plot: Plot, section: Section, reports: Path) -> str:
    svg = (reports / "figures" / figure_names(plot, section.records)[0]).read_text(encoding="utf-8")
    width, height = (round(float(size)) for size in re.findall(r'\b(?:width|height)="([\d.]+)pt"', svg)[:2])
    return tag("figure", tag("img", src=data_uri(svg), alt=f"{plot.title}, {section.data}", width=width, height=height))
