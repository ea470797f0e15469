from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tastelab.results.drawing import colours, house_style
from tastelab.results.plots import Plot, RankCurve, SearchPlot, facts, figure_names, trial_value, write_plot

Record = dict[str, Any]
ROWS = (("lora-2", "2"), ("lora-4", "4"), ("lora-8", "8"), ("lora-32", "32"), ("full", "full"))
CURVE = RankCurve("curve", "LoRA rank", ROWS)
SEARCH = SearchPlot("search", "All trials", ROWS)


def draw(plot: Plot, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.canvas.draw()
    return figure


def points(axes: Axes) -> list[tuple[float, float]]:
    """Data coordinates of all marks of the scatters."""
    return [tuple(point) for drawn in axes.collections for point in np.asarray(drawn.get_offsets(), float)]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("plot", [CURVE, SEARCH])
def test_the_same_records_give_the_same_bytes_whatever_the_users_style(
    plot: Plot, sweep: list[Record], tmp_path: Path
) -> None:
    first = write_plot(plot, sweep, tmp_path / "a")[0].read_bytes()
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.facecolor": "black"}):
        assert write_plot(plot, sweep, tmp_path / "b")[0].read_bytes() == first
    assert b"<dc:date>" not in first
    assert b"<text" not in first  # letters are paths: no font is needed to show them


@pytest.mark.parametrize("plot", [CURVE, SEARCH])
def test_a_figure_is_well_formed_on_white_and_small(plot: Plot, sweep: list[Record], tmp_path: Path) -> None:
    (path,) = write_plot(plot, sweep, tmp_path, png=tmp_path / "x.png")
    assert path == tmp_path / "figures" / f"{plot.name}-synthetic.svg"
    root = ElementTree.fromstring(path.read_text())
    assert float((root.get("width") or "").removesuffix("pt")) == 540
    assert re.search(r'id="patch_1">\s*<path[^>]*style="fill: #ffffff', path.read_text())
    assert path.stat().st_size < 200_000
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("plot", [CURVE, SEARCH])
def test_a_figure_of_nothing_can_be_drawn(plot: Plot) -> None:
    assert points(draw(plot, []).axes[0]) == []


def test_the_names_of_figures_are_those_of_the_files_written(sweep: list[Record], tmp_path: Path) -> None:
    other = [r | {"size": "smoke", "data": {"name": "other set", "fingerprint": "0"}} for r in sweep]
    for records in ([], sweep, sweep + other):
        written = write_plot(CURVE, records, tmp_path)
        assert figure_names(CURVE, records) == [path.name for path in written]
    assert figure_names(CURVE, sweep + other) == ["curve-synthetic.svg", "curve-other_set-smoke.svg"]


def test_coordinates_in_the_svg_are_rounded(sweep: list[Record], tmp_path: Path) -> None:
    (path,) = write_plot(CURVE, sweep, tmp_path)
    drawn = re.findall(r' (?:d|x|y)="([^"]*)"', path.read_text())
    assert len(drawn) > 100
    assert not any(re.search(r"\.\d{3}", part) for part in drawn)


def test_the_facts_count_impressions_and_encoders_once(run: Callable[..., Record]) -> None:
    runs = [run("final", "full", 0.7, seed, encoder={"name": f"e{seed}"}) for seed in range(3)]
    runs[0]["counts"] = {"n_total": 1200}
    assert facts(runs, "smoke", "", "more") == "size smoke · synthetic · 3 encoders · 1,200 / 900 impressions · more"


def test_rows_that_are_not_declared_come_as_the_records_bring_them(sweep: list[Record]) -> None:
    axes = draw(RankCurve("curve", "All groups"), sweep).axes[0]
    found = [label.get_text() for label in axes.get_xticklabels()]
    assert found == list(dict.fromkeys(r["label"] for r in sweep if r["role"] == "search"))


def test_the_curve_shows_means_and_every_seed(sweep: list[Record]) -> None:
    axes = draw(CURVE, sweep).axes[0]
    drawn = {round(y, 6) for _, y in points(axes)}
    assert {0.7224, 0.7484, 0.7444, 0.7314} <= drawn  # means of the four groups that ran
    seeds = {round(r["metrics"]["auc"]["mean"], 6) for r in sweep if r["role"] == "final"}
    assert seeds <= drawn
    assert {"0.722", "0.748", "0.744", "0.731"} <= set(texts(axes))


def test_the_curve_keeps_a_place_for_what_waits_and_sets_full_fine_tuning_apart(sweep: list[Record]) -> None:
    axes = draw(CURVE, sweep).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4\npending", "8", "32", "full"]
    assert np.diff(axes.get_xticks()).tolist() == [1, 1, 1, 1.5]


def test_the_curve_names_its_reference_lines_within_the_frame(sweep: list[Record]) -> None:
    axes = draw(CURVE, sweep).axes[0]
    assert {"TF-IDF 0.574", "Frozen encoder 0.621", "Best reachable 0.842"} <= set(texts(axes))
    low, high = axes.get_ylim()
    assert low < 0.574
    assert high > 0.842


def test_names_of_lines_that_nearly_touch_are_moved_apart(run: Callable[..., Record]) -> None:
    records = [run("baseline", "tfidf", 0.6), run("baseline", "frozen", 0.601), run("final", "lora-2", 0.7)]
    axes = draw(CURVE, records).axes[0]
    heights = [text.xyann[1] for text in axes.texts if text.get_text().startswith(("TF-IDF", "Frozen"))]
    low, high = axes.get_ylim()
    assert abs(heights[0] - heights[1]) > 0.05 * (high - low)


def test_the_search_shows_every_trial_in_every_panel(sweep: list[Record]) -> None:
    order, rates, temperatures = draw(SEARCH, sweep).axes
    trials = [r for r in sweep if r["role"] == "search"]
    assert sorted(x for x, _ in points(order)) == list(range(24))
    for axes, name in ((rates, "learning_rate"), (temperatures, "temperature")):
        assert sorted(x for x, _ in points(axes)) == sorted(t["trial"]["params"][name] for t in trials)
        assert axes.get_xscale() == "log"


def test_the_search_tells_finished_pruned_and_failed_apart(sweep: list[Record]) -> None:
    order = draw(SEARCH, sweep).axes[0]
    hollow = [c for c in order.collections if (np.asarray(c.get_facecolor())[:, :3] == 1).all()]
    status = {t["trial"]["number"]: t["status"] for t in sweep if t["role"] == "search"}
    assert {int(np.asarray(c.get_offsets())[0, 0]) for c in hollow} == {n for n, s in status.items() if s == "pruned"}
    bottom = [c for c in order.collections if c.get_offset_transform() == order.get_xaxis_transform()]
    assert [int(np.asarray(c.get_offsets())[0, 0]) for c in bottom] == [n for n, s in status.items() if s == "failed"]


def test_the_running_best_only_rises_and_ends_at_the_best_finished_trial(sweep: list[Record]) -> None:
    order = draw(SEARCH, sweep).axes[0]
    best = np.asarray(order.lines[0].get_ydata(), float)
    done = [t["metrics"]["auc"]["mean"] for t in sweep if t["role"] == "search" and t["status"] == "finished"]
    assert (np.diff(best) >= 0).all()
    assert best[-1] == max(done)


def test_a_named_parameter_gets_a_place_per_name_and_may_be_written_short(run: Callable[..., Record]) -> None:
    trials = [
        run("search", "lora-2", 0.6, number, trial={"number": number, "params": {"model.pooling": name}})
        for number, name in enumerate(("top_k", "mean", "top_k"))
    ]
    axes = draw(SearchPlot("s", "S", ROWS, params=(("pooling", "item pooling"),)), trials).axes[1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mean", "top_k"]
    assert sorted(x for x, _ in points(axes)) == [0, 1, 1]


@pytest.mark.parametrize(
    ("trial", "value"),
    [
        ({"metrics": {"auc": {"mean": 0.7}}, "trial": {"curve": [[5, 0.6]]}}, 0.7),
        ({"metrics": None, "trial": {"curve": [[5, 0.6], [10, 0.65], [15, None]]}}, 0.65),
        ({"trial": {"curve": []}}, None),
    ],
)
def test_a_trials_value_is_its_end_or_its_last_validation(trial: Record, value: float | None) -> None:
    assert trial_value(trial, "auc") == value


def test_colours_grow_lighter_with_rank_and_those_apart_are_not_of_the_scale() -> None:
    chosen = colours([group for group, _ in ROWS], ("full",))
    lightness = [np.dot(mpl.colors.to_rgb(chosen[g]), (0.2126, 0.7152, 0.0722)) for g, _ in ROWS[:-1]]
    assert lightness == sorted(lightness)
    assert lightness[-1] < 0.7  # still seen on white
    assert chosen["full"] == "#d55e00"
