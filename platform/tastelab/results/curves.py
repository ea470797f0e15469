"""Records → curves over training: gradient norm, validation metrics, representation health; all runs overlaid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tastelab.results import drawing, marks
from tastelab.results.plots import Plot, axis_label, facts
from tastelab.results.rows import Row
from tastelab.results.store import distinct
from tastelab.results.trajectories import Trajectory, curve, end_to_end, last_step, mean_curve, smoothed

SPARSE = 16  # points up to which a curve shows where it was measured and is not smoothed


@dataclass(frozen=True)
class Look:
    """How a row is drawn. The marked one is bold, and the others then recede."""

    colour: str
    shape: str
    stroke: str
    bold: bool
    recedes: bool

    @property
    def line(self) -> dict[str, Any]:
        """How the line of its mean is drawn."""
        size = {"linewidth": 2.8, "markersize": 6.5} if self.bold else {"linewidth": 1.4, "markersize": 4}
        return {"color": self.colour, "linestyle": self.stroke, "marker": self.shape, **size}


@dataclass(frozen=True)
class Curves(Plot):
    """Curves of all runs over training steps, a panel each: a thin line per seed, a thicker one for a row's mean.

    The row with the highest final metric is marked, as [A] does with gradient norms: its line is the boldest and the
    others recede. Nothing is marked where fewer than two rows have a curve.
    """

    curves: tuple[tuple[str, str], ...] = (("val/auc", "validation AUC"),)
    """(name of a curve in the records, axis label) of each panel."""
    log: tuple[str, ...] = ("train/grad_norm",)
    """Curves with a logarithmic y axis."""
    smooth: tuple[str, ...] = ("train/grad_norm", "train/loss")
    """Curves whose mean is smoothed where it is dense; the seeds' own lines never are."""
    limits: tuple[tuple[str, str, str], ...] = (("train/grad_norm", "config.optim.clip_norm", "clipped\nat"),)
    """(curve, dotted path in a record, words): a value drawn as a horizontal line."""
    share: bool = False
    """Whether x is the share of the run, for rows of different lengths, and not the step."""
    ordered: bool = False
    """Whether the rows are steps of one quantity: colours then go from dark to light."""
    columns: int = 2
    """Panels beside each other."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        trained = [row for row in rows if not row.baseline]
        shown = [row for row in trained if any(curve(run, name)[0].size for run in row.runs for name, _ in self.curves)]
        best = best_row(shown, self.metric)
        looks = self._looks(trained, best)
        columns = max(1, min(self.columns, len(self.curves)))
        lines = math.ceil(len(self.curves) / columns)
        figure = drawing.canvas((3.1 if columns == 1 else 2.4) * lines)
        panels = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, (name, label) in zip(panels, self.curves, strict=False):
            axes.set(xlabel="share of the run" if self.share else "training step", ylabel=label)
            self._panel(axes, name, shown, looks)
        for axes in panels[len(self.curves) :]:
            axes.remove()
        _explain(figure, shown, looks)
        runs = [run for row in shown for run in row.runs]
        drawing.entitle(figure, self.title, facts(runs, size, *self._reading(trained, shown, best)))
        return figure

    def _looks(self, rows: Sequence[Row], best: Row | None) -> dict[str, Look]:
        groups = [row.group for row in rows]
        colours = drawing.colours(groups) if self.ordered else drawing.palette(groups)
        shapes, strokes = drawing.markers(groups), drawing.strokes([] if self.ordered else groups)
        bold = None if best is None else best.group
        return {
            group: Look(
                colours[group], shapes[group], strokes.get(group, "-"), group == bold, bold not in (None, group)
            )
            for group in groups
        }

    def _panel(self, axes: Axes, name: str, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
        """Draw one curve of every row that has it."""
        drawn = {row.group: seeds for row in rows if (seeds := self._seeds(row, name))}
        if not drawn:
            marks.say(axes, "no finished run has\nthis curve yet")
            return
        if name in self.log:
            values = np.concatenate([y for seeds in drawn.values() for _, y in seeds])
            marks.log_axis(axes, math.log10(values.max() / values.min()), "y")
        for group, seeds in drawn.items():
            _draw_row(axes, seeds, looks[group], name in self.smooth, name in self.log)
        self._draw_limits(axes, name, [row for row in rows if row.group in drawn])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=not self.share))

    def _seeds(self, row: Row, name: str) -> list[Trajectory]:
        """Return the curve of each run of a row that has it, along the x axis."""
        seeds = []
        for run in row.runs:
            steps, values = curve(run, name)
            if name in self.log:
                steps, values = steps[values > 0], values[values > 0]
            if steps.size:
                seeds.append((steps / last_step(run) if self.share else steps, values))
        return seeds

    def _draw_limits(self, axes: Axes, name: str, rows: Sequence[Row]) -> None:
        runs = [run for row in rows for run in row.runs]
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        for of, path, words in self.limits:
            for level in distinct(runs, path) if of == name else []:
                axes.axhline(level, color=drawing.INK, linewidth=1, linestyle=marks.DASHES, zorder=8)
                text = f"{words} {level:g}"
                axes.annotate(text, (1, level), (5, 0), fontsize=drawing.SMALL, color=drawing.INK, **where)

    def _reading(self, rows: Sequence[Row], shown: Sequence[Row], best: Row | None) -> list[str]:
        """Say how to read the lines, and which rows have none."""
        if not shown:
            return ["no finished run has these curves yet"]
        seeds = "thin: each seed, thicker: their mean" if any(len(row.runs) > 1 for row in shown) else "one seed"
        found = [seeds + (", smoothed" if any(name in self.smooth for name, _ in self.curves) else "")]
        if best is not None and (final := best.estimate(self.metric)):
            highest = f"the highest {axis_label(self.metric, [best])} of those shown"
            found.append(f"bold: {best.label}, {highest} ({final.mean:.3f})")
        absent = [row.label for row in rows if all(row is not other for other in shown)]
        return [*found, f"no curve yet: {', '.join(absent)}" if absent else ""]


def best_row(rows: Sequence[Row], metric: str) -> Row | None:
    """Return the row with the highest metric, None where fewer than two have it."""
    found = [(estimate.mean, row) for row in rows if (estimate := row.estimate(metric))]
    return max(found, key=lambda pair: pair[0])[1] if len(found) > 1 else None


def _draw_row(axes: Axes, seeds: Sequence[Trajectory], look: Look, smooth: bool, log: bool) -> None:
    """Draw the runs of a row thin and pale, and their mean over these."""
    places, means = mean_curve(seeds, log)
    dense = len(places) > SPARSE
    if len(seeds) > 1 or (smooth and dense):
        pale = 0.28 if look.recedes else 0.5
        axes.plot(*end_to_end(seeds), color=look.colour, linewidth=0.7, alpha=pale, zorder=3 + look.bold)
    means = smoothed(means, log) if smooth and dense else means
    every = len(places) // 7 if dense else 1
    opaque = 0.7 if look.recedes else 1.0
    axes.plot(places, means, alpha=opaque, zorder=6 + look.bold, markevery=every, **look.line)


def _explain(figure: Figure, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
    labels = {row.group: f"{row.label} (best)" if looks[row.group].bold else row.label for row in rows}
    entries = [Line2D([], [], label=label, **looks[group].line) for group, label in labels.items()]
    drawing.explain(figure, entries, [label for group, label in labels.items() if looks[group].bold])
