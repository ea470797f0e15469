"""How poor trials of a search are asked to end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tastelab.cluster.trial import METRIC, TIME
from tastelab.cluster.tuner import AskingASHA


class Trials:
    """Trials that a scheduler judges, each with the file that asks it to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = AskingASHA(
            ask=lambda trial: folder / trial.trial_id / "stop",
            time_attr=TIME,
            metric=METRIC,
            mode="max",
            grace_period=1,
            reduction_factor=2,
            max_t=5,
        )

    def start(self, name: str) -> Any:
        trial = SimpleNamespace(trial_id=name, config={})
        self.scheduler.on_trial_add(None, trial)
        return trial

    def report(self, trial: Any, value: float, validation: int = 1) -> str:
        return self.scheduler.on_trial_result(None, trial, {METRIC: value, TIME: validation, "step": 10 * validation})

    def asked(self) -> set[str]:
        return {file.parent.name for file in self.folder.glob("*/stop")}


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    return Trials(tmp_path)


def test_a_poor_trial_is_asked_to_end_and_none_is_killed(trials: Trials) -> None:
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7), ("d", 0.4)):
        assert trials.report(trials.start(name), value) == "CONTINUE"
    assert trials.asked() == {"d"}


def test_the_best_trial_so_far_is_never_asked(trials: Trials) -> None:
    running = [trials.start(name) for name in "abc"]
    for validation in (1, 2, 3):
        for trial, value in zip(running, (0.3, 0.2, 0.9), strict=True):
            trials.report(trial, value + validation / 100, validation)
    assert "c" not in trials.asked()
    assert trials.asked()


def test_the_end_of_a_trial_is_no_validation(trials: Trials) -> None:
    first, second = trials.start("a"), trials.start("b")
    trials.report(first, 0.9)
    end = {METRIC: float("nan"), TIME: 0, "pruned": True}
    assert trials.scheduler.on_trial_result(None, second, end) == "CONTINUE"
    trials.scheduler.on_trial_complete(None, second, end)
    assert trials.asked() == set()
