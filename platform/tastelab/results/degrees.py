"""Records → how often items are retrieved, a panel per system: [B]'s figure of item degrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from tastelab.results import drawing, marks
from tastelab.results.plots import Plot, facts
from tastelab.results.rows import Row
from tastelab.results.store import Record, lookup

Floats = NDArray[np.float64]
LETTERS = 8.5  # points of the names above the panels
ABSENT = 0.5  # items: the lower end of the logarithmic axis, where a bin is empty


@dataclass(frozen=True)
class DegreeHistogram(Plot):
    """Number of items in bins of how often they are retrieved over all clicks, a panel per row.

    Bins double: never, once, 2–3, 4–7, … The outline in each panel is how the same number of retrievals would fall on
    items if each were retrieved in proportion to its clicks in training. Values are means over seeds.
    """

    columns: int = 4
    """Panels beside each other."""
    baselines: bool = True
    """Whether the baselines have panels too."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        shown = [row for row in rows if _runs(row) and (self.baselines or not row.baseline)]
        columns = max(1, min(self.columns, len(shown)))
        lines = max(1, math.ceil(len(shown) / columns))
        figure = drawing.canvas(1.55 * lines + 0.5)
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
        colours = drawing.palette([row.group for row in rows if not row.baseline])
        num_bins = max((len(_mean(row, "items")) for row in shown), default=1)
        for i, (axes, row) in enumerate(zip(panels, shown, strict=False)):
            _draw(axes, row, num_bins, colours.get(row.group, drawing.MUTED))
            axes.tick_params(labelbottom=i + columns >= len(shown))
        for axes in panels[max(1, len(shown)) :]:
            axes.remove()
        if shown:
            _scale(panels[0], num_bins)
            figure.supxlabel("times that an item is retrieved", fontsize=drawing.SMALL, color=drawing.INK)
            figure.supylabel("items", fontsize=drawing.SMALL, color=drawing.INK)
        else:
            marks.say(panels[0], "no finished run yet")
        runs = [run for row in shown for run in _runs(row)]
        drawing.entitle(figure, self.title, facts(runs, size, *_reading(runs), _waiting(rows, shown)))
        return figure


def _runs(row: Row) -> list[Record]:
    return [run for run in row.runs if lookup(run, "degrees.items")]


def _mean(row: Row, what: str) -> Floats:
    """Average a histogram over the seeds of a row; a seed with fewer bins has no items in the others."""
    found = [lookup(run, f"degrees.{what}") or [] for run in _runs(row)]
    longest = max(map(len, found))
    means: Floats = np.asarray([[*each, *[0] * (longest - len(each))] for each in found], np.float64).mean(axis=0)
    return means


def _draw(axes: Axes, row: Row, num_bins: int, colour: str) -> None:
    items, expected = _mean(row, "items"), _mean(row, "catalogue")
    axes.bar(np.arange(len(items)), items, width=0.86, color=colour, alpha=0.85, zorder=2)
    if expected.size:
        steps = np.full(num_bins, ABSENT / 10)
        steps[: len(expected)] = np.maximum(expected, ABSENT / 10)[:num_bins]
        axes.stairs(steps, np.arange(num_bins + 1) - 0.5, color=drawing.INK, linewidth=1.1, zorder=3, baseline=None)
    axes.set_title(_fitting(row.label), loc="left", fontsize=LETTERS, color=drawing.INK, pad=3)
    axes.grid(axis="x", visible=False)


def _scale(axes: Axes, num_bins: int) -> None:
    """Scale all panels, which share their axes: a label at every second bin or fewer, a decade at a time."""
    axes.set_yscale("log")
    axes.set_ylim(bottom=ABSENT)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_xlim(-0.6, num_bins - 0.4)
    every = max(1, math.ceil(num_bins / 5))
    ticks = list(range(0, num_bins, every))
    axes.set_xticks(ticks, ["0" if tick == 0 else _short(2 ** (tick - 1)) + "+" * (tick > 1) for tick in ticks])


def _short(number: float) -> str:
    """Write a count in few letters: 64, 2k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}" if number % size == 0 else f"{number / size:.0f}{letter}"
    return f"{number:g}"


def _fitting(label: str, width: int = 25) -> str:
    return label if len(label) <= width else label[: width - 1] + "…"


def _reading(runs: Sequence[Record]) -> list[str]:
    return ["outline: as many retrievals in proportion to clicks in training"] if runs else []


def _waiting(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    names = [row.label for row in rows if not row.baseline and all(row is not other for other in shown)]
    return f"no histogram yet: {', '.join(names)}" if names else ""
