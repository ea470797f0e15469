"""Figures of candidate generation: degrees, metric pairs, theorem one, days of a simulated feed, exposure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from tastelab.results.days import CurvesOverDays
from tastelab.results.degrees import DegreeHistogram
from tastelab.results.drawing import house_style
from tastelab.results.exposure import ExposureFigure
from tastelab.results.pairs import MetricPair
from tastelab.results.plots import Plot, write_plot
from tastelab.results.theorem import TheoremFigure

Record = dict[str, Any]
Build = Callable[..., Record]
NAMES = ("Full softmax", "CLRec", "IPW")
LABELS = tuple((name, name) for name in NAMES)
DEGREES = DegreeHistogram("degrees", "How often an item is retrieved", rows=LABELS)
PAIR = MetricPair("pair", "Hits against popularity", rows=LABELS)
THEOREM = TheoremFigure("theorem", "Theorem one", rows=LABELS, exact=(("CLRec", "clrec"),))
DAYS = CurvesOverDays("days", "A made feed", rows=LABELS)
EXPOSURE = ExposureFigure("exposure", "Shown and clicked")
ALL = (DEGREES, PAIR, THEOREM, DAYS, EXPOSURE)


def draw(plot: Plot, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.draw_without_rendering()
    return figure


def caption(figure: Figure) -> str:
    return figure.texts[-1].get_text().replace("\n", " ")


def points(axes: Axes) -> set[tuple[float, float]]:
    drawn = [np.asarray(marks.get_offsets(), float) for marks in axes.collections if not hasattr(marks, "get_segments")]
    return {(round(float(x), 6), round(float(y), 6)) for offsets in drawn for x, y in offsets}


def named(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


@pytest.fixture
def theory(retrieval: Build) -> list[Record]:
    """KL .4, .2 and .1 with two seeds 10 % apart; masses of two groups, the less popular first as records have it."""
    records = []
    for i, name in enumerate(NAMES):
        for seed in range(2):
            optimum = {
                **{"bins": [0.001, 0.01, 0.1], "known": [0.5, 0.3, 0.2], "naive": [0.1, 0.2, 0.7]},
                **{"learned": [0.2 + 0.1 * i, 0.3, 0.5 - 0.1 * i], "exact": {"naive": 0.45, "clrec": 0.05}},
            }
            kl = 0.4 / 2**i * (1 + 0.1 * seed)
            records.append(retrieval("final", name, seed, {"kl": kl}, optimum=optimum))
    return records


@pytest.fixture
def feed(retrieval: Build) -> list[Record]:
    return [
        retrieval(
            "final",
            name,
            seed,
            curves={f"sim/{of}": [[1, 2, 3], [i + d + 0.5 * seed for d in (1, 2, 3)]] for of in ("ctr", "diversity")},
        )
        for i, name in enumerate(NAMES)
        for seed in range(2)
    ]


def test_each_panel_has_the_mean_items_of_each_bin(candidates: list[Record]) -> None:
    figure = draw(DEGREES, candidates)
    full = figure.axes[0]
    assert [bar.get_height() for bar in full.patches[:3]] == [999.5, 600.5, 82]  # type: ignore[attr-defined]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [*NAMES, "Random", "Popularity", "Frozen encoder"]
    assert full.get_yscale() == "log"
    outline = full.patches[3].get_data()  # type: ignore[attr-defined]
    assert outline.values[:3].tolist() == [900, 700, 82]
    assert "outline: as many retrievals in proportion to clicks in training" in caption(figure)
    assert "impressions" not in caption(figure)


def test_a_system_without_a_histogram_is_named(candidates: list[Record]) -> None:
    figure = draw(DEGREES, [r for r in candidates if r["group"] != "IPW"])
    assert "no histogram yet: IPW" in caption(figure)
    assert len(draw(DegreeHistogram("d", "D", rows=LABELS, baselines=False), candidates).axes) == 3


def test_twelve_systems_have_titles_that_do_not_touch(retrieval: Build) -> None:
    names = [f"Shared negative sampling {i}" for i in range(12)]
    plot = DegreeHistogram("d", "D", rows=tuple((name, name) for name in names))
    figure = draw(plot, [retrieval("final", name) for name in names])
    boxes = [Text.get_window_extent(axes._left_title) for axes in figure.axes]  # type: ignore[attr-defined]
    assert len(boxes) == 12
    beside = [(a, b) for a, b in pairwise(boxes) if b.x0 > a.x0]
    assert len(beside) == 9
    assert all(a.x1 <= b.x0 for a, b in beside)


def test_each_system_stands_at_its_pair_of_metrics(candidates: list[Record]) -> None:
    figure = draw(PAIR, candidates)
    axes = figure.axes[0]
    expected = {(1.0, 0.08), (0.5, 0.12), (0.25, 0.1), (0.1, 0.03), (1.5, 0.05)}
    assert points(axes) == expected
    assert np.asarray(axes.lines[0].get_xdata(), float).tolist() == [0.25, 0.5]  # nothing beats CLRec and IPW in both
    assert {*NAMES, "Popularity"} < set(named(axes))
    assert "popularity index relative to Full softmax" in caption(figure)
    assert "95 % intervals over users" in caption(figure)
    assert axes.yaxis.get_major_formatter()(0.125, 0) == "12.5\u00a0%"


def test_more_diversity_is_better_in_a_frontier(candidates: list[Record]) -> None:
    axes = draw(MetricPair("p", "P", rows=LABELS, against="diversity", baselines=False), candidates).axes[0]
    assert points(axes) == {(600, 0.08), (900, 0.12), (1200, 0.1)}
    assert sorted(np.asarray(axes.lines[0].get_xdata(), float).tolist()) == [900, 1200]


def test_theorem_one_shows_divergences_and_what_was_learned(theory: list[Record]) -> None:
    left, right = draw(THEOREM, theory).axes
    assert {y for _, y in points(left)} == {0, 1, 2}
    assert {(0.42, 0), (0.4, 0), (0.44, 0), (0.105, 2)} <= points(left)
    assert left.get_xscale() == "log"
    assert [text.get_text() for text in left.get_yticklabels()] == list(NAMES)
    assert "exact, naive loss" in named(left)
    assert [float(line.get_xdata()[0]) for line in left.lines] == [0.45]  # type: ignore[index]
    bars = [marks.get_segments() for marks in left.collections if hasattr(marks, "get_segments")]
    assert [segments[0][0].tolist() for segments in bars] == [[0.05, 0.64]]
    drawn = {tuple(np.asarray(line.get_ydata(), float).round(6).tolist()) for line in right.lines}
    assert {
        (0.2, 0.3, 0.5),
        (0.7, 0.2, 0.1),
        (0.5, 0.3, 0.2),
        (0.4, 0.3, 0.3),
        (0.3, 0.3, 0.4),
    } == drawn  # popular first
    assert {"known optimum", "clicks", *NAMES} == set(named(right))


def test_theorem_one_shows_the_chosen_lines_and_says_what_waits(theory: list[Record]) -> None:
    plot = TheoremFigure("t", "T", rows=(*LABELS, ("late", "late")), lines=("IPW",), levels=())
    figure = draw(plot, theory)
    assert set(named(figure.axes[1])) == {"known optimum", "clicks", "IPW"}
    assert "pending: late" in caption(figure)
    assert not figure.axes[0].lines


def test_a_divergence_of_zero_has_a_place_on_the_logarithmic_axis(retrieval: Build) -> None:
    records = [retrieval("final", name, 0, {"kl": kl}) for name, kl in (("CLRec", 0.0), ("IPW", 0.1))]
    left, right = draw(THEOREM, records).axes
    assert {x for x, _ in points(left)} == {1e-6, 0.1}
    assert named(right) == ["no finished run has\nprobabilities yet"]


def test_days_have_a_mean_a_band_and_a_name(feed: list[Record]) -> None:
    figure = draw(DAYS, feed)
    ctr, dwell, diversity, _ = figure.axes
    assert np.asarray(ctr.lines[1].get_ydata(), float).tolist() == [2.25, 3.25, 4.25]
    band = ctr.collections[1].get_paths()[0].vertices
    assert {(2.0, 3.0), (2.0, 3.5)} <= {(float(x), float(y)) for x, y in np.asarray(band)}
    assert named(ctr) == named(diversity) == list(NAMES)
    assert named(dwell) == ["no finished run has\nthis curve yet"]
    assert caption(figure).startswith("Simulation: made users with known preferences, no live traffic · size default")
    assert "band: lowest to highest seed" in caption(figure)
    assert ctr.yaxis.get_major_formatter()(0.05, 0) == "5\u00a0%"


def test_many_lines_are_named_below_and_not_beside(retrieval: Build) -> None:
    names = [f"system {i}" for i in range(10)]
    curves = {"sim/ctr": [[1, 2], [0.1, 0.2]]}
    figure = draw(CurvesOverDays("d", "D"), [retrieval("final", name, 0, curves=curves) for name in names])
    assert named(figure.axes[0]) == []
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_each_bin_stands_at_what_was_shown_and_clicked(retrieval: Build) -> None:
    bins = {"shown": [0.001, 0.01, 0.1], "clicked": [0.002, 0.0, 0.05], "share": [0.5, 0.3, 0.2], "correlation": 0.834}
    figure = draw(EXPOSURE, [retrieval("final", "log", 0, exposure=bins)])
    (axes,) = figure.axes
    assert points(axes) == {(0.001, 0.002), (0.1, 0.05)}
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "1 bins without a click left out" in caption(figure)
    assert "rank correlation over items 0.83" in caption(figure)


@pytest.mark.parametrize("plot", ALL, ids=lambda plot: plot.name)
def test_without_records_each_says_that_nothing_was_run(plot: Plot) -> None:
    figure = draw(plot, [])
    assert any("no finished run" in text for axes in figure.axes for text in named(axes))


@pytest.mark.parametrize("plot", ALL, ids=lambda plot: plot.name)
def test_the_same_records_give_the_same_bytes(
    plot: Plot, candidates: list[Record], theory: list[Record], feed: list[Record], retrieval: Build, tmp_path: Path
) -> None:
    bins = {"shown": [0.001, 0.1], "clicked": [0.002, 0.05], "share": [0.5, 0.5]}
    own: dict[str, list[Record]] = {"theorem": theory, "days": feed}
    records = own.get(plot.name, candidates)
    records = [retrieval("final", "log", 0, exposure=bins)] if plot is EXPOSURE else records
    (first,), (second,) = (write_plot(plot, records, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert b"<path" in first.read_bytes()
