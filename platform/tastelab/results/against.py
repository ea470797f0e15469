"""Records → a metric against a number of the configuration: frozen layers, weight decay, size of the encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tastelab.results import drawing, marks
from tastelab.results.plots import Plot, axis_label, estimates, facts, reference_levels, run_value
from tastelab.results.rows import Row
from tastelab.results.store import lookup

BESIDE = 20  # points between series at one place
NEAREST = 0.08  # of the axis, between two of its labels


@dataclass(frozen=True)
class Against(Plot):
    """Metric against a number of the configuration: mean, 95 % interval and every seed; a line through the means.

    Rows where the number is missing, and those in `references`, are no points; the latter are horizontal lines.
    """

    parameter: str = ""
    """Dotted path of the number in a record, as `config.optim.weight_decay`."""
    heading: str = ""
    """Axis label of the number; empty takes the end of its path."""
    series: str = ""
    """Dotted path of what cuts the rows into several lines; empty draws one."""
    series_labels: tuple[tuple[str, str], ...] = ()
    """(value at `series`, label) in order; values not named come after these, as they are."""
    log: bool = False
    """Whether the axis of the number is logarithmic; a zero stands left of the smallest."""
    form: str = ""
    """Format of the number on its axis, as `.0%` for a share; empty writes it short, as 0.01 or 22.7 M."""
    references: tuple[str, ...] = ("frozen", "tfidf")
    """Groups whose level is drawn as a horizontal line: baselines, or rows of another kind."""

    def __post_init__(self) -> None:
        if not self.parameter:
            raise ValueError(f"The plot '{self.name}' needs parameter='…', the dotted path of a number in a record.")

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(4.0)
        axes = figure.add_subplot()
        found = {row.group: place for row in rows if (place := self._place(row)) is not None}
        points = [row for row in rows if row.group in found and row.estimate(self.metric)]
        axes.set(xlabel=self.heading or self.parameter.rpartition(".")[2], ylabel=axis_label(self.metric, points))
        if points:
            self._scale(axes, sorted({found[row.group] for row in points}))
            self._draw_lines(figure, axes, points, found)
            marks.draw_levels(axes, reference_levels(rows, self.references, self.metric))
        else:
            marks.say(axes, "no finished run yet")
        runs = [run for row in points for run in row.runs]
        drawing.entitle(figure, self.title, facts(runs, size, estimates(runs) if points else "", self._pending(rows)))
        return figure

    def _place(self, row: Row) -> float | None:
        """Return where on the axis a row stands."""
        values = [lookup(run, self.parameter) for run in row.runs]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if row.baseline or row.group in self.references or not numbers:
            return None
        return math.fsum(numbers) / len(numbers)

    def _scale(self, axes: Axes, places: Sequence[float]) -> None:
        """Scale the axis and put ticks where the points are, as far as their labels keep apart."""
        positive = [place for place in places if place > 0]
        if self.log and positive and len(positive) < len(places):
            axes.set_xscale("symlog", linthresh=positive[0], linscale=0.7)
        elif self.log and positive:
            axes.set_xscale("log")
        ticks = _thinned(axes, places)
        axes.set_xticks(ticks, [self._written(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.margins(x=0.1)

    def _written(self, number: float) -> str:
        if self.form:
            return format(number, self.form)
        return f"{number / 1e6:.3g} M" if abs(number) >= 1e5 else f"{number:g}"

    def _draw_lines(self, figure: Figure, axes: Axes, rows: Sequence[Row], places: Mapping[str, float]) -> None:
        """Draw each series beside the others, and name them if there are several."""
        series, labels = self._series(rows), dict(self.series_labels)
        colours, shapes = drawing.palette(list(series)), drawing.markers(list(series))
        for i, (name, members) in enumerate(series.items()):
            shift = BESIDE * (i - (len(series) - 1) / 2)
            ordered = sorted(members, key=lambda row: places[row.group])
            means = [row.estimate(self.metric) for row in ordered]
            line = [(places[row.group], mean.mean) for row, mean in zip(ordered, means, strict=True) if mean]
            (drawn,) = axes.plot([x for x, _ in line], [y for _, y in line], color=colours[name], alpha=0.5)
            drawn.set_transform(marks.moved(axes, shift))
            for row, mean in zip(ordered, means, strict=True):
                seeds = [value for run in row.runs if (value := run_value(run, self.metric)) is not None]
                if mean:
                    look = (colours[name], shift, shapes[name])
                    marks.draw_estimate(axes, places[row.group], mean, seeds, *look, named=len(series) == 1)
        if len(series) > 1:
            drawing.explain(
                figure, [marks.mark(labels.get(n, n), shapes[n], colours[n], linestyle="-") for n in series]
            )

    def _series(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Cut rows by the value at `series`, in the order of `series_labels`."""
        of = {row.group: str(lookup(row.runs[0], self.series)) if self.series else "" for row in rows}
        order = dict.fromkeys([*(name for name, _ in self.series_labels), *of.values()])
        return {name: found for name in order if (found := [row for row in rows if of[row.group] == name])}

    def _pending(self, rows: Sequence[Row]) -> str:
        waiting = [row.label for row in rows if not row.baseline and not row.runs]
        return f"pending: {', '.join(waiting)}" if waiting else ""


def _thinned(axes: Axes, places: Sequence[float]) -> list[float]:
    """Keep the places that lie far enough from the last kept one for a label each."""
    scaled = axes.xaxis.get_transform().transform(places)
    kept: list[int] = []
    for i in range(len(places)):
        if not kept or scaled[i] - scaled[kept[-1]] >= NEAREST * (scaled[-1] - scaled[0]):
            kept.append(i)
    return [places[i] for i in kept]
