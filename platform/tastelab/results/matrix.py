"""A table in the column layout of [A]: the metrics on each data set, and beside them what [A] or [B] published.

Measured and published figures never share a column. A panel is one data set; its published columns hold what the
source has on the data set nearest to it, in italics, under a line that names its table and data set, since near is not
the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tastelab.results.captions import SMOKE, warnings
from tastelab.results.columns import aligned, best_rows, row_label
from tastelab.results.formats import ABSENT, metric_label
from tastelab.results.measures import is_retrieval, measure
from tastelab.results.published import DATASETS, SOURCES, Published, published
from tastelab.results.rows import Row
from tastelab.results.sections import Section, sections
from tastelab.results.store import Record, distinct

if TYPE_CHECKING:
    from tastelab.results.tables import Table

SIZES = ("default", "paper", "smoke")


@dataclass(frozen=True)
class Panel:
    """One data set of the matrix at one size: our rows on it, and the published ones beside and below them."""

    size: str
    dataset: str
    """Name in records; `mind-small` for a data set without any record yet, if the table declares it."""
    header: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    beside: tuple[Published | None, ...]
    """For each of `rows` its published row, None where [A] has none on data of this kind."""
    references: tuple[Published, ...]
    """Published rows without a row of ours."""

    @property
    def runs(self) -> list[Record]:
        """Every finished run of the panel."""
        return [run for row in self.rows for run in row.runs]

    @property
    def published_metrics(self) -> list[str]:
        """The metrics that at least one published row here has or announces."""
        shown = _published_in(self)
        found = {metric for row in shown for metric in self.values(row)}
        return [metric for metric in self.metrics if metric in found or (shown and not found)]

    def values(self, row: Published) -> Mapping[str, float]:
        """Return the published values nearest to this data set; empty where the source has them pending."""
        return row.values.get(row.nearest(self.dataset) or "", {})

    def origin(self, row: Published) -> str:
        """Say where a published row of this panel stands and on which data set it was measured."""
        return f"{row.source}, {DATASETS[row.nearest(self.dataset) or '']}"

    @property
    def works(self) -> list[str]:
        """Which works the published rows are from, such as `[A]`."""
        return list(dict.fromkeys(row.work for row in _published_in(self)))

    @property
    def origins(self) -> str:
        """Where the published columns are from: most of them, and in brackets those of other tables or data sets."""
        ours = [(self.origin(theirs), row.label) for row, theirs in zip(self.rows, self.beside, strict=True) if theirs]
        found = [*ours, *((self.origin(row), row.label) for row in self.references)]
        counts = Counter(origin for origin, _ in found)
        usual = max(counts, key=counts.__getitem__, default="")
        others = "; ".join(f"{label}: {origin}" for origin, label in found if origin != usual)
        return usual + (f" ({others})" if others else "")

    def cells(self, heading: str) -> list[list[str]]:
        """Return header and lines as Markdown: ours, then published in italics, blank where nothing can be."""
        theirs = self.published_metrics
        header = [heading, *map(metric_label, self.metrics), *(f"published {metric_label(m)}" for m in theirs)]
        columns = [_ours(self.rows, metric, spread=metric == self.metrics[0]) for metric in self.metrics]
        lines = [[row_label(row), *(cells[i] for cells in columns)] for i, row in enumerate(self.rows)]
        lines += [[f"*{row.label}*", *("" for _ in self.metrics)] for row in self.references]
        shown = (*self.beside, *self.references)
        lines = [line + self._theirs(row, theirs) for line, row in zip(lines, shown, strict=True)]
        return [header, *lines]

    def _theirs(self, row: Published | None, metrics: Sequence[str]) -> list[str]:
        if row is None:
            return ["" for _ in metrics]
        values, lacking = self.values(row), ABSENT if row.nearest(self.dataset) in row.pending else ""
        return [f"*{measure(m).printed(values[m])}*" if m in values else lacking for m in metrics]


def panels(table: Table, records: Sequence[Record]) -> dict[str, list[Panel]]:
    """Return the panels of a table by size, default first; without records those of the default size, all pending.

    Per size, data sets with records come first, in the declared order, then undeclared ones by name, then those that
    wait. The small data set that a smoke run makes (`synthetic-smoke`) stands under its declared name; what waits for
    a smoke run is not listed.
    """
    sizes = [size for size in SIZES if any(r["size"] == size for r in records)] or ["default"]
    return {size: _of_size(table, [r for r in records if r["size"] == size], size) for size in sizes}


def markdown(table: Table, shown: Sequence[Panel]) -> list[str]:
    """Return the Markdown blocks of the panels of one size, each with a line on what its values were measured with."""
    blocks = []
    for panel in shown:
        cells = panel.cells(table.heading)
        published_in = f"*Published: {panel.origins}.*" if panel.published_metrics else ""
        right = [False, *(True for _ in cells[0][1:])]
        warned = "\n".join(f"- {sentence}" for sentence in warnings(panel.runs))
        blocks += [f"### {panel.header}", _facts(panel), published_in, aligned(cells, right), warned]
    return blocks


def legend(shown: Sequence[Panel]) -> list[str]:
    """Say how to read the panels, a sentence or two per point."""
    notes = [
        f"Measured here: means over seeds, the {_headlines(shown)} ± its standard deviation over seeds. Bold: the best "
        "trained row of the column. –: no value yet. Intervals, tests and cost stand below."
    ]
    if any(panel.size == "smoke" for panel in shown):
        notes.append(SMOKE)
    works = {row.work for panel in shown if panel.published_metrics for row in _published_in(panel)}
    notes += [
        f"*Italic: published in {work}, not measured here*, {words}" for work, words in SOURCES.items() if work in works
    ]
    remarks = {f"{row.label}: {row.note}." for panel in shown for row in _published_in(panel) if row.note}
    return notes + sorted(remarks)


def _headlines(shown: Sequence[Panel]) -> str:
    return " or ".join(dict.fromkeys(metric_label(panel.metrics[0]) for panel in shown if panel.metrics)) or "AUC"


def _published_in(panel: Panel) -> list[Published]:
    return [row for row in (*panel.beside, *panel.references) if row]


def _of_size(table: Table, records: Sequence[Record], size: str) -> list[Panel]:
    titles = dict(table.datasets)
    found = _by_declared_name(sections(records), titles)
    waiting = [] if size == "smoke" else [name for name in titles if name not in found]
    order = [*(name for name in titles if name in found), *sorted(set(found) - set(titles)), *waiting]
    return [_panel(table, found.get(name) or Section(size, name, ()), titles.get(name, name)) for name in order]


def _by_declared_name(found: Sequence[Section], titles: Mapping[str, str]) -> dict[str, Section]:
    names = {section.data for section in found}
    kept = {}
    for section in found:
        short = section.data.removesuffix(f"-{section.size}")
        kept[short if short in titles and short not in names else section.data] = section
    return kept


def _panel(table: Table, section: Section, header: str) -> Panel:
    rows, _ = table.fill(section.records, section.size)
    keys = [table.published.get(row.label) or table.published.get(row.group) for row in rows]
    beside = [published(key) if key and not row.baseline else None for key, row in zip(keys, rows, strict=True)]
    return Panel(
        section.size,
        section.data,
        header,
        tuple(table.metrics),
        tuple(rows),
        tuple(row if row and row.nearest(section.data) else None for row in beside),
        tuple(row for row in map(published, table.references) if row.nearest(section.data)),
    )


def _facts(panel: Panel) -> str:
    runs = panel.runs
    if not runs:
        return "Nothing was run on it yet."
    trained = [run for row in panel.rows if not row.baseline for run in row.runs]
    facts = [f"`{panel.dataset}`", *(f"{split} split" for split in distinct(runs, "split"))]
    counted = "clicks" if all(map(is_retrieval, runs)) else "impressions"
    facts += [" / ".join(f"{n:,}" for n in ns) + f" {counted}" for ns in [distinct(runs, "counts.n_total")] if ns]
    facts += [f"encoder {name}" for name in distinct(trained, "encoder.name")]
    seeds = sorted({len(row.runs) for row in panel.rows if row.runs and not row.baseline})
    facts += [f"{seeds[0]}{f' to {seeds[-1]}' if seeds[1:] else ''} seed{'s' if seeds != [1] else ''}"] if seeds else []
    return " · ".join(facts)


def _ours(rows: Sequence[Row], metric: str, spread: bool) -> list[str]:
    """The cells of one metric: the best in bold, and with its spread over seeds where that is asked for."""
    known, found = measure(metric), [row.estimate(metric) for row in rows]
    printed = [ABSENT if each is None else known.number(each.mean) for each in found]
    best = best_rows(rows, printed, known.better)
    marked = [f"**{text}**" if i in best else text for i, text in enumerate(printed)]
    sds = [each.sd if each is not None and spread else None for each in found]
    return [
        text if sd is None else f"{text} ±\u00a0{known.number(sd).removesuffix(known.unit)}"
        for text, sd in zip(marked, sds, strict=True)
    ]
