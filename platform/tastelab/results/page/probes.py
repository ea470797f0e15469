"""A matrix of probes on the page: each cell leads to its probes, the label of a row to the runs that were probed."""

from __future__ import annotations

from collections.abc import Sequence

from tastelab.results.captions import machine, setting
from tastelab.results.page.grids import framed, heads, linked
from tastelab.results.page.ledger import Ledger
from tastelab.results.page.markup import inline, tag
from tastelab.results.probe_matrix import ProbeMatrix
from tastelab.results.probes import ProbeTable, probes_of
from tastelab.results.rows import Row
from tastelab.results.sections import Section


def probe_parts(table: ProbeTable, section: Section, ledger: Ledger) -> list[str]:
    """Write a matrix and what was measured in each of its columns, and enter its runs in the ledger."""
    matrix = table.fill(section.records, section.size)
    runs = probes_of(matrix)
    if not matrix.columns:
        return [tag("p", "Nothing was measured under other conditions yet.", class_="caption")]
    above = [setting(runs, section.size), *machine(runs)] if runs else ["Nothing was run here yet."]
    remarks = [*([table.note] if table.note else []), *table.notes(matrix, section.size)]
    return [
        *(tag("p", inline(line), class_="caption") for line in above),
        _matrix(table, matrix, section, ledger),
        tag("ul", *(tag("li", inline(remark)) for remark in remarks), class_="notes"),
        tag("h4", "What was measured") + _facts(table, matrix),
        _listed(matrix),
    ]


def _matrix(table: ProbeTable, matrix: ProbeMatrix, section: Section, ledger: Ledger) -> str:
    header, lines = table.header(matrix), table.cells(matrix, mark_best=True)
    body = [_line(table, matrix, row, line, section, ledger) for row, line in zip(matrix.rows, lines, strict=True)]
    foot = [tag("tr", tag("th", line[0], scope="row"), *_plain(line[1:])) for line in table.foot(matrix)]
    return framed(table.title, tag("tr", *heads(header, ["text", *("" for _ in header[1:])])), body, foot)


def _line(
    table: ProbeTable, matrix: ProbeMatrix, row: Row, line: Sequence[str], section: Section, ledger: Ledger
) -> str:
    """Write a row; every cell has a number of its own in the ledger."""
    made = [tag("th", linked(line[0], _first(row)), scope="row", data_row=ledger.enter(table.title, section, row))]
    for cell, column in zip(line[1:], matrix.columns, strict=False):
        probes = matrix.cell(row, column)
        number = ledger.enter(table.title, section, probes)
        kind = "own" if matrix.is_own(row, column) else ""
        made.append(tag("td", linked(cell, _first(probes), -1), class_=kind, data_row=number))
    kinds = ["" if row.status == "finished" else row.status, "baseline first" * row.baseline]
    return tag("tr", *made, *_plain(line[1 + len(matrix.columns) :]), class_=" ".join(filter(None, kinds)))


def _facts(table: ProbeTable, matrix: ProbeMatrix) -> str:
    header, *lines = table.facts(matrix)
    classes = ["text", "", "", *("text" for _ in header[3:])]
    body = [tag("tr", tag("th", inline(line[0]), scope="row"), *_plain(line[1:], classes[1:])) for line in lines]
    return framed(f"{table.title}: what was measured", tag("tr", *heads(header, classes)), body)


def _listed(matrix: ProbeMatrix) -> str:
    """List every run, folded away: each has an address of its own."""
    cells = [matrix.cell(row, column) for row in matrix.rows for column in matrix.columns]
    lines = [
        tag("p", inline(cell.label), ": ", ", ".join(_run(run["run_id"]) for run in (*cell.runs, *cell.failed)))
        for cell in (*matrix.rows, *cells)
        if cell.runs or cell.failed
    ]
    return tag("details", tag("summary", "Runs"), *lines, class_="runs") if lines else ""


def _run(run_id: str) -> str:
    return tag("a", tag("code", inline(run_id)), href=f"#run={run_id}")


def _plain(cells: Sequence[str], classes: Sequence[str] | None = None) -> list[str]:
    return [tag("td", inline(cell), class_=classes[i] if classes else "") for i, cell in enumerate(cells)]


def _first(row: Row) -> str | None:
    records = (*row.runs, *row.failed)
    return records[0]["run_id"] if records else None
