"""Records → theorem one of [B] in one figure: how near each loss comes to the known optimum, and where it misses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tastelab.results import drawing, marks
from tastelab.results.measures import metric_label
from tastelab.results.plots import Plot, facts, run_value
from tastelab.results.rows import Row
from tastelab.results.store import lookup

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TheoremFigure(Plot):
    """Left: KL to the known optimum of each row, every seed, the smallest on top as declared. Right: what was learned.

    The right panel has the mean probability that popular to rare items have under the known optimum, a broad
    line, and under what each row in `lines` learned. `levels` are exact values, drawn as vertical lines on the left.
    """

    metric: str = "kl"
    lines: tuple[str, ...] = ()
    """Groups whose learned probabilities the right panel shows; empty: the first five that have them."""
    levels: tuple[tuple[str, str], ...] = (("optimum.exact.naive", "exact, naive loss"),)
    """(dotted path of a number in a record, words) of vertical lines on the left, as an optimum by enumeration."""
    exact: tuple[tuple[str, str], ...] = ()
    """(group, key of `optimum.exact` in its records): the KL of what the row's loss is least at, a bar in its line."""
    heading: str = "items, tenths from popular to rare"

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        trained = [row for row in rows if not row.baseline]
        shown = [row for row in trained if row.estimate(self.metric)]
        figure = drawing.canvas(max(3.4, 0.31 * len(shown) + 1.1))
        left, right = figure.subplots(1, 2, width_ratios=(1.08, 1))
        colours = drawing.palette([row.group for row in trained])
        if shown:
            self._draw_divergences(left, shown, colours)
        else:
            marks.say(left, "no finished run yet")
        drawn = self._draw_learned(right, trained, colours)
        if not drawn:
            marks.say(right, "no finished run has\nprobabilities yet")
        runs = [run for row in shown for run in row.runs]
        pending = [row.label for row in trained if row not in shown]
        more = ["left: mean and each seed, the optimum itself has 0"] if shown else []
        more += ["bar: exact, of the row's own loss"] if self.exact and shown else []
        more += [f"pending: {', '.join(pending)}"] if pending else []
        drawing.entitle(figure, self.title, facts(runs, size, *more))
        return figure

    def _draw_divergences(self, axes: Axes, rows: Sequence[Row], colours: dict[str, str]) -> None:
        """Draw a line of dots per row, the first row on top, on a logarithmic axis."""
        values = []
        for place, row in enumerate(rows):
            seeds = [max(v, TINY) for run in row.runs if (v := run_value(run, self.metric)) is not None]
            found = row.estimate(self.metric)
            assert found is not None
            axes.scatter(seeds, [place] * len(seeds), s=14, color=colours[row.group], alpha=0.6, linewidths=0, zorder=4)
            axes.scatter([max(found.mean, TINY)], [place], s=58, color=colours[row.group], edgecolors="white", zorder=5)
            words: dict[str, Any] = {"textcoords": "offset points", "ha": "left", "va": "center", "fontsize": 8.5}
            box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            axes.annotate(f"{found.mean:.3g}", (max(*seeds, found.mean, TINY), place), (7, 0), bbox=box, **words)
            values += [*seeds, max(found.mean, TINY)]
            at_best = row.mean(f"optimum.exact.{dict(self.exact).get(row.group)}")
            if at_best is not None and at_best > TINY:
                axes.vlines(at_best, place - 0.36, place + 0.36, color=colours[row.group], linewidth=2.4, zorder=3)
                values.append(at_best)
        self._draw_levels(axes, rows, values)
        decades = math.log10(max(values) / min(values))
        marks.log_axis(axes, decades if decades < 1.5 else decades + 1.2)  # a narrow panel: fewer labels
        axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=drawing.SMALL)
        axes.set_ylim(len(rows) - 0.4, -0.75)
        low, high = min(values), max(values)
        room = (high / low) ** 0.28 if high > 3 * low else 1.5
        axes.set_xlim(low / room**0.3, high * room)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{metric_label(self.metric)} to the known optimum (nats)")

    def _draw_levels(self, axes: Axes, rows: Sequence[Row], values: list[float]) -> None:
        above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        for i, (path, words) in enumerate(self.levels):
            found = [v for row in rows for run in row.runs if isinstance(v := lookup(run, path), int | float) and v > 0]
            if found:
                axes.axvline(found[-1], color=drawing.INK, linewidth=1.1, linestyle=marks.DASHES, zorder=1)
                place: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": drawing.INK}
                axes.annotate(words, (found[-1], 1), (0, 2 + 10 * (i % 2)), **above, **place)
                values.append(float(found[-1]))

    def _draw_learned(self, axes: Axes, rows: Sequence[Row], colours: dict[str, str]) -> bool:
        found = {row.group: row for row in rows if _optimum(row, "learned") is not None}
        chosen = [found[group] for group in self.lines or list(found)[:5] if group in found]
        if not chosen:
            return False
        known, naive = _optimum(chosen[0], "known"), _optimum(chosen[0], "naive")
        assert known is not None
        bins = np.arange(1, len(known) + 1)
        shapes = drawing.markers([row.group for row in chosen])
        ends = [(float(known[-1]), "known optimum", drawing.INK)]
        if naive is not None:
            axes.plot(bins, naive, color=drawing.MUTED, linewidth=1.4, linestyle=marks.DASHES, zorder=2)
            ends.append((float(naive[-1]), "clicks", drawing.MUTED))
        for row in chosen:
            learned = _optimum(row, "learned")
            assert learned is not None
            axes.plot(bins, learned, color=colours[row.group], marker=shapes[row.group], markersize=4, linewidth=1.5)
            ends.append((float(learned[-1]), row.label, colours[row.group]))
        axes.plot(bins, known, color="#c4c4c4", linewidth=7, zorder=1.5, solid_capstyle="round")
        drawn = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axes.lines])
        positive = drawn[drawn > 0]
        if positive.size:
            marks.log_axis(axes, math.log10(positive.max() / positive.min()), "y")
        axes.set_ylim(axes.get_ylim())
        axes.set_xticks(bins[:: max(1, len(bins) // 5)])
        axes.set_xlabel(self.heading)
        axes.set_ylabel("probability of the tenth")
        marks.name_at_right(axes, ends, 2.6, 8.5)
        return True


TINY = 1e-6  # nats: what a KL of 0 or less, by rounding, is drawn at


def _optimum(row: Row, what: str) -> Floats | None:
    """Average what runs of a row have in bins of popularity, the most popular first; None where none has it."""
    found = [values for run in row.runs if (values := lookup(run, f"optimum.{what}"))]
    if not found:
        return None
    means: Floats = np.asarray(found, np.float64).mean(axis=0)
    begins = lookup(row.runs[0], "optimum.bins") or [0]
    return means[::-1] if begins[0] < begins[-1] else means
