"""Records → what a metric costs: AUC against latency, each system named, with the frontier of the best bargains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tastelab.results import drawing, marks
from tastelab.results.measures import unit_of
from tastelab.results.plots import Plot, axis_label, facts
from tastelab.results.rows import Estimate, Row

Point = tuple[float, float]
LINES = ("-", (0, (3, 2)))
HEIGHT = 4.2  # inches


@dataclass(frozen=True)
class System:
    """A row that is drawn: its metric, and its latency in each way of serving, None where it has none."""

    label: str
    colour: str
    estimate: Estimate
    latencies: tuple[float | None, ...]


@dataclass(frozen=True)
class Tradeoff(Plot):
    """Metric against latency per impression, a filled and a hollow mark per row for two ways of serving.

    The vertical bar is the 95 % interval of the metric. A line joins, for each way of serving, the rows that no other
    row beats in both: the Pareto frontier. Rows without a latency are named below the title.
    """

    kinds: tuple[tuple[str, str], ...] = (("warm_1", "batch 1"), ("warm_64", "batch 64"))
    """(key in `latency_ms`, words) of the filled mark and, if there is one, of the hollow one."""
    heading: str = "milliseconds per impression, item representations kept"

    def __post_init__(self) -> None:
        if not 1 <= len(self.kinds) <= 2:
            raise ValueError(f"The plot '{self.name}' takes one or two kinds of latency, not {len(self.kinds)}.")

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(HEIGHT)
        axes = figure.add_subplot()
        axes.set(xlabel=self.heading, ylabel=axis_label(self.metric, rows))
        systems = self._systems(rows)
        if systems:
            self._draw(axes, list(systems.values()))
            drawing.explain(figure, self._entries())
        else:
            marks.say(axes, "no finished run with a latency yet")
        runs = [run for row in rows for run in row.runs if row.group in systems]
        untimed = [row.label for row in rows if not row.baseline and row.group not in systems]
        missing = f"without latency: {', '.join(untimed)}" if untimed else ""
        drawing.entitle(figure, self.title, facts(runs, size, f"bar: 95 % interval over {unit_of(runs)}", missing))
        return figure

    def _systems(self, rows: Sequence[Row]) -> dict[str, System]:
        """Return group → system of the rows that have a latency; a trained row has its colour in all figures."""
        colours = drawing.palette([row.group for row in rows if not row.baseline])
        found = {}
        for row in rows:
            means = [row.mean(f"latency_ms.{kind}") for kind, _ in self.kinds]
            latencies = tuple(mean if mean and mean > 0 else None for mean in means)
            if (estimate := row.estimate(self.metric)) and any(latencies):
                found[row.group] = System(row.label, colours.get(row.group, drawing.MUTED), estimate, latencies)
        return found

    def _draw(self, axes: Axes, systems: Sequence[System]) -> None:
        every = [place for system in systems for place in system.latencies if place]
        marks.log_axis(axes, math.log10(max(every) / min(every)))
        for i, _ in enumerate(self.kinds):
            line = frontier([(place, system.estimate.mean) for system in systems if (place := system.latencies[i])])
            style: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 1.8, "linestyle": LINES[i], "zorder": 2}
            axes.plot([x for x, _ in line], [y for _, y in line], **style)
        for system in systems:
            _draw_system(axes, system)
        axes.margins(x=0.06)
        names = [(system.estimate.mean, system.label, system.colour) for system in systems]
        marks.name_at_right(axes, names, HEIGHT - 1)

    def _entries(self) -> list[Line2D]:
        grey, faces = drawing.MUTED, (drawing.MUTED, "white")
        return [
            marks.mark(f"{words}, and its Pareto frontier", "o", grey, face, linestyle=style, linewidth=1.8)
            for (_, words), face, style in zip(self.kinds, faces, LINES, strict=False)
        ]


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both, lower in the first and higher in the second, by the first.

    >>> frontier([(1, 0.6), (2, 0.5), (4, 0.7), (9, 0.7)])
    [(1, 0.6), (4, 0.7)]
    """
    kept: list[Point] = []
    for place, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or value > kept[-1][1]:
            kept.append((place, value))
    return kept


def _draw_system(axes: Axes, system: System) -> None:
    """Draw the marks of a system at one height, joined, with a faint thread to its name at the right."""
    colour, found = system.colour, system.estimate
    places = [place for place in system.latencies if place]
    axes.plot([min(places), max(places)], [found.mean] * 2, color=colour, linewidth=1.2, zorder=3)
    axes.axhline(found.mean, color=colour, linewidth=0.6, alpha=0.35, zorder=1)
    if found.low is not None and found.high is not None:
        axes.vlines(places[0], found.low, found.high, color=colour, linewidth=1.6, alpha=0.55, zorder=3)
    for place, face in zip(system.latencies, (colour, "white"), strict=False):
        if place:
            axes.scatter([place], [found.mean], s=58, c=face, edgecolors=colour, linewidths=1.6, zorder=5)
