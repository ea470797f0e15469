"""Records → figures: a metric against LoRA rank, and a search with all its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tastelab.results import drawing
from tastelab.results.columns import metric_label
from tastelab.results.rows import BASELINES, FIXED, Estimate, Row, comparable, make_rows
from tastelab.results.sections import sections
from tastelab.results.store import Record, distinct, lookup
from tastelab.results.tables import write_text


@dataclass(frozen=True)
class Plot:
    """What a figure shows: declared by an experiment, drawn from its records.

    `rows` are (group, short label) in order. Groups in `apart` are of another kind than the ordered ones, as full
    fine-tuning is beside ranks: they get a colour and a place of their own.
    """

    name: str
    title: str
    rows: tuple[tuple[str, str], ...]
    group: str = "group"
    metric: str = "auc"
    heading: str = "LoRA rank"
    """What the short labels are."""
    apart: tuple[str, ...] = ("full",)
    fixed: tuple[str, ...] = FIXED

    def draw(self, records: Sequence[Record], size: str) -> Figure:
        """Draw the records of one size."""
        kept, _ = comparable(records, size, self.fixed)
        return self._compose(make_rows(kept, self.group, self.rows), size)

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        raise NotImplementedError

    @property
    def _groups(self) -> list[str]:
        return [group for group, _ in self.rows]


def write_plot(plot: Plot, records: Sequence[Record], reports: Path, png: Path | None = None) -> list[Path]:
    """Write `reports/figures/<name>-<section>.svg` per section, and the last as a PNG at `png`; return the SVGs."""
    paths = []
    with drawing.house_style():
        for section in sections(records):
            figure = plot.draw(section.records, section.size)
            if png is not None:
                drawing.as_png(figure, png)
            path = reports / "figures" / f"{plot.name}-{section.slug}.svg"
            paths.append(write_text(path, drawing.as_svg(figure)))
    return paths


@dataclass(frozen=True)
class RankCurve(Plot):
    """Metric against rank: mean, 95 % interval and every seed; baselines and the best reachable value as lines."""

    references: tuple[str, ...] = ("frozen", "tfidf")

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(4.8)
        axes = figure.add_subplot()
        trained = [row for row in rows if not row.baseline]
        places, colours = self._places(), drawing.colours(self._groups, self.apart)
        line = [(places[r.group], e.mean) for r in trained if r.group not in self.apart and (e := self._of(r))]
        axes.plot([x for x, _ in line], [y for _, y in line], color="#b5b5b5", linewidth=1.2, zorder=2)
        for row in trained:
            if found := self._of(row):
                seeds = [value for run in row.runs if (value := _value(run, self.metric)) is not None]
                drawing.draw_estimate(axes, places[row.group], found, seeds, colours[row.group])
        pending = {row.group for row in trained if not row.runs}
        ticks = [label + ("\npending" if group in pending else "") for group, label in self.rows]
        axes.set_xticks(list(places.values()), ticks)
        axes.set_xlim(-0.6, max(places.values(), default=0) + 0.6)
        axes.grid(axis="x", visible=False)
        axes.set(xlabel=self.heading, ylabel=_axis_label(self.metric, trained))
        drawing.draw_levels(axes, self._levels(rows))
        drawing.entitle(figure.axes[0], self.title, _facts(rows, size))
        return figure

    def _of(self, row: Row) -> Estimate | None:
        return row.estimate(self.metric)

    def _places(self) -> dict[str, float]:
        """Neighbours stand one apart, kinds one and a half."""
        kinds = [group in self.apart for group in self._groups]
        steps = [1.0 if same else 1.5 for same in map(bool.__eq__, kinds[1:], kinds[:-1])]
        return dict(zip(self._groups, accumulate([0.0, *steps]), strict=True)) if self.rows else {}

    def _levels(self, rows: Sequence[Row]) -> dict[str, float]:
        found = {row.group: e.mean for row in rows if row.baseline and (e := self._of(row))}
        levels = {BASELINES.get(name, name): found[name] for name in self.references if name in found}
        best = [value for row in rows for run in row.runs if (value := lookup(run, f"data.best_{self.metric}"))]
        return levels | ({"Best reachable": best[-1]} if best else {})


@dataclass(frozen=True)
class SearchPlot(Plot):
    """All trials of a search: validation metric in the order of trials, and against each searched parameter.

    A filled mark finished, a hollow one was pruned (its last validation is shown), a cross at the bottom failed.
    """

    params: tuple[tuple[str, str], ...] = (("learning_rate", "learning rate"), ("temperature", "temperature"))
    """(name, axis label) of the parameters that get a panel; a name may leave out what precedes its last dot."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(6.6)
        panels = figure.add_gridspec(2, max(1, len(self.params)), height_ratios=(1.15, 1))
        order = figure.add_subplot(panels[0, :])
        trials = [trial for row in rows for trial in row.trials if lookup(trial, "trial.number") is not None]
        self._scatter(order, rows, {t["run_id"]: t["trial"]["number"] for t in trials})
        _draw_running_best(order, trials, self.metric)
        order.xaxis.set_major_locator(MaxNLocator(integer=True))
        order.set(xlabel="trial", ylabel=f"validation {metric_label(self.metric)}")
        for i, (name, label) in enumerate(self.params):
            axes = figure.add_subplot(panels[1, i], sharey=order)
            values = {t["run_id"]: v for t in trials if (v := _param(t, name)) is not None}
            self._scatter(axes, rows, _placed(axes, values))
            axes.tick_params(labelleft=not i)
            axes.set(xlabel=label, ylabel="" if i else f"validation {metric_label(self.metric)}")
        self._legend(figure)
        drawing.entitle(figure.axes[0], self.title, _facts(rows, size, trials))
        return figure

    def _scatter(self, axes: Axes, rows: Sequence[Row], places: Mapping[str, float]) -> None:
        """Put every trial that has a place at its value; failed ones on the bottom edge."""
        colours, shapes = drawing.colours(self._groups, self.apart), drawing.markers(self._groups)
        for row in rows:
            for trial in row.trials:
                place, value = places.get(trial["run_id"]), trial_value(trial, self.metric)
                if place is None:
                    continue
                colour, shape = colours[row.group], shapes[row.group]
                if trial["status"] == "failed" or value is None:
                    edge = axes.get_xaxis_transform()
                    axes.scatter([place], [0.03], marker="x", color=colour, s=34, transform=edge, zorder=4)
                else:
                    face = "white" if trial["status"] == "pruned" else colour
                    axes.scatter(
                        [place], [value], marker=shape, s=38, c=face, edgecolors=colour, linewidths=1.3, zorder=3
                    )

    def _legend(self, figure: Figure) -> None:
        colours, shapes = drawing.colours(self._groups, self.apart), drawing.markers(self._groups)
        marks = [_mark(label, shapes[group], colours[group]) for group, label in self.rows]
        grey = drawing.MUTED
        states = [_mark("finished", "o", grey), _mark("pruned", "o", grey, "white"), _mark("failed", "x", grey)]
        best = Line2D([], [], color=drawing.INK, linewidth=1.1, label="best so far")
        figure.legend(
            handles=[*marks, _mark(" ", "", grey), *states, best],
            loc="outside right center",
            title=self.heading,
            fontsize=9,
        )


