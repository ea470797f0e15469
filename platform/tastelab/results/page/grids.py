"""Tables as HTML: the columns of `columns` and the panels of `matrix`, each cell a link to the runs of its row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tastelab.results.columns import cells, column
from tastelab.results.matrix import Panel
from tastelab.results.page.markup import inline, tag
from tastelab.results.rows import Row
from tastelab.results.tables import Table

ASIDE = ("interval", "sd", "n")  # parts of a metric, printed paler than the metric
PUBLISHED = "published "
"""What the header of a column of published figures begins with."""

Numbers = Sequence[int | None]
"""The number of each row in the ledger, None where nothing was run."""


def grid(table: Table, keys: Sequence[str], rows: Sequence[Row], numbers: Numbers, name: str) -> str:
    """Write the rows of a table in some of its columns."""
    header, *lines = cells(rows, table.heading, keys, mark_best=True, metric=table.headline)
    classes = ["text", *(_column_class(key) for key in keys)]
    return framed(name, tag("tr", *heads(header, classes)), _body(rows, numbers, lines, classes))


def matrix_grid(table: Table, panel: Panel, numbers: Numbers) -> str:
    """Write a panel: what was measured, and on a ground of its own what was published."""
    header, *lines = panel.cells(table.heading)
    theirs = [cell.startswith(PUBLISHED) for cell in header]
    textual = ["text" if not i or cell == "published in" else "" for i, cell in enumerate(header)]
    classes = [
        " ".join(filter(None, (side, "published" if is_theirs else "")))
        for side, is_theirs in zip(textual, theirs, strict=True)
    ]
    short = [cell.removeprefix(PUBLISHED) for cell in header]
    source = f"published in {' and '.join(panel.works)}"
    groups = tag("tr", *_groups(theirs, source), class_="groups") if any(theirs) else ""
    body = _body(panel.rows, numbers, lines, classes)
    body += [_line(None, None, line, classes, "reference") for line in lines[len(panel.rows) :]]
    return framed(f"{table.title}, {panel.header}", groups + tag("tr", *heads(short, classes)), body)


def framed(name: str, head: str, body: Sequence[str], foot: Sequence[str] = ()) -> str:
    """Put a table in a frame that scrolls by itself, with the keyboard too; sorting moves its body alone."""
    below = tag("tfoot", *foot) if foot else ""
    whole = tag("table", tag("thead", head), tag("tbody", *("\n" + line for line in body)), below, class_="results")
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=name)


def heads(header: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Write the header of each column."""
    return [tag("th", inline(cell), scope="col", class_=kind) for cell, kind in zip(header, classes, strict=True)]


def _groups(theirs: Sequence[bool], source: str) -> list[str]:
    """Head the measured and the published columns; the label's column stays free."""
    spans = [(is_theirs, len(list(members))) for is_theirs, members in groupby(theirs[1:])]
    heads = [
        tag(
            "th",
            source if is_theirs else "measured here",
            colspan=span,
            scope="colgroup",
            class_="published" if is_theirs else "",
        )
        for is_theirs, span in spans
    ]
    return [tag("td"), *heads]


def _body(rows: Sequence[Row], numbers: Numbers, lines: Sequence[Sequence[str]], classes: Sequence[str]) -> list[str]:
    made = []
    for i, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        first = row.baseline and (i == 0 or not rows[i - 1].baseline)
        kinds = ["" if row.status == "finished" else row.status, "baseline" * row.baseline, "first" * first]
        made.append(_line(row, number, lines[i], classes, " ".join(filter(None, kinds))))
    return made


def _line(row: Row | None, number: int | None, line: Sequence[str], classes: Sequence[str], kind: str) -> str:
    """Write a row whose cells lead to its first run; only its label is a stop of the tab key."""
    records = (*row.runs, *row.failed, *row.trials) if row else ()
    leads_to = records[0]["run_id"] if records else None
    made = [tag("th", linked(line[0], leads_to), scope="row")]
    for cell, css in zip(line[1:], classes[1:], strict=True):
        made.append(tag("td", inline(cell) if "published" in css else linked(cell, leads_to, -1), class_=css))
    return tag("tr", *made, class_=kind, data_row=number)


def linked(cell: str, run_id: str | None, tabindex: int | None = None) -> str:
    """Write a cell that leads to a run, if there is one."""
    return inline(cell) if run_id is None else tag("a", inline(cell), href=f"#run={run_id}", tabindex=tabindex)


def _column_class(key: str) -> str:
    sides = [] if column(key).right else ["text"]
    return " ".join([*sides, *(["aside"] if key.partition(":")[2] in ASIDE else [])])
