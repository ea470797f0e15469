"""Records → how far what is shown is what is clicked: p_data against q over items, [B]'s assumption q ≈ p_data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tastelab.results import drawing, marks
from tastelab.results.plots import Plot, facts
from tastelab.results.rows import Row
from tastelab.results.store import lookup

LARGEST = 90.0  # square points of the mark that stands for the most items


@dataclass(frozen=True)
class ExposureFigure(Plot):
    """Share of an item in what was clicked, p_data, against its share in what was shown, q; both axes logarithmic.

    Items are binned by q; the area of a mark is the share of items that it stands for. Bins without a click have no
    place on the axis and are counted below the title. On the diagonal an item is clicked as often as it is shown. Rows
    whose records carry the same counts are drawn once; where counts differ, each is named.
    """

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(4.6)
        axes = figure.add_subplot()
        axes.set(xlabel="share of what was shown, q", ylabel="share of what was clicked, p_data")
        found = {row.group: bins for row in rows if (bins := _bins(row))}
        # What was shown and clicked is a fact of the data: rows that were counted on the same are one.
        first = {tuple(bins): group for group, bins in reversed(found.items())}
        shown = [row for row in rows if row.group in first.values()]
        colours = {row.group: drawing.PALETTE[i % len(drawing.PALETTE)] for i, row in enumerate(shown)}
        for row in shown:
            _draw(axes, found[row.group], colours[row.group])
        if shown:
            _frame(axes, [place for bins in first for pair in bins for place in pair[:2]])
        else:
            marks.say(axes, "no finished run has\nlogged impressions yet")
        if len(shown) > 1:
            drawing.explain(figure, [marks.mark(row.label, "o", colours[row.group]) for row in shown])
        runs = [run for row in shown for run in row.runs[-1:]]
        reading = ["area: share of the items", "line: clicked as often as shown", *_agreement(runs)] if shown else []
        unclicked = sum(not clicked for run in runs for clicked in lookup(run, "exposure.clicked") or ())
        reading += [f"{unclicked} bins without a click left out"] if unclicked else []
        drawing.entitle(figure, self.title, facts(runs, size, *reading))
        return figure


def _bins(row: Row) -> list[tuple[float, float, float]]:
    """Return shown, clicked and share of items of each bin of a row's last run that has both above 0."""
    runs = [run for run in row.runs if lookup(run, "exposure.shown")]
    if not runs:
        return []
    sides = [lookup(runs[-1], f"exposure.{side}") for side in ("shown", "clicked", "share")]
    return [(float(q), float(p), float(n)) for q, p, n in zip(*sides, strict=True) if q and p]


def _draw(axes: Axes, bins: Sequence[tuple[float, float, float]], colour: str) -> None:
    shown, clicked, share = (np.asarray(side, np.float64) for side in zip(*bins, strict=True))
    areas = 8 + LARGEST * share / share.max()
    axes.scatter(shown, clicked, s=areas, color=colour, alpha=0.75, edgecolors="white", linewidths=0.8, zorder=3)


def _frame(axes: Axes, places: Sequence[float]) -> None:
    """Give both axes one range, so that the diagonal is one, and draw it."""
    low, high = min(places) / 1.8, max(places) * 1.8
    for which in "xy":
        marks.log_axis(axes, max(0.5, math.log10(high / low)), which)
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value:.4g}")
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.plot([low, high], [low, high], color=drawing.INK, linewidth=1.1, linestyle=marks.DASHES, zorder=2)
    words: dict[str, Any] = {"textcoords": "offset points", "fontsize": drawing.SMALL, "color": drawing.INK}
    axes.annotate("p_data = q", (high, high), (-4, -46), ha="right", va="top", **words)


def _agreement(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how well the two go together, where a record has it."""
    found = [value for run in runs if (value := lookup(run, "exposure.correlation")) is not None]
    return [f"rank correlation over items {' / '.join(f'{value:.2f}' for value in found)}"] if found else []
