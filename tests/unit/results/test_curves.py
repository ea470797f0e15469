from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tastelab.results.curves import Curves
from tastelab.results.drawing import house_style, palette
from tastelab.results.plots import write_plot
from tastelab.results.trajectories import curve, end_to_end, last_step, mean_curve, smoothed

Record = dict[str, Any]
ROWS = (("full", "full"), ("lora-2", "LoRA"), ("lora-8", "later"))
COLOURS = palette([group for group, _ in ROWS])
COSINE = Curves("cosine", "Cosine", ROWS, curves=(("health/mean_cosine", "mean cosine"),))
NORMS = Curves("norms", "Gradient norm", ROWS, curves=(("train/grad_norm", "gradient norm"),))


def draw(plot: Curves, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.draw_without_rendering()
    return figure


def lines(axes: Axes, colour: str, thin: bool = False) -> list[Line2D]:
    return [line for line in axes.lines if to_hex(line.get_color()) == colour and (line.get_linewidth() < 1) == thin]


def xy(line: Line2D) -> tuple[list[float], list[float]]:
    return list(np.asarray(line.get_xdata(), float)), list(np.asarray(line.get_ydata(), float))


@pytest.fixture
def records(run: Callable[..., Record]) -> list[Record]:
    """Two of three rows, three seeds each; the second row has the higher AUC."""
    made = []
    for group, auc, level in (("full", 0.70, 2.5), ("lora-2", 0.75, 0.6)):
        for seed in range(3):
            rng = random.Random(f"{group}{seed}")
            steps = list(range(1, 41))
            curves = {
                "train/grad_norm": [steps, [level * rng.uniform(0.5, 2) for _ in steps]],
                "health/mean_cosine": [[0, 10, 20, 40], [0.1, 0.2 * level, None, 0.3 * level + 0.01 * seed]],
            }
            config = {"adaptation": group, "optim": {"clip_norm": 2.0}}
            made.append(run("final", group, auc + 0.001 * seed, seed, curves=curves, config=config))
    return made


def test_every_seed_and_the_mean_of_the_row_are_the_records_own(records: list[Record]) -> None:
    axes = draw(COSINE, records).axes[0]
    for group, level in (("full", 2.5), ("lora-2", 0.6)):
        (thin,) = lines(axes, COLOURS[group], thin=True)
        places, values = xy(thin)
        pieces = np.split(np.asarray([places, values]), np.flatnonzero(np.isnan(places)) + 1, axis=1)
        seeds = [curve(record, "health/mean_cosine") for record in records if record["group"] == group]
        for piece, (steps, expected) in zip(pieces, seeds, strict=False):
            assert piece[0, :-1].tolist() == steps.tolist() == [0, 10, 40]
            assert piece[1, :-1].tolist() == expected.tolist()
        (mean,) = lines(axes, COLOURS[group])
        assert xy(mean)[0] == [0, 10, 40]
        assert xy(mean)[1] == pytest.approx([0.1, 0.2 * level, 0.3 * level + 0.01])


def test_the_best_row_is_bold_and_named(records: list[Record]) -> None:
    figure = draw(COSINE, records)
    (worse,), (best,) = (lines(figure.axes[0], COLOURS[group]) for group in ("full", "lora-2"))
    assert best.get_linewidth() >= 2 * worse.get_linewidth()
    assert (best.get_alpha(), worse.get_alpha()) == (1.0, 0.7)
    entries = {text.get_text(): text.get_fontweight() for text in figure.legends[0].get_texts()}
    assert entries == {"full": "normal", "LoRA (best)": "bold"}
    facts = figure.texts[1].get_text().replace("\n", " ")
    assert "bold: LoRA, the highest dev AUC of those shown (0.751)" in facts
    assert "no curve yet: later" in facts


def test_one_row_alone_is_not_marked(records: list[Record]) -> None:
    figure = draw(COSINE, [record for record in records if record["group"] == "full"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["full"]
    assert "bold" not in figure.texts[1].get_text()


def test_gradient_norms_are_raw_beneath_and_smoothed_above_with_the_clipping_norm(records: list[Record]) -> None:
    axes = draw(NORMS, records).axes[0]
    assert axes.get_yscale() == "log"
    (thin,) = lines(axes, COLOURS["full"], thin=True)
    raw = np.asarray(thin.get_ydata(), float)
    assert raw[:40].tolist() == records[0]["curves"]["train/grad_norm"][1]
    seeds = np.log(raw.reshape(3, 41)[:, :-1])
    (mean,) = lines(axes, COLOURS["full"])
    drawn = xy(mean)[1]
    assert drawn[20] == pytest.approx(np.exp(seeds[:, 18:23].mean()))  # two neighbours on either side
    assert drawn[0] == pytest.approx(np.exp(seeds[:, :3].mean()))
    limits = [line for line in axes.lines if list(np.asarray(line.get_ydata(), float)) == [2.0, 2.0]]
    assert len(limits) == 1
    assert "clipped\nat 2" in [text.get_text() for text in axes.texts]


def test_x_can_be_the_share_of_the_run(records: list[Record]) -> None:
    plot = Curves("share", "Cosine", ROWS, curves=COSINE.curves, share=True)
    (mean,) = lines(draw(plot, records).axes[0], COLOURS["full"])
    assert xy(mean)[0] == [0, 0.25, 1]


def test_a_panel_without_a_curve_says_so_beside_one_that_has_it(records: list[Record]) -> None:
    plot = Curves("two", "Two", ROWS, curves=(*COSINE.curves, ("health/uniformity", "uniformity")))
    cosine, uniformity = draw(plot, records).axes
    assert cosine.lines
    assert not uniformity.lines
    assert [text.get_text() for text in uniformity.texts] == ["no finished run has\nthis curve yet"]


@pytest.mark.parametrize("odd", [{}, {"curves": None}, {"curves": {}}, {"curves": {"health/mean_cosine": None}}])
def test_records_without_curves_make_a_figure_that_says_so(run: Callable[..., Record], odd: Record) -> None:
    figure = draw(COSINE, [run("final", "full", 0.7, **odd), run("baseline", "frozen", 0.6)])
    assert "no finished run has these curves yet" in figure.texts[1].get_text()
    assert not figure.axes[0].lines
    assert not figure.legends


def test_the_same_records_give_the_same_bytes(records: list[Record], tmp_path: Path) -> None:
    for plot in (COSINE, NORMS):
        (first,), (second,) = (write_plot(plot, records, tmp_path / name) for name in "ab")
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size < 120_000


def test_seeds_are_averaged_where_all_of_them_have_a_point() -> None:
    seeds = [(np.array([0.0, 5, 10]), np.array([1.0, 2, 4])), (np.array([0.0, 10]), np.array([4.0, 1]))]
    places, means = mean_curve(seeds)
    assert (places.tolist(), means.tolist()) == ([0, 10], [2.5, 2.5])
    assert mean_curve(seeds, log=True)[1] == pytest.approx([2, 2])
    apart = [(np.array([0.0]), np.array([1.0])), (np.array([1.0]), np.array([1.0]))]
    assert mean_curve(apart)[0].size == 0


def test_smoothing_keeps_a_constant_and_is_a_mean_of_neighbours() -> None:
    assert smoothed(np.full(50, 3.0), log=True) == pytest.approx(np.full(50, 3.0))
    values = np.arange(40.0) ** 2
    assert smoothed(values)[10] == pytest.approx(np.mean(values[8:13]))
    assert len(smoothed(values)) == 40


def test_the_last_step_is_that_of_the_longest_curve() -> None:
    assert last_step({"curves": {"a": [[1, 7], [0.1, 0.2]], "b": [[0, 9], [0.1, None]], "c": None}}) == 7
    assert last_step({}) == 1


def test_lines_put_end_to_end_have_a_gap_after_each() -> None:
    places, values = end_to_end([(np.array([1.0, 2]), np.array([3.0, 4])), (np.array([5.0]), np.array([6.0]))])
    assert str(places.tolist()) == "[1.0, 2.0, nan, 5.0, nan]"
    assert str(values.tolist()) == "[3.0, 4.0, nan, 6.0, nan]"
