from __future__ import annotations

import pytest

from tastelab.results.formats import difference, milliseconds, p_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.012345, "0.0123"),
        (4.5, "4.50"),
        (31.04, "31.0"),
        (99.97, "100"),
        (1234.4, "1,234"),
    ],
)
def test_a_latency_has_three_digits(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0001, "< 0.001"), (0.0496, "0.050"), (1.0, "1.000")])
def test_a_p_value_has_three_decimals(p: float | None, text: str) -> None:
    assert p_value(p) == text


def test_a_difference_has_a_sign_and_its_interval_where_there_is_one() -> None:
    assert difference({"difference": 0.01234, "low": -0.001, "high": 0.02}) == "+0.0123 (−0.0010\u00a0–\u00a0+0.0200)"
    assert difference({"difference": -0.5, "low": None, "high": None}) == "−0.5000"
    assert difference({"difference": -0.00001}) == "0.0000"
    assert difference(None) == "–"
