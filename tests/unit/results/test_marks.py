from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastelab.results import drawing, marks


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_places_are_spread_apart_in_their_order_and_keep_their_mean(places: list[float]) -> None:
    moved = marks.spread(places, 0.5)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.asarray(moved)[order]) >= 0.5 - 1e-9).all()
    assert np.mean(moved) == pytest.approx(np.mean(places))


def test_places_that_do_not_touch_stay_and_two_that_do_move_as_much_each() -> None:
    assert marks.spread([3, 1, 2], 0.5) == [3, 1, 2]
    assert marks.spread([1, 1.2], 0.6) == pytest.approx([0.8, 1.4])


def test_places_stay_within_their_bounds() -> None:
    assert marks.spread([1, 1], 1, low=1, high=3) == pytest.approx([1, 2])
    assert marks.spread([3, 3], 1, low=1, high=3) == pytest.approx([2, 3])


def test_an_axis_of_less_than_half_a_decade_stays_linear() -> None:
    with drawing.house_style():
        narrow, wide = drawing.canvas(2).subplots(1, 2)
        marks.log_axis(narrow, 0.3)
        marks.log_axis(wide, 3.5, "y")
    assert (narrow.get_xscale(), wide.get_xscale(), wide.get_yscale()) == ("linear", "linear", "log")


def test_the_title_and_the_legend_make_room_for_themselves() -> None:
    with drawing.house_style():
        figure = drawing.canvas(3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        handles = [marks.mark(f"a system with a long name {i}", "o", "#000000") for i in range(7)]
        drawing.explain(figure, handles, ["a system with a long name 3"])
        drawing.entitle(figure, "Title", " · ".join(["many facts about what was drawn"] * 8))
        figure.draw_without_rendering()
    assert axes.get_window_extent().height / figure.dpi > 2
    title, facts = (text.get_window_extent() for text in figure.texts)
    panel, legend = axes.get_tightbbox(), figure.legends[0].get_window_extent()
    assert panel is not None
    assert title.y0 >= facts.y1
    assert facts.y0 >= panel.y1
    assert panel.y0 >= legend.y1 - 1
    assert legend.y0 >= 0
    assert max(box.x1 for box in (title, facts, legend)) <= figure.bbox.x1
    bold = [text.get_text() for text in figure.legends[0].get_texts() if text.get_fontweight() == "bold"]
    assert bold == ["a system with a long name 3"]


def test_a_line_of_facts_neither_begins_nor_ends_with_the_dot_between_them() -> None:
    with drawing.house_style():
        figure = drawing.canvas(3)
        drawing.entitle(figure, "Title", " · ".join(["a fact of one length"] * 9))
    lines = figure.texts[1].get_text().split("\n")
    assert len(lines) == 2
    assert not any(line.strip(" ·") != line for line in lines)


def test_twice_as_many_groups_as_colours_still_differ_in_colour_stroke_or_shape() -> None:
    groups = [str(i) for i in range(2 * len(drawing.PALETTE))]
    lines = {(drawing.palette(groups)[g], drawing.strokes(groups)[g]) for g in groups}
    points = {(drawing.palette(groups)[g], drawing.markers(groups)[g]) for g in groups}
    assert len(lines) == len(points) == len(groups)
