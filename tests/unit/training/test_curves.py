"""Curves: what is kept of a run, however long it was and however often it was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastelab.training.curves import MOST_POINTS, Curves
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run


def curves_of(steps: range | list[int], before: Curves | None = None) -> Curves:
    curves = before or Curves()
    for step in steps:
        curves.add(step, {"train/loss": 1 / step})
    return curves


def kept(curves: Curves, name: str = "train/loss") -> list[float]:
    return curves.as_json()[name][0]


def test_a_short_curve_is_kept_whole_in_five_digits() -> None:
    assert curves_of(range(1, 6)).as_json() == {"train/loss": [[1, 2, 3, 4, 5], [1.0, 0.5, 0.33333, 0.25, 0.2]]}
    assert kept(curves_of(range(1, 118))) == list(range(1, 118))


@pytest.mark.parametrize("total", [119, 120, 239, 240, 241, 1_000, 5_000])
def test_a_long_curve_is_thin_even_and_ends_with_its_last_step(total: int) -> None:
    steps = kept(curves_of(range(1, total + 1)))
    assert MOST_POINTS / 2 - 1 <= len(steps) <= MOST_POINTS
    assert (steps[0], steps[-1]) == (1, total)
    inner = [after - before for before, after in pairwise(steps[1:-1])]
    assert len(set(inner)) == 1, "the points between are evenly spaced"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 1_500), st.lists(st.integers(1, 1_499), max_size=4))
def test_where_a_run_was_cut_off_cannot_be_seen(total: int, cuts: list[int]) -> None:
    """Each part goes on from the checkpoint that the one before left, and measures the steps after it again."""
    resumed, done = Curves(), 0
    for cut in sorted({cut for cut in cuts if cut < total}):
        curves_of(range(done + 1, cut + 1), resumed)
        saved = json.loads(json.dumps(resumed.as_json()))
        curves_of(range(cut + 1, min(total, cut + 5)), resumed)  # lost with the process
        resumed, done = Curves(), cut
        resumed.resume(saved)
    assert curves_of(range(done + 1, total + 1), resumed).as_json() == curves_of(range(1, total + 1)).as_json()


@pytest.mark.parametrize("num", [1, 4, 20, 50])
@pytest.mark.parametrize("total", [64, 1_000, 62_797])
def test_validations_are_too_few_to_be_thinned(num: int, total: int) -> None:
    steps = [-(-total * part // num) for part in range(1, num + 1)]
    assert kept(curves_of(steps)) == steps


def test_only_what_is_worth_a_curve_is_kept() -> None:
    curves = Curves()
    names = ("train/loss", "train/grad_norm", "train/temperature", "val/auc", "health/mean_cosine")
    curves.add(0, dict.fromkeys((*names, "train/learning_rate", "train/epoch", "perf/impressions_per_s", "step"), 1.0))
    assert tuple(curves.as_json()) == names


def test_a_step_that_is_measured_again_stands_once_with_its_last_value() -> None:
    curves = curves_of([1, 2])
    curves.add(2, {"train/loss": 7.0, "val/auc": 0.5})
    assert curves.as_json() == {"train/loss": [[1, 2], [1.0, 7.0]], "val/auc": [[2], [0.5]]}


@pytest.mark.usefixtures("one_thread")
def test_a_resumed_run_has_the_curves_of_the_uninterrupted_one(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastelab.training.curves.MOST_POINTS", 6)  # so that 8 steps are thinned
    job = make_job({"evaluation.validations": 4, "evaluation.max_impressions": 5})
    whole = run(job, LocalSession(job, tmp_path))["curves"]
    resumed = run(job, LocalSession(job, resume=tmp_path / "step-4"))["curves"]
    assert resumed == whole
    assert whole["train/loss"][0] == [1, 2, 4, 6, 8]
    assert whole["val/auc"][0] == [2, 4, 6, 8]
    assert whole["health/mean_cosine"][0] == [0, 2, 4, 6, 8]
