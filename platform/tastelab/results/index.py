"""`reports/README.md`: what was run, how far each experiment is, and its tables and figures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from tastelab.results.columns import ABSENT, aligned
from tastelab.results.store import Record, RecordStore, distinct
from tastelab.results.tables import write_text

COUNTED = {"search": "trials", "final": "runs", "baseline": "baselines", "probe": "probes"}
"""Role of a record → header of its column; probes have one only where there are some."""
INTRODUCTION = """\
# Results

Every table and figure here is made from the records in `runs/`, one line per run; nothing is typed by hand. An
experiment that is started again fills what is pending and runs nothing twice. `tastelab report` makes it all again, and
`index.html` beside this file shows it on one page, each cell with the runs behind it."""


def write_index(reports: Path) -> Path:
    """Write `reports/README.md` from the records, tables and figures under `reports`; return its path.

    Counts are of finished runs that are not stale, `trials` with the pruned ones; `pending rows` are those of the
    experiment's tables that wait for a run or, in a matrix, for a probe. An experiment that was never run is listed by
    the tables that wait for it.
    """
    records = RecordStore(reports).load()
    roles = [role for role in COUNTED if role != "probe" or any(record["role"] == role for record in records)]
    by_experiment = _grouped(records, sorted((reports / "tables").glob("*.md")))
    pages = _files_of(by_experiment, reports / "tables", "*.md")
    figures = _files_of(by_experiment, reports / "figures", "*.svg")
    lines = [
        _line(name, size, records, roles, sum(_num_pending(page, size) for page in pages[name]))
        for name, all_records in by_experiment.items()
        for size, records in (_by_size(all_records) or {"default": []}).items()
    ]
    header = ["experiment", "size", "data", *(COUNTED[role] for role in roles)]
    header += ["failed", "stale", "pending rows", "last record"]
    sides = [False, False, False, *(True for _ in roles), True, True, True, False]
    overview = aligned([header, *lines], sides) if lines else "Nothing was run yet."
    sections = [_section(name, pages[name], figures[name]) for name in by_experiment]
    return write_text(reports / "README.md", "\n\n".join([INTRODUCTION, overview, *sections]) + "\n")


def _grouped(records: Sequence[Record], pages: Sequence[Path]) -> dict[str, list[Record]]:
    """Group records by experiment; a table that belongs to none of these names an experiment without records."""
    names = {record["experiment"] for record in records}
    for stem in sorted((page.stem for page in pages), key=len):
        if not _owners(stem, names):
            names.add(stem)
    return {name: [record for record in records if record["experiment"] == name] for name in sorted(names)}


def _owners(stem: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if stem == name or stem.startswith((f"{name}-", f"{name}_"))]


def _by_size(records: Sequence[Record]) -> dict[str, list[Record]]:
    sizes = [size for size in ("smoke", "default", "paper") if any(record["size"] == size for record in records)]
    return {size: [record for record in records if record["size"] == size] for size in sizes}


def _files_of(experiments: dict[str, list[Record]], folder: Path, pattern: str) -> dict[str, list[Path]]:
    """Give each file to the experiment whose name it bears or begins with; the longest such name counts."""
    found: dict[str, list[Path]] = {name: [] for name in experiments}
    for path in sorted(folder.glob(pattern), key=lambda path: path.stem):
        if owners := _owners(path.stem, experiments):
            found[max(owners, key=len)].append(path)
    return found


def _line(name: str, size: str, records: Sequence[Record], roles: Sequence[str], num_pending: int) -> list[str]:
    fresh = [record for record in records if not record["stale"]]
    done = [record for record in fresh if record["status"] != "failed"]
    counts = [sum(record["role"] == role for record in done) for role in roles]
    counts += [len(fresh) - len(done), len(records) - len(fresh), num_pending]
    data = ", ".join(map(str, distinct(records, "data.name"))) or ABSENT
    last = max(map(str, distinct(records, "finished_at")), default=ABSENT)[:10]
    return [f"[{name}](#{name})", size, data, *map(str, counts), last]


def _section(name: str, pages: Sequence[Path], figures: Sequence[Path]) -> str:
    links = [f"- [{_title(page)}](tables/{page.name}) ([CSV](tables/{page.stem}.csv))" for page in pages]
    images = [f"![{figure.stem}](figures/{figure.name})" for figure in figures]
    body = ["\n".join(links) or "No table yet.", *images]
    return "\n\n".join([f"## {name}", *body])


def _title(page: Path) -> str:
    first = page.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") or page.stem


def _num_pending(page: Path, size: str) -> int:
    """Count the rows of a table of this size that wait for a run."""
    data = page.with_suffix(".csv")
    if not data.exists():
        return 0
    with data.open(encoding="utf-8", newline="") as lines:
        waiting = [row for row in csv.DictReader(lines) if row.get("status") == "pending" and row.get("size") == size]
    return len({(row.get("data_name"), row.get("group"), row.get("label")) for row in waiting})
