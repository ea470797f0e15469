"""The temperature: its start, its range, and the way back into it."""

from __future__ import annotations

import pytest

from tastelab.losses.objective import HIGHEST, LOWEST, Temperature, check_temperature


def test_a_fixed_temperature_is_its_start_and_has_no_parameter() -> None:
    temperature = Temperature(0.07)
    assert temperature().item() == pytest.approx(0.07)
    assert not list(temperature.parameters())
    assert Temperature(3.0)().item() == pytest.approx(3.0)


def test_a_learnable_temperature_starts_at_its_start_and_has_the_gradient_of_its_logarithm() -> None:
    temperature = Temperature(0.05, learnable=True)
    value = temperature()
    assert value.item() == pytest.approx(0.05)
    (7.0 * value).backward()
    assert temperature.log_value.grad is not None
    assert temperature.log_value.grad.item() == pytest.approx(7.0 * 0.05)


@pytest.mark.parametrize(("log_value", "bound", "inwards"), [(-9.0, LOWEST, -1.0), (2.0, HIGHEST, 1.0)])
def test_beyond_a_bound_it_is_held_there_and_may_only_come_back(log_value: float, bound: float, inwards: float) -> None:
    for sign in (inwards, -inwards):
        temperature = Temperature(0.05, learnable=True)
        temperature.log_value.data.fill_(log_value)
        value = temperature()
        assert value.item() == pytest.approx(bound)
        (sign * value).backward()
        assert temperature.log_value.grad is not None
        assert (temperature.log_value.grad.item() * sign > 0) == (sign == inwards)


@pytest.mark.parametrize("start", [0.0, -0.1, float("nan"), float("inf")])
def test_a_start_that_cannot_divide_is_refused(start: float) -> None:
    with pytest.raises(ValueError, match="choose a number above 0"):
        Temperature(start)
    with pytest.raises(ValueError, match="choose a number above 0"):
        check_temperature(start)


@pytest.mark.parametrize("start", [0.001, 2.0])
def test_a_learnable_start_outside_the_range_is_refused(start: float) -> None:
    with pytest.raises(ValueError, match=r"choose a number from 0\.005 to 1\.0"):
        Temperature(start, learnable=True)
