from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tastelab.results.drawing import INK, house_style
from tastelab.results.heatmap import DARK, DIVERGING, SEQUENTIAL, Heads, HeatMap, Scale, contrast, letters, short
from tastelab.results.plots import figure_names, write_plot

Record = dict[str, Any]
Build = Callable[..., Record]
MAP = HeatMap("map", "Domain transfer", across="Tested on")


def draw(plot: HeatMap, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.draw_without_rendering()
    return figure


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def frames(axes: Axes) -> list[tuple[int, int]]:
    """Column and row of each cell with a dark frame."""
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle) and to_hex(patch.get_edgecolor()) == INK]
    return [(round(patch.get_x() + 0.4), round(patch.get_y() + 0.4)) for patch in found]


def test_each_cell_has_its_value_its_own_are_framed_and_the_frozen_encoder_stands_apart(transfer: list[Record]) -> None:
    axes = draw(MAP, transfer).axes[0]
    assert words(axes)[:8] == [".605", ".705", ".555", ".565", ".605", ".525", ".665", ".485"]
    assert words(axes)[-4:] == [".600", ".600", ".570", "–"]
    assert frames(axes) == [(1, 0), (2, 1), (0, 2), (1, 2), (2, 2), (3, 2), (1, 3), (2, 3)]
    assert np.diff(axes.get_yticks()) == pytest.approx([1, 1, 1, 1.35])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["everything", "ai", "beer", "physics"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Tested on", "Trained on")
    assert sum(patch.get_hatch() is not None for patch in axes.patches) == 1, "frozen on physics waits"


def test_differences_are_from_the_rows_own_condition_and_leave_the_frozen_encoder_out(transfer: list[Record]) -> None:
    plot = HeatMap("map", "Domain transfer", differences=True)
    axes = draw(plot, [r for r in transfer if r["group"] in ("ai", "All but physics", "frozen")]).axes[0]
    # ai: own .705; all but physics: own (.695 + .675) / 2 = .685
    assert words(axes) == ["−.100", ".000", "−.150", "−.140", "−.080", "+.010", "−.010", "−.100"]
    assert len(axes.get_yticks()) == 2


def test_a_row_without_its_own_condition_has_no_differences(run: Build, probe: Build) -> None:
    a = run("final", "a", 0.6, config={"data": {"features": ["title"]}})
    records = [a, probe(a, "abstract", 0.5, data_config={"features": ["abstract"]})]
    assert words(draw(HeatMap("map", "T", differences=True), records).axes[0]) == ["–"]


def test_chance_is_white_and_the_scale_is_as_long_below_as_above() -> None:
    scale = Scale.of([0.45, 0.7], 0.5)
    assert (scale.low, scale.high) == pytest.approx((0.3, 0.7))
    assert scale.colour(0.5) == "#ffffff"
    assert Scale.of([0.501], 0.5).high == pytest.approx(0.55), "noise is not coloured as a finding"
    low, high = (Scale.of([0.2, 0.4], None).colour(value) for value in (0.2, 0.4))
    assert (low, high) == ("#ffffff", "#0072b2")


@pytest.mark.parametrize("colours", [DIVERGING, SEQUENTIAL])
def test_values_are_read_on_every_colour(colours: Any) -> None:
    faces = [to_hex(colours(share)) for share in np.linspace(0, 1, 201)]
    assert min(contrast(face, letters(face)) for face in faces) >= 4.5
    assert contrast("#ffffff", DARK) == pytest.approx(21)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        *((0.6204, False, ".620"), (1.0, False, "1.000"), (0.0, False, ".000")),
        *((-0.0123, True, "−.012"), (0.25, True, "+.250"), (-0.0001, True, ".000"), (0.0004, True, ".000")),
    ],
)
def test_values_are_short(value: float, signed: bool, text: str) -> None:
    assert short(value, signed) == text


def test_labels_are_wrapped_and_stand_where_a_word_is_wider_than_a_cell() -> None:
    flat = Heads.of(["title", "title + abstract"], 70)
    assert (flat.labels, flat.upright) == (("title", "title +\nabstract"), False)
    upright = Heads.of(["programming puzzles and code golf", "ai"], 30)
    assert (upright.labels, upright.upright) == (("programming puzzles\nand code golf", "ai"), True)
    assert upright.height > flat.height


def overlaps(figure: Figure, axes: Axes) -> list[tuple[str, str]]:
    """Pairs of labels or values that touch."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    shown = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in (*shown, *figure.texts) if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if one.overlaps(other)]


@pytest.mark.parametrize(("num_rows", "num_columns"), [(4, 5), (9, 10), (7, 14)])
def test_nothing_touches_at_any_size(run: Build, probe: Build, num_rows: int, num_columns: int) -> None:
    names = ["programming puzzles and code golf", "math.stackexchange", "title + abstract + category", "ai"]
    labels = [names[i % 4] + (f" {i}" if i > 3 else "") for i in range(num_columns)]
    runs = [run("final", f"All but {label}"[:60], 0.6) for label in labels[:num_rows]]
    records = [
        *runs,
        *(probe(each, label, 0.45 + 0.02 * (i % 9), i) for each in runs for i, label in enumerate(labels)),
    ]
    differences = num_columns == 14  # their signs are the widest values, in the narrowest cells
    figure = draw(HeatMap("map", "Many", differences=differences), records)
    (axes,) = figure.axes
    assert len(axes.texts) == (num_rows + (not differences)) * num_columns
    assert overlaps(figure, axes) == []
    box = figure.bbox
    renderer = FigureCanvasAgg(figure).get_renderer()
    edges = [label.get_window_extent(renderer) for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert all(box.x0 <= each.x0 and each.x1 <= box.x1 and each.y1 <= box.y1 for each in edges)


def test_the_file_is_the_same_bytes_and_holds_no_outside_markup(transfer: list[Record], tmp_path: Path) -> None:
    hostile = [r | ({"label": "<script>&amp;"} if r["group"] == "ai" else {}) for r in transfer]
    (path,) = write_plot(MAP, hostile, tmp_path / "a")
    assert [path.name] == figure_names(MAP, hostile) == ["map-synthetic.svg"]
    assert write_plot(MAP, hostile, tmp_path / "b")[0].read_bytes() == path.read_bytes()
    text = path.read_text()
    ElementTree.fromstring(text)
    assert "<script" not in text and len(text) < 200_000
    assert not re.search(r' (?:x|y)="[^"]*\.\d{3}', text)


@pytest.mark.parametrize(
    "plot", [MAP, HeatMap("map", "T", columns=("x",), rows=(("a", "a"),)), HeatMap("map", "T", metric="mrr")]
)
def test_a_map_of_nothing_can_be_drawn(plot: HeatMap) -> None:
    figure = draw(plot, [])
    assert "no finished probe yet" in figure.texts[-1].get_text()
