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
from matplotlib.ticker import MaxNLocator

from tastelab.results import drawing, marks
from tastelab.results.measures import is_retrieval, measure, metric_label, unit_of
from tastelab.results.rows import FIXED, Estimate, Row, comparable, make_rows
from tastelab.results.sections import Section, sections
from tastelab.results.store import Record, distinct, lookup
from tastelab.results.tables import write_text


@dataclass(frozen=True)
class Plot:
    """What a figure shows: declared by an experiment, drawn from its records."""

    name: str
    title: str
    rows: tuple[tuple[str, str], ...] = ()
    """(group, short label) in order; empty takes the groups as records bring them."""
    group: str = "group"
    """Dotted path of the value in a record that rows are grouped by."""
    metric: str = "auc"
    fixed: tuple[str, ...] = FIXED
    """Dotted paths on which all records of a figure must agree; those that differ from the latest are left out."""

    def draw(self, records: Sequence[Record], size: str) -> Figure:
        """Draw the records of one size."""
        kept, _ = comparable(records, size, self.fixed)
        return self._compose(make_rows(kept, self.group, self.rows), size)

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        raise NotImplementedError


def figure_names(plot: Plot, records: Sequence[Record]) -> list[str]:
    """Return the names of the files that `write_plot` writes of these records, one per section."""
    return [_figure_name(plot, section) for section in sections(records)]


def write_plot(plot: Plot, records: Sequence[Record], reports: Path, png: Path | None = None) -> list[Path]:
    """Write `reports/figures/<name>-<section>.svg` per section, and the last as a PNG at `png`; return the SVGs."""
    paths = []
    with drawing.house_style():
        for section in sections(records):
            figure = plot.draw(section.records, section.size)
            if png is not None:
                drawing.as_png(figure, png)
            path = reports / "figures" / _figure_name(plot, section)
            paths.append(write_text(path, drawing.as_svg(figure)))
    return paths


def run_value(run: Record, metric: str) -> float | None:
    """Return the mean of a metric in a record, None where it has none."""
    mean = ((run.get("metrics") or {}).get(metric) or {}).get("mean")
    return None if mean is None else float(mean)


def reference_levels(rows: Sequence[Row], references: Sequence[str], metric: str) -> dict[str, float]:
    """Return label → metric of the rows named in `references`, and of the best that the data allow if it is known."""
    found = {row.group: (row.label, e.mean) for row in rows if (e := row.estimate(metric))}
    levels = {found[name][0]: found[name][1] for name in references if name in found}
    best = [value for row in rows for run in row.runs if (value := lookup(run, f"data.best_{metric}"))]
    return levels | ({"Best reachable": best[-1]} if best else {})


def axis_label(metric: str, rows: Sequence[Row]) -> str:
    """Name a metric with the split that it was measured on."""
    splits = distinct((run for row in rows for run in row.runs), "split")
    return " ".join([*splits, metric_label(metric)])


def estimates(runs: Sequence[Record]) -> str:
    """Say what `marks.draw_estimate` shows of runs."""
    return f"mean, 95 % interval over {unit_of(runs)}, and each seed"


def facts(runs: Sequence[Record], size: str, *more: str) -> str:
    """Say in one line what a figure was made from, and how to read it."""
    found = [f"size {size}", *distinct(runs, "data.name")]
    encoders = distinct(runs, "encoder.name")
    found += encoders if len(encoders) < 3 else [f"{len(encoders)} encoders"]
    counts = [f"{n:,}" for n in distinct(runs, "counts.n_total")]
    counted = "clicks" if all(map(is_retrieval, runs)) else "impressions"
    found += [f"{' / '.join(counts)} {counted}"] if counts else []
    return " · ".join(map(str, [*found, *filter(None, more)]))


