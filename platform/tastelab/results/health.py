"""Records → the health of the representation at the end of each run against how well the run ranks [A §4]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tastelab.results import drawing, marks
from tastelab.results.plots import Plot, axis_label, facts, run_value
from tastelab.results.rows import Row
from tastelab.results.trajectories import Floats, curve

MIN_RUNS = 5  # below this a rank correlation says nothing
MEASURES = (
    ("health/mean_cosine", "mean cosine"),
    ("health/uniformity", "uniformity"),
    ("health/pca_top5", "variance of 5 PCs"),
)


@dataclass(frozen=True)
class HealthAgainstAUC(Plot):
    """The last value of each health curve against the metric, a mark per finished run, a panel per measure.

    Each panel gives Spearman's rank correlation over its runs, all rows together; the seeds of one row are near each
    other, so `n` runs are worth fewer than `n` independent ones.
    """

    measures: tuple[tuple[str, str], ...] = MEASURES
    """(name of a curve in the records, axis label) of each panel."""
    columns: int = 3
    """Panels beside each other."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        trained = [row for row in rows if not row.baseline]
        groups = [row.group for row in trained]
        looks = {g: (drawing.palette(groups)[g], drawing.markers(groups)[g]) for g in groups}
        columns = max(1, min(self.columns, len(self.measures)))
        lines = math.ceil(len(self.measures) / columns)
        figure = drawing.canvas(2.4 * lines)
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
        for i, (axes, (name, label)) in enumerate(zip(panels, self.measures, strict=False)):
            axes.set(xlabel=label, ylabel="" if i % columns else axis_label(self.metric, trained))
            self._panel(axes, name, trained, looks)
        shown = [row for row in trained if any(self._points(row, name) for name, _ in self.measures)]
        for axes in panels[::columns] if shown else []:
            axes.tick_params(left=True, labelleft=True)  # the scale of the whole line, even if this panel is empty
        for axes in panels[len(self.measures) :]:
            axes.remove()
        drawing.explain(figure, [marks.mark(row.label, looks[row.group][1], looks[row.group][0]) for row in shown])
        runs = [run for row in shown for run in row.runs]
        reading = "a mark per run, at its end; ρ: Spearman's rank correlation over all runs"
        drawing.entitle(figure, self.title, facts(runs, size, reading if shown else "no finished run yet"))
        return figure

    def _panel(self, axes: Axes, name: str, rows: Sequence[Row], looks: dict[str, tuple[str, str]]) -> None:
        found: list[tuple[float, float]] = []
        for row in rows:
            colour, shape = looks[row.group]
            points = self._points(row, name)
            found += points
            for health, value in points:
                axes.scatter([health], [value], s=36, color=colour, marker=shape, edgecolors="white", linewidths=0.7)
        if found:
            axes.set_title(correlation_words(found), fontsize=drawing.SMALL, color=drawing.INK, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.margins(0.1)
        else:
            marks.say(axes, "no finished run\nhas this yet")

    def _points(self, row: Row, name: str) -> list[tuple[float, float]]:
        """Return the last health and the metric of each run of a row that has both."""
        pairs = [(curve(run, name)[1], run_value(run, self.metric)) for run in row.runs]
        return [(float(health[-1]), value) for health, value in pairs if health.size and value is not None]


def spearman(points: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None if it does not exist.

    >>> spearman([(1, 10), (2, 20), (3, 15)])
    0.5
    """
    if len(points) < 2:
        return None
    ranks = [_ranks(np.asarray(values, np.float64)) for values in zip(*points, strict=True)]
    centred = [of - of.mean() for of in ranks]
    norm = math.sqrt(float(centred[0] @ centred[0]) * float(centred[1] @ centred[1]))
    return float(centred[0] @ centred[1]) / norm if norm else None


def correlation_words(points: Sequence[tuple[float, float]]) -> str:
    """Say the rank correlation of points, or that there are too few of them."""
    if len(points) < MIN_RUNS:
        return f"too few runs for ρ (n = {len(points)})"
    found = spearman(points)
    value = "undefined (all equal)" if found is None else f"{found:+.2f}".replace("-", "−")
    return f"ρ = {value}, n = {len(points)}"


def _ranks(values: Floats) -> Floats:
    """Rank values from 0; equal ones share the mean of their ranks."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = np.cumsum(count) - (count + 1) / 2
    return ranks[group]
