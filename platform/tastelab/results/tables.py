"""Records → a Markdown page, a CSV file, and a summary on the screen.

A table is made from records alone, so that any machine that has `reports/runs/` writes the same bytes. Every value is
a mean over seeds; its interval is the mean of the seeds' own bootstrap bounds (see `rows.Estimate`).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastelab.results.captions import caption, notes, run_list
from tastelab.results.columns import COLUMNS, aligned, cells, column, plain
from tastelab.results.rows import FIXED, Row, comparable, make_rows
from tastelab.results.sections import Section, sections
from tastelab.results.store import Record, distinct

CSV_MEANS = ("wall_time_s", "throughput.impressions_per_s", "peak_memory_mb")
CSV_SHARED = (
    *("counts.n_total", "counts.n_scored", "counts.n_single_class", "counts.n_empty_history"),
    *("params_trained", "params_total", "split", "dialect", "features"),
    *("data.name", "data.fingerprint", "encoder.name", "encoder.fingerprint", "method_version", "git.commit"),
)


@dataclass(frozen=True)
class Table:
    """What a table shows: declared by an experiment, filled from its records.

    `columns` and `details` become two Markdown tables on one page, of quality and of cost, so that each fits the
    width of a page. What a column can be: see `columns.column`. A wrong one raises `ValueError` at once.
    """

    name: str
    title: str
    group: str = "group"
    """Dotted path of the value in a record that rows are grouped by."""
    rows: tuple[tuple[str, str], ...] | None = None
    """(group, label) of each row in order, pending ones included; None takes the groups as records bring them."""
    heading: str = "System"
    """Header of the labels."""
    columns: tuple[str, ...] = ("auc", "auc:interval", "auc:sd", "mrr", "ndcg@5", "ndcg@10", "auc:n", "seeds")
    details: tuple[str, ...] = ("trials", "trained", "features", "dialect", "wall_time", "throughput", "memory")
    baselines: bool = True
    fixed: tuple[str, ...] = FIXED
    """Dotted paths on which all records of the table must agree; those that differ from the latest are left out."""
    figures: tuple[str, ...] = ()
    """Names of the plots that each section shows."""
    note: str = ""

    def __post_init__(self) -> None:
        for key in (*self.columns, *self.details):
            column(key)

    @property
    def metrics(self) -> list[str]:
        """The metrics among the columns, each once."""
        names = [key.partition(":")[0] for key in self.columns]
        return list(dict.fromkeys(name for name in names if name not in COLUMNS))

    def fill(self, records: Sequence[Record], size: str) -> tuple[list[Row], list[Record]]:
        """Return the rows that records of one size make, and the records that did not belong among them."""
        kept, left_out = comparable(records, size, self.fixed)
        return make_rows(kept, self.group, self.rows, self.baselines), left_out


def write_table(table: Table, records: Sequence[Record], reports: Path) -> tuple[Path, Path]:
    """Write `reports/tables/<name>.md` and `.csv`, a section per size and data set, and return their paths.

    Args:
        table: The declaration.
        records: As `RecordStore.load` returns them; a row holds the latest configuration that it was run with.
        reports: The reports folder.
    """
    found = sections(records) or [Section("default", "", ())]
    filled = [(section, *table.fill(section.records, section.size)) for section in found]
    parts = [f"# {table.title}"]
    for section, rows, left_out in filled:
        parts += [f"## {section.data}, size {section.size}"] if len(filled) > 1 else []
        parts += _page(table, section, rows, left_out)
    lines = [_csv_line(table, row, section.size) for section, rows, _ in filled for row in rows]
    folder = reports / "tables"
    page = write_text(folder / f"{table.name}.md", "\n\n".join(part for part in parts if part) + "\n")
    return page, write_text(folder / f"{table.name}.csv", _csv(lines))


def summary(table: Table, records: Sequence[Record], size: str) -> str:
    """Return the table as plain text for a screen: the first metric, its uncertainty, seeds, trials and cost."""
    rows, left_out = table.fill(records, size)
    metric = table.metrics[0]
    keys = (metric, f"{metric}:interval", f"{metric}:sd", "seeds", "trials", "trained", "wall_time")
    text = plain(cells(rows, table.heading, keys), _sides(keys))
    return "\n".join([f"{table.title} · size {size}", "", text, "", *notes(rows, left_out, size, table.note)]) + "\n"


def write_text(path: Path, text: str) -> Path:
    """Write a file so that a reader, or a kill, meets the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    return partial.replace(path)


def _page(table: Table, section: Section, rows: Sequence[Row], left_out: Sequence[Record]) -> list[str]:
    tables = [
        aligned(cells(rows, table.heading, keys, mark_best=True), _sides(keys))
        for keys in (table.columns, table.details)
        if keys
    ]
    listed = "\n".join(f"- {note}" for note in notes(rows, left_out, section.size, table.note))
    experiments = sorted({run["experiment"] for row in rows for run in row.runs})
    source = ", ".join(f"`runs/{name}.jsonl`" for name in experiments) or "no finished run yet"
    images = [f"![{name}](../figures/{name}-{section.slug}.svg)" for name in table.figures if section.records]
    return [*caption(rows, section.size), *tables, listed, *images, run_list(rows), f"Made from {source}."]


def _sides(keys: Sequence[str]) -> list[bool]:
    return [False, *(column(key).right for key in keys)]


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    """One line per row in full precision, an empty cell for what is not there."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]) if lines else ["group"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _csv_line(table: Table, row: Row, size: str) -> dict[str, Any]:
    line: dict[str, Any] = {"group": row.group, "label": row.label, "kind": "baseline" if row.baseline else "run"}
    line |= {"status": row.status, "size": size, "seeds": " ".join(map(str, row.seeds))}
    for metric in table.metrics:
        found = row.estimate(metric)
        line[metric] = getattr(found, "mean", None)
        line |= {f"{metric}_{part}": getattr(found, part, None) for part in ("low", "high", "sd", "n")}
    line |= {f"trials_{status}": row.num_trials(status) for status in ("finished", "pruned", "failed")}
    line |= {"runs_failed": len(row.failed)}
    line |= {path.rpartition(".")[2]: row.mean(path) for path in CSV_MEANS}
    for path in CSV_SHARED:
        line[path.removeprefix("counts.").replace(".", "_")] = " ".join(map(str, distinct(row.runs, path)))
    return line | {"run_ids": " ".join(run["run_id"] for run in row.runs)}