def trial_value(trial: Record, metric: str) -> float | None:
    """Return a trial's metric: of its end if it finished, else of its last validation, None if it never had one."""
    value = _value(trial, metric)
    seen = [at for _, at in lookup(trial, "trial.curve") or [] if at is not None]
    return value if value is not None else (seen[-1] if seen else None)


def _draw_running_best(axes: Axes, trials: Sequence[Record], metric: str) -> None:
    done = [(t["trial"]["number"], v) for t in trials if t["status"] == "finished" and (v := trial_value(t, metric))]
    done.sort()
    best = list(accumulate((value for _, value in done), max))
    axes.step([n for n, _ in done], best, where="post", color=drawing.INK, linewidth=1.1, zorder=2)


def _placed(axes: Axes, values: Mapping[str, Any]) -> dict[str, float]:
    """Scale an axis by what it shows: names get places of their own, positive numbers far apart a log scale."""
    if any(isinstance(value, str) for value in values.values()):
        names = sorted({str(value) for value in values.values()})
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return {run: float(names.index(str(value))) for run, value in values.items()}
    numbers = [float(value) for value in values.values()]
    if numbers and min(numbers) > 0 and max(numbers) > 5 * min(numbers):
        drawing.log_axis(axes, math.log10(max(numbers) / min(numbers)))
    return {run: float(value) for run, value in values.items()}


def _param(trial: Record, name: str) -> Any:
    params = lookup(trial, "trial.params") or {}
    return next((value for key, value in params.items() if key == name or key.endswith(f".{name}")), None)


def _value(run: Record, metric: str) -> float | None:
    mean = (run.get("metrics") or {}).get(metric, {}).get("mean")
    return None if mean is None else float(mean)


def _mark(label: str, shape: str, colour: str, face: str | None = None) -> Line2D:
    return Line2D([], [], marker=shape, color=colour, markerfacecolor=face or colour, linestyle="", label=label)


def _axis_label(metric: str, rows: Sequence[Row]) -> str:
    splits = distinct((run for row in rows for run in row.runs), "split")
    return " ".join([*splits, metric_label(metric)])


def _facts(rows: Sequence[Row], size: str, trials: Sequence[Record] | None = None) -> str:
    """Say in one line what a figure was made from."""
    runs = [run for row in rows for run in row.runs if not row.baseline] if trials is None else trials
    facts = [f"size {size}", *distinct(runs, "data.name"), *distinct(runs, "encoder.name")]
    if trials is None:
        facts += [f"{n:,} impressions" for n in distinct(runs, "counts.n_total")]
        facts += ["mean, 95 % interval over impressions, and each seed"]
    else:
        ends = [
            (status, sum(trial["status"] == status for trial in trials)) for status in ("finished", "pruned", "failed")
        ]
        facts += [f"{len(trials)} trials: " + ", ".join(f"{number} {status}" for status, number in ends if number)]
    return " · ".join(map(str, facts))
