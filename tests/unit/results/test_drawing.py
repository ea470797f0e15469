from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from tastelab.results import drawing

FACTS = "size default · mix_sample · all-MiniLM-L6-v2 · 895 impressions · bar: 95 % interval over impressions · "


def lines(facts: str) -> list[str]:
    with drawing.house_style():
        figure: Figure = drawing.canvas(2)
        drawing.entitle(figure, "Title", facts)
    return figure.texts[-1].get_text().split("\n")


def test_facts_are_wrapped_where_a_dot_separates_them() -> None:
    assert lines(FACTS + "without latency: Cross-Encoder BCE") == [
        "size default · mix_sample · all-MiniLM-L6-v2 · 895 impressions",
        "bar: 95 % interval over impressions · without latency: Cross-Encoder BCE",
    ]


@pytest.mark.parametrize("fact", ["a word and another " * 12, "w" * 150])
def test_a_fact_longer_than_a_line_is_broken_within(fact: str) -> None:
    found = lines(FACTS + fact)
    assert max(map(len, found)) <= 112
    assert "".join(found).replace(" ", "").replace("·", "") == (FACTS + fact).replace(" ", "").replace("·", "")
