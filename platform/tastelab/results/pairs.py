"""Records → one metric against another, each system named: what a hit costs in popularity, or in diversity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tastelab.results import drawing, marks
from tastelab.results.measures import measure, unit_of
from tastelab.results.plots import Plot, axis_label, facts
from tastelab.results.relative import RELATIVE, with_relatives
from tastelab.results.rows import Estimate, Row
from tastelab.results.tradeoff import frontier

HEIGHT = 4.2  # inches
FAR = 20.0  # times the smallest value, from which on an axis is logarithmic


@dataclass(frozen=True)
class MetricPair(Plot):
    """Metric against another metric, a mark per row with the 95 % intervals of both, named at the right.

    A line joins the rows that no other trained row beats in both, where it is known which way is better: less
    popularity counts as better here, as [B] has it. Baselines are grey, and are not joined.
    """

    metric: str = "hr@50"
    against: str = "popularity_index"
    less: tuple[str, ...] = ("popularity", "popularity_index", "gini", "kl")
    """Metrics of which less is better, when they are what the other is traded for."""
    baselines: bool = True
    """Whether the baselines are shown."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(HEIGHT)
        axes = figure.add_subplot()
        shown = [(row, pair) for row in with_relatives(rows) if (pair := self._pair(row))]
        axes.set(xlabel=_named(self.against), ylabel=axis_label(self.metric, [row for row, _ in shown]))
        if shown:
            self._draw(axes, shown)
        else:
            marks.say(axes, "no finished run with both metrics yet")
        runs = [run for row, _ in shown for run in row.runs]
        more = [f"bars: 95 % intervals over {unit_of(runs)}", "grey line: no other trained row is better in both"]
        more.append(self._unit(rows))
        absent = [row.label for row in rows if not row.baseline and row.group not in {r.group for r, _ in shown}]
        missing = f"without both metrics: {', '.join(absent)}" if absent else ""
        drawing.entitle(figure, self.title, facts(runs, size, *(more if shown else ()), missing))
        return figure

    def _pair(self, row: Row) -> tuple[Estimate, Estimate] | None:
        across, up = row.estimate(self.against), row.estimate(self.metric)
        return (across, up) if across and up and (self.baselines or not row.baseline) else None

    def _unit(self, rows: Sequence[Row]) -> str:
        """Say which row a relative metric is relative to."""
        relative = RELATIVE.get(self.against)
        reference = relative.reference_row(rows) if relative else None
        return f"{measure(self.against).label} relative to {reference.label}" if reference else ""

    def _draw(self, axes: Axes, shown: Sequence[tuple[Row, tuple[Estimate, Estimate]]]) -> None:
        colours = drawing.palette([row.group for row, _ in shown if not row.baseline])
        shapes = drawing.markers([row.group for row, _ in shown if not row.baseline])
        places = [across.mean for _, (across, _) in shown]
        if min(places) > 0 and max(places) > FAR * min(places):
            marks.log_axis(axes, math.log10(max(places) / min(places)))
        else:
            marks.number_axis(axes, self.against, "x")
        sign = 1 if self.against.partition("@")[0] in self.less else -1
        trained = [(sign * across.mean, up.mean) for row, (across, up) in shown if not row.baseline]
        line = frontier(trained)
        axes.plot([sign * x for x, _ in line], [y for _, y in line], color="#9a9a9a", linewidth=1.8, zorder=2)
        for row, pair in shown:
            look = (colours.get(row.group, drawing.MUTED), shapes.get(row.group, "o"))
            _draw_row(axes, *pair, *look, "white" if row.baseline else look[0])
        marks.number_axis(axes, self.metric)
        axes.margins(x=0.07, y=0.08)
        axes.set_ylim(axes.get_ylim())
        names = [(up.mean, row.label, colours.get(row.group, drawing.MUTED)) for row, (_, up) in shown]
        marks.name_at_right(axes, names, HEIGHT - 1)


def _named(metric: str) -> str:
    """Name a metric on an axis, and where it is relative, to what."""
    label = measure(metric).label
    return f"{label} (1: the highest row but the popularity baseline)" if metric == "popularity_index" else label


def _draw_row(axes: Axes, across: Estimate, up: Estimate, colour: str, shape: str, face: str) -> None:
    bars: dict[str, Any] = {"color": colour, "linewidth": 1.4, "alpha": 0.5, "zorder": 3}
    if up.low is not None and up.high is not None:
        axes.vlines(across.mean, up.low, up.high, **bars)
    if across.low is not None and across.high is not None:
        axes.hlines(up.mean, across.low, across.high, **bars)
    axes.axhline(up.mean, color=colour, linewidth=0.6, alpha=0.25, zorder=1)
    axes.scatter([across.mean], [up.mean], s=58, c=face, edgecolors=colour, linewidths=1.6, marker=shape, zorder=5)
