"""Records of probes → a table: what each model was trained with or on as rows, what it was measured under as columns.

One section per size and data set holds the matrix, what was measured in each column, and the slices of each column.
The CSV file has a line per cell, with the interval and all metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tastelab.results.captions import SMOKE, machine, run_list, setting, warnings
from tastelab.results.columns import ABSENT, aligned, best_rows, plain, row_label
from tastelab.results.formats import count, metric_label
from tastelab.results.probe_matrix import Column, Names, ProbeMatrix, probe_matrix
from tastelab.results.rows import FIXED, Estimate, Row
from tastelab.results.sections import Section, sections
from tastelab.results.sheet import estimates, heads, origins, sheet
from tastelab.results.slices import slice_block
from tastelab.results.store import Record, distinct, lookup
from tastelab.results.tables import page_of

OWN = "•"
"""Stands after a cell whose model was measured as it was trained."""

SUMMARIES = ("", "domains")
READ = (("missing", "config.data.missing"), ("title words", "config.data.title_words"))
"""(header, dotted path) of what a probe changed of the texts: a column of the facts where a probe did."""


@dataclass(frozen=True)
class ProbeTable:
    """A matrix of probes: declared by an experiment beside its `Table`s, filled from its records.

    Raises `ValueError` where `summaries` is no kind of summary.
    """

    name: str
    title: str
    heading: str = "Trained on"
    """What the rows are."""
    across: str = "Served with"
    """What the columns are."""
    rows: Names | None = None
    """The trained rows in order, pending ones included, each its name or (name, label); None takes all."""
    columns: Names | None = None
    """The probes likewise; None takes those of the records by their `probe_order`."""
    metric: str = "auc"
    group: str = "group"
    """Dotted path of the value in a record that rows are grouped by."""
    baselines: bool = True
    """Whether the frozen encoder is the last row."""
    fixed: tuple[str, ...] = FIXED
    """Dotted paths on which all trained runs must agree; those that differ from the latest are left out."""
    figures: tuple[str, ...] = ()
    """Names of the plots that each section shows."""
    note: str = ""
    summaries: str = ""
    """`domains`: means within and outside the domains of each row, and the best zero-shot row of each column."""

    def __post_init__(self) -> None:
        if self.summaries not in SUMMARIES:
            raise ValueError(f"The table {self.name} has the summaries '{self.summaries}': use 'domains' or ''.")

    def fill(self, records: Sequence[Record], size: str) -> ProbeMatrix:
        """Return the matrix that records of one size make."""
        return probe_matrix(records, size, self.rows, self.columns, self.group, self.fixed, self.baselines)

    def written(self, records: Sequence[Record]) -> tuple[str, str]:
        """Return the Markdown page and the CSV file that records make."""
        found = sections(records) or [Section("default", "", ())]
        filled = [(section, self.fill(section.records, section.size)) for section in found]
        parts = [f"# {self.title}", self.note]
        for section, matrix in filled:
            parts += [f"## {section.data or 'Pending'}, size {section.size}", *self._section(section, matrix)]
        experiments = sorted({run["experiment"] for _, matrix in filled for run in probes_of(matrix)})
        source = ", ".join(f"`runs/{name}.jsonl`" for name in experiments) or "no finished probe yet"
        return page_of([*parts, f"Made from {source}."]), self._sheet(filled)

    def screen(self, records: Sequence[Record], size: str) -> str:
        """Return the matrix as plain text."""
        matrix = self.fill(records, size)
        body, foot = self.cells(matrix), self.foot(matrix)
        text = plain([self.header(matrix), *body, *foot], _sides(matrix, self.summaries))
        remarks = [*([self.note] if self.note else []), *self.notes(matrix, size)]
        return "\n".join([f"{self.title} · size {size}", "", text, "", *remarks]) + "\n"

    def header(self, matrix: ProbeMatrix) -> list[str]:
        """Return the header of the matrix."""
        means = ["in-domain", "zero-shot"] if self.summaries else []
        return [f"{self.heading} ↓ {self.across} →", *(column.label for column in matrix.columns), *means]

    def cells(self, matrix: ProbeMatrix, mark_best: bool = False) -> list[list[str]]:
        """Return a line per row: label, a cell per column, and the means over domains."""
        columns = [self._column(matrix, column, mark_best) for column in matrix.columns]
        for mean in (matrix.in_domain, matrix.zero_shot) if self.summaries else ():
            values = [mean(row, self.metric) for row in matrix.rows]
            # None is bold: rows average over different domains.
            columns.append([ABSENT if value is None else f"{value:.4f}" for value in values])
        return [[row_label(row), *(column[i] for column in columns)] for i, row in enumerate(matrix.rows)]

    def foot(self, matrix: ProbeMatrix) -> list[list[str]]:
        """Return the lines below the rows: per column the best zero-shot value, and the one that was left out."""
        if not self.summaries:
            return []
        best = [matrix.best_zero_shot(column, self.metric) for column in matrix.columns]
        lines = [["Best zero-shot", *(_value(cell, self.metric) for cell in best), "", ""]]
        left_out = [matrix.left_one_out(column) for column in matrix.columns]
        lines += [["Left out", *(_value(cell, self.metric) for cell in left_out), "", ""]] if any(left_out) else []
        return lines

    def notes(self, matrix: ProbeMatrix, size: str) -> list[str]:
        """Return the sentences below the matrix: how to read it, what is pending, and what does not count."""
        found = warnings(probes_of(matrix)) or warnings(run for row in matrix.rows for run in row.runs)
        found += [
            f"Each cell: a model of the row measured as the column says; {metric_label(self.metric)}, the mean over "
            "seeds ± its standard deviation over seeds. Bold: the best trained row of the column. "
            f"{OWN} the row's own condition: measured as it was trained. {ABSENT}: no value yet. The CSV file has the "
            "95 % intervals."
        ]
        found += _domain_notes(matrix) if self.summaries else []
        found += [SMOKE] if size == "smoke" else []
        return found + _states(matrix)

    def facts(self, matrix: ProbeMatrix) -> list[list[str]]:
        """Return the header and a line per column: what was measured in it."""
        probes = {column.name: _probes(matrix, column) for column in matrix.columns}
        read = [(header, path) for header, path in READ if distinct(probes_of(matrix), path)]
        lines = []
        for column in matrix.columns:
            runs = probes[column.name]
            features = " / ".join(map(str, distinct(runs, "features"))) or ABSENT
            seeds = " ".join(map(str, sorted(distinct(runs, "seed")))) or ABSENT
            changed = [" / ".join(f"{value:g}" for value in distinct(runs, path)) or ABSENT for _, path in read]
            lines.append([column.label, _counts(runs, "n_total"), _counts(runs, "n_scored"), seeds, features, *changed])
        return [[self.across, "impressions", "scored", "seeds", "features", *(header for header, _ in read)], *lines]

    def _column(self, matrix: ProbeMatrix, column: Column, mark_best: bool) -> list[str]:
        cells = [matrix.cell(row, column) for row in matrix.rows]
        found = [cell.estimate(self.metric) for cell in cells]
        printed = _marked(cells, [_number(each) for each in found], mark_best)
        for i, (row, cell, each) in enumerate(zip(matrix.rows, cells, found, strict=True)):
            printed[i] += OWN if matrix.is_own(row, column) else ""
            printed[i] += f" ±\u00a0{each.sd:.4f}" if each is not None and each.sd is not None else ""
            printed[i] += " (stale)" if cell.status == "stale" != row.status else ""
        return printed

    def _section(self, section: Section, matrix: ProbeMatrix) -> list[str]:
        runs = probes_of(matrix)
        if not matrix.columns:
            return ["Nothing was measured under other conditions yet."]
        head = [setting(runs, section.size), *machine(runs)] if runs else []
        lines = [self.header(matrix), *self.cells(matrix, mark_best=True), *self.foot(matrix)]
        listed = "\n".join(f"- {remark}" for remark in self.notes(matrix, section.size))
        facts = aligned(self.facts(matrix), [False, True, True, *(False for _ in self.facts(matrix)[0][3:])])
        images = [f"![{name}](../figures/{name}-{section.slug}.svg)" for name in self.figures if section.records]
        by_slice = [
            slice_block(
                [_relabelled(matrix, row, column) for row in matrix.rows], self.metric, f"By slice: {column.label}"
            )
            for column in matrix.columns
        ]
        ids = run_list([matrix.cell(row, column) for row in matrix.rows for column in matrix.columns])
        return [*head, aligned(lines, _sides(matrix, self.summaries)), listed, *images, facts, *by_slice, ids]

    def _sheet(self, filled: Sequence[tuple[Section, ProbeMatrix]]) -> str:
        runs = [run for _, matrix in filled for run in probes_of(matrix)]
        metrics = list(dict.fromkeys([self.metric, *(name for run in runs for name in run.get("metrics") or ())]))
        lines = []
        for section, matrix in filled:
            for row in matrix.rows:
                for column in matrix.columns:
                    cell = _relabelled(matrix, row, column)
                    where = {"probe": column.label, "own_condition": int(matrix.is_own(row, column))}
                    where["domain"] = "in" * matrix.is_inside(row, column) + "out" * matrix.is_outside(row, column)
                    of = {"of": " ".join(run["of"] for run in cell.runs)}
                    lines.append(heads(cell, section) | where | estimates(cell, metrics) | origins(cell, section) | of)
        return sheet(lines)


def probes_of(matrix: ProbeMatrix) -> list[Record]:
    """Return every finished probe of a matrix, row by row."""
    return [run for row in matrix.rows for column in matrix.columns for run in matrix.cell(row, column).runs]


def _probes(matrix: ProbeMatrix, column: Column) -> list[Record]:
    return [run for row in matrix.rows for run in matrix.cell(row, column).runs]


def _relabelled(matrix: ProbeMatrix, row: Row, column: Column) -> Row:
    """Return a cell under the label of its row alone."""
    cell = matrix.cell(row, column)
    return Row(cell.group, row.label, cell.baseline, cell.runs, cell.failed)


def _domain_notes(matrix: ProbeMatrix) -> list[str]:
    found = [
        "in-domain: the mean over the columns whose domains the row was trained on; zero-shot: over those of domains "
        "that it never saw, all of them for the frozen encoder. A mean waits for all of its cells; a column of all "
        "domains counts in neither. Rows average over different domains, so these means do not compare down a column. "
        "Best zero-shot: the best trained row that never saw the domains of the column, chosen by the numbers shown."
    ]
    left_out = any(matrix.left_one_out(column) for column in matrix.columns)
    return found + (["Left out: the row that was trained on all but the column."] if left_out else [])


def _states(matrix: ProbeMatrix) -> list[str]:
    """Say what is pending, what failed, which cells have fewer seeds than their row, and what was left out."""
    cells = [(row, matrix.cell(row, column)) for row in matrix.rows for column in matrix.columns]
    pending = sum(not cell.runs for _, cell in cells)
    found = [f"Pending: {pending} of {len(cells)} cells."] if pending else []
    found += [f"Failed: {cell.label}." for _, cell in cells if cell.failed]
    fewer = sum(0 < len(cell.runs) < len(row.runs) for row, cell in cells)
    found += [f"Not of all seeds of its row yet: {fewer} of {len(cells)} cells (see the CSV file)."] if fewer else []
    number = len(matrix.left_out)
    what = "1 probe" if number == 1 else f"{number:,} probes"
    reason = "of runs that the rows no longer show, or measured otherwise than the latest of their column"
    return found + ([f"Left out: {what} {reason}."] if number else [])


def _marked(rows: Sequence[Row], printed: Sequence[str], mark_best: bool) -> list[str]:
    best = best_rows(rows, printed) if mark_best else []
    return [f"**{text}**" if i in best else text for i, text in enumerate(printed)]


def _value(cell: Row | None, metric: str) -> str:
    return _number(None if cell is None else cell.estimate(metric))


def _number(found: Estimate | None) -> str:
    return ABSENT if found is None else f"{found.mean:.4f}"


def _counts(runs: Sequence[Record], key: str) -> str:
    numbers = sorted({value for run in runs if (value := lookup(run, f"counts.{key}")) is not None})
    return " / ".join(map(count, numbers)) or ABSENT


def _sides(matrix: ProbeMatrix, summaries: str) -> list[bool]:
    return [False, *(True for _ in matrix.columns), *(True for _ in (("in", "out") if summaries else ()))]
