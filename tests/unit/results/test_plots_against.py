from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tastelab.results.against import Against
from tastelab.results.drawing import house_style
from tastelab.results.plots import write_plot

Record = dict[str, Any]
DECAYS = (0.001, 0.01, 0.1)
DECAY = Against("wd", "Weight decay", parameter="config.optim.weight_decay", heading="weight decay", log=True)


def draw(plot: Against, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.draw_without_rendering()
    return figure


def points(axes: Axes) -> set[tuple[float, float]]:
    drawn = [np.asarray(marks.get_offsets(), float) for marks in axes.collections if not hasattr(marks, "get_segments")]
    return {(float(x), round(float(y), 6)) for offsets in drawn for x, y in offsets}


def config(decay: float, kind: str) -> Record:
    return {"config": {"optim": {"weight_decay": decay}, "model": {"adaptation": {"name": kind}}}}


@pytest.fixture
def sweep_of(run: Callable[..., Record]) -> Callable[..., list[Record]]:
    """Build two seeds of each (kind, decay): 0.6 for full, 0.7 for LoRA, plus the decay, plus 0.01 for the second."""

    def build(kinds: tuple[str, ...] = ("full",), decays: tuple[float, ...] = DECAYS) -> list[Record]:
        base = {"full": 0.6, "lora": 0.7}
        return [
            run("final", f"{kind} {decay}", base[kind] + decay + 0.01 * seed, seed, **config(decay, kind))
            for kind in kinds
            for decay in decays
            for seed in range(2)
        ]

    return build


def test_a_point_per_seed_and_mean_stands_at_the_number_of_the_configuration(
    sweep_of: Callable[..., list[Record]],
) -> None:
    axes = draw(DECAY, sweep_of()).axes[0]
    expected = {(d, round(0.6 + d + extra, 6)) for d in DECAYS for extra in (0, 0.01, 0.005)}
    assert points(axes) == expected
    line = np.asarray(axes.lines[0].get_xydata(), float)
    assert line[:, 0].tolist() == list(DECAYS)
    assert line[:, 1] == pytest.approx([0.605 + d for d in DECAYS])
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    low, high = axes.get_xlim()
    assert 0.0003 < low < 0.001
    assert 0.1 < high < 0.3
    assert axes.get_ylim()[0] > 0.5  # set by the data alone


def test_intervals_are_drawn_from_low_to_high(sweep_of: Callable[..., list[Record]]) -> None:
    axes = draw(DECAY, sweep_of(decays=(0.01,))).axes[0]
    bars = [marks.get_segments()[0] for marks in axes.collections if hasattr(marks, "get_segments")]
    assert np.asarray(bars[0])[:, 1] == pytest.approx([0.615 - 0.017, 0.615 + 0.017])


def test_series_are_lines_of_their_own_in_the_order_declared(sweep_of: Callable[..., list[Record]]) -> None:
    series = (("lora", "LoRA r=8"), ("full", "full fine-tuning"))
    plot = Against(
        "wd",
        "Weight decay",
        parameter=DECAY.parameter,
        series="config.model.adaptation.name",
        series_labels=series,
    )
    figure = draw(plot, sweep_of(("full", "lora")))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["LoRA r=8", "full fine-tuning"]
    lora, full = (np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines[:2])
    assert lora - full == pytest.approx(np.full(3, 0.1))
    assert figure.axes[0].get_xlabel() == "weight_decay"


def test_zero_has_a_place_on_a_logarithmic_axis(sweep_of: Callable[..., list[Record]]) -> None:
    axes = draw(DECAY, sweep_of(decays=(0.0, *DECAYS))).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.001", "0.01", "0.1"]
    places = axes.transData.transform([(x, 0.6) for x in (0, *DECAYS)])[:, 0]
    assert (np.diff(places) > 40).all()


@pytest.mark.parametrize(
    ("form", "values", "labels"),
    [
        (".0%", (0, 0.25, 0.5, 0.75), ["0%", "25%", "50%", "75%"]),
        ("", (14e6, 22_713_216, 33e6), ["14 M", "22.7 M", "33 M"]),
        ("", (1, 2, 2.01, 4), ["1", "2", "4"]),  # labels that would touch give way
    ],
)
def test_ticks_stand_where_points_are_and_do_not_touch(
    run: Callable[..., Record], form: str, values: tuple[float, ...], labels: list[str]
) -> None:
    records = [run("final", str(value), 0.7, params_total=value) for value in values]
    axes = draw(Against("x", "X", parameter="params_total", form=form), records).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == labels


def test_references_are_levels_and_no_points(run: Callable[..., Record], sweep_of: Callable[..., list[Record]]) -> None:
    whole = run("final", "whole", 0.66, **config(0.05, "full"))
    plot = Against("wd", "Weight decay", parameter=DECAY.parameter, references=("tfidf", "whole"))
    axes = draw(plot, [*sweep_of(), whole, run("baseline", "tfidf", 0.57)]).axes[0]
    assert {"TF-IDF 0.570", "whole 0.660"} <= {text.get_text() for text in axes.texts}
    assert not any(x == 0.05 for x, _ in points(axes))


def test_what_waits_is_named_and_a_figure_of_nothing_says_so(sweep_of: Callable[..., list[Record]]) -> None:
    plot = Against("wd", "W", (("full 0.01", "1 %"), ("full 0.5", "half")), parameter=DECAY.parameter)
    assert "pending: half" in draw(plot, sweep_of()).texts[1].get_text()
    empty = draw(plot, [])
    assert [text.get_text() for text in empty.axes[0].texts] == ["no finished run yet"]


def test_a_row_without_the_number_is_no_point(run: Callable[..., Record]) -> None:
    odd = [run("final", str(value), 0.7, params_total=value) for value in (None, "many", True)]
    figure = draw(Against("x", "X", parameter="params_total"), [*odd, run("final", "good", 0.6, params_total=5)])
    assert {x for x, _ in points(figure.axes[0])} == {5.0}


def test_the_number_must_be_named() -> None:
    with pytest.raises(ValueError, match="The plot 'x' needs parameter="):
        Against("x", "X")


def test_the_same_records_give_the_same_bytes(sweep_of: Callable[..., list[Record]], tmp_path: Path) -> None:
    (first,), (second,) = (write_plot(DECAY, sweep_of(), tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
