"""Records → metrics of a simulated feed over its days, a panel each, with a band over seeds and every line named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tastelab.results import drawing, marks
from tastelab.results.measures import measure
from tastelab.results.plots import Plot, facts
from tastelab.results.rows import Row
from tastelab.results.trajectories import Floats, Trajectory, curve, mean_curve

LETTERS = 8.5  # points of the names at the lines
MOST_NAMED = 9  # lines of a panel that can be named beside it; more are named below the figure


@dataclass(frozen=True)
class CurvesOverDays(Plot):
    """Curves of a simulated feed over its days: the mean over seeds, and a band from the lowest to the highest seed.

    The values are those of simulated users whose preferences are known; the caption says so.
    """

    curves: tuple[tuple[str, str], ...] = (
        ("sim/ctr", "CTR"),
        ("sim/dwell", "dwell time per user (s)"),
        ("sim/diversity", "diversity (distinct items shown)"),
        ("sim/popularity", "popularity of what is shown"),
    )
    """(name of a curve in the records, axis label) of each panel."""
    said: str = "Simulation: made users with known preferences, no live traffic"
    """What stands first below the title."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        named = [name for name, _ in self.curves]
        shown = [row for row in rows if any(curve(run, name)[0].size for run in row.runs for name in named)]
        groups = [row.group for row in rows if not row.baseline]
        colours, strokes = drawing.palette(groups), drawing.strokes(groups)
        looks = {row.group: (colours.get(row.group, drawing.MUTED), strokes.get(row.group, ":")) for row in shown}
        lines = math.ceil(len(self.curves) / 2)
        figure = drawing.canvas(2.55 * lines)
        panels = figure.subplots(lines, min(2, len(self.curves)), squeeze=False).flatten()
        for axes, (name, label) in zip(panels, self.curves, strict=False):
            _panel(axes, name, shown, looks)
            axes.set_title(label, loc="left", fontsize=drawing.SMALL, color=drawing.INK, pad=9)
        for axes in panels[-2:]:
            axes.set_xlabel("day")
        for axes in panels[len(self.curves) :]:
            axes.remove()
        if len(shown) > MOST_NAMED:
            drawing.explain(
                figure,
                [marks.mark(r.label, "", looks[r.group][0], linestyle=looks[r.group][1], linewidth=1.8) for r in shown],
            )
        runs = [run for row in shown for run in row.runs]
        several = any(len(row.runs) > 1 for row in shown)
        band = "line: mean over seeds, band: lowest to highest seed" if several else "one seed"
        drawing.entitle(figure, self.title, f"{self.said} · {facts(runs, size, band if shown else '')}")
        return figure


def _panel(axes: Axes, name: str, rows: Sequence[Row], looks: dict[str, tuple[str, str]]) -> None:
    ends = []
    for row in rows:
        seeds = [found for run in row.runs if (found := curve(run, name))[0].size]
        if not seeds:
            continue
        colour, stroke = looks[row.group]
        days, means = mean_curve(seeds)
        if len(seeds) > 1:
            values = np.stack([_at(each, days) for each in seeds])
            axes.fill_between(days, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
        axes.plot(days, means, color=colour, linestyle=stroke, linewidth=1.8)
        ends.append((float(means[-1]), row.label, colour))
    if not ends:
        marks.say(axes, "no finished run has\nthis curve yet")
        return
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if measure(name).scale != 1 or measure(name).spec == ",.0f":
        marks.number_axis(axes, name)
    axes.set_ylim(axes.get_ylim())
    if len(rows) <= MOST_NAMED:
        marks.name_at_right(axes, ends, 1.8, LETTERS)


def _at(seed: Trajectory, days: Floats) -> Floats:
    places, values = seed
    return values[np.isin(places, days)]