@dataclass(frozen=True)
class RankCurve(Plot):
    """Metric against rank: mean, 95 % interval and every seed; baselines and the best reachable value as lines.

    Groups in `apart` are of another kind than the ordered ones, as full fine-tuning is beside ranks: they get a colour
    and a place of their own.
    """

    heading: str = "LoRA rank"
    """What the short labels are."""
    apart: tuple[str, ...] = ("full",)
    references: tuple[str, ...] = ("frozen", "tfidf")
    """Groups whose level is drawn as a horizontal line."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(4.2)
        axes = figure.add_subplot()
        trained = [row for row in rows if not row.baseline]
        groups = [row.group for row in trained]
        places, colours = self._places(groups), drawing.colours(groups, self.apart)
        line = [(places[r.group], e.mean) for r in trained if r.group not in self.apart and (e := self._of(r))]
        axes.plot([x for x, _ in line], [y for _, y in line], color="#b5b5b5", linewidth=1.2, zorder=2)
        for row in trained:
            if found := self._of(row):
                seeds = [value for run in row.runs if (value := run_value(run, self.metric)) is not None]
                marks.draw_estimate(axes, places[row.group], found, seeds, colours[row.group])
        axes.set_xticks(list(places.values()), [row.label + ("" if row.runs else "\npending") for row in trained])
        axes.set_xlim(-0.6, max(places.values(), default=0) + 0.6)
        axes.grid(axis="x", visible=False)
        axes.set(xlabel=self.heading, ylabel=axis_label(self.metric, trained))
        marks.draw_levels(axes, reference_levels(rows, self.references, self.metric))
        runs = [run for row in trained for run in row.runs]
        drawing.entitle(figure, self.title, facts(runs, size, estimates(runs)))
        return figure

    def _of(self, row: Row) -> Estimate | None:
        return row.estimate(self.metric)

    def _places(self, groups: Sequence[str]) -> dict[str, float]:
        """Neighbours stand one apart, kinds one and a half."""
        kinds = [group in self.apart for group in groups]
        steps = [1.0 if same else 1.5 for same in map(bool.__eq__, kinds[1:], kinds[:-1])]
        return dict(zip(groups, accumulate([0.0, *steps]), strict=True)) if groups else {}


@dataclass(frozen=True)
class SearchPlot(Plot):
    """All trials of a search: validation metric in the order of trials, and against each searched parameter.

    A filled mark finished, a hollow one was pruned (its last validation is shown), a cross at the bottom failed.
    """

    heading: str = "LoRA rank"
    """What the short labels are."""
    apart: tuple[str, ...] = ("full",)
    """Groups of another kind than the ordered ones: their colours are far from these."""
    params: tuple[tuple[str, str], ...] = (("learning_rate", "learning rate"), ("temperature", "temperature"))
    """(name, axis label) of the parameters that get a panel; a name may leave out what precedes its last dot."""

    def _compose(self, rows: Sequence[Row], size: str) -> Figure:
        figure = drawing.canvas(5.6)
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
        self._legend(figure, rows)
        drawing.entitle(figure, self.title, facts(trials, size, _ends(trials)))
        return figure

    def _scatter(self, axes: Axes, rows: Sequence[Row], places: Mapping[str, float]) -> None:
        """Put every trial that has a place at its value; failed ones on the bottom edge."""
        looks = self._looks(rows)
        for row in rows:
            for trial in row.trials:
                place, value = places.get(trial["run_id"]), trial_value(trial, self.metric)
                if place is None:
                    continue
                colour, shape = looks[row.group]
                if trial["status"] == "failed" or value is None:
                    edge = axes.get_xaxis_transform()
                    axes.scatter([place], [0.03], marker="x", color=colour, s=34, transform=edge, zorder=4)
                else:
                    face = "white" if trial["status"] == "pruned" else colour
                    axes.scatter(
                        [place], [value], marker=shape, s=38, c=face, edgecolors=colour, linewidths=1.3, zorder=3
                    )

    def _legend(self, figure: Figure, rows: Sequence[Row]) -> None:
        looks = self._looks(rows)
        entries = [marks.mark(row.label, looks[row.group][1], looks[row.group][0]) for row in rows if not row.baseline]
        grey = drawing.MUTED
        states = [marks.mark(word, *look) for word, *look in (("finished", "o", grey), ("pruned", "o", grey, "white"))]
        best = marks.mark("best so far", "", drawing.INK, linestyle="-", linewidth=1.1)
        handles = [*entries, marks.mark(" ", "", grey), *states, marks.mark("failed", "x", grey), best]
        figure.legend(handles=handles, loc="outside right center", title=self.heading, fontsize=drawing.SMALL)

    def _looks(self, rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
        """Return group → colour and shape."""
        groups = [row.group for row in rows if not row.baseline]
        colours, shapes = drawing.colours(groups, self.apart), drawing.markers(groups)
        return {group: (colours[group], shapes[group]) for group in groups}


def trial_value(trial: Record, metric: str) -> float | None:
    """Return a trial's metric: of its end if it finished, else of its last validation, None if it never had one."""
    value = run_value(trial, metric)
    seen = [at for _, at in lookup(trial, "trial.curve") or [] if at is not None]
    return value if value is not None else (seen[-1] if seen else None)


def _draw_running_best(axes: Axes, trials: Sequence[Record], metric: str) -> None:
    done = [(t["trial"]["number"], v) for t in trials if t["status"] == "finished" and (v := trial_value(t, metric))]
    done.sort()
    best = list(accumulate((value for _, value in done), min if measure(metric).better < 0 else max))
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
        marks.log_axis(axes, math.log10(max(numbers) / min(numbers)))
    return {run: float(value) for run, value in values.items()}


def _param(trial: Record, name: str) -> Any:
    params = lookup(trial, "trial.params") or {}
    return next((value for key, value in params.items() if key == name or key.endswith(f".{name}")), None)


def _ends(trials: Sequence[Record]) -> str:
    ends = [(status, sum(trial["status"] == status for trial in trials)) for status in ("finished", "pruned", "failed")]
    return f"{len(trials)} trials: " + ", ".join(f"{number} {status}" for status, number in ends if number)


def _figure_name(plot: Plot, section: Section) -> str:
    return f"{plot.name}-{section.slug}.svg"
