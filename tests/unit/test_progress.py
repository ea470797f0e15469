"""The line that a launch prints when a run ends."""

from __future__ import annotations

import math

import pytest

from tastelab.config import RunConfig, headline
from tastelab.presets.retrieval import candidate_generation
from tastelab.progress import Progress


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        (headline(RunConfig()), "AUC"),
        (headline(candidate_generation()), "HR@50"),
        ("hr@50_weekday", "HR@50 weekdays"),
        ("kl", "KL"),
        ("ctr", "CTR"),
    ],
)
def test_a_run_is_told_by_the_metric_that_choosing_looks_at(
    metric: str, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("final runs", 3, 1, metric)
    progress.line("CLRec", "finished", 0.12345, 61.4)
    assert capsys.readouterr().out == f"[final runs 2/3] CLRec: finished, {label} 0.1235, 61 s\n"


def test_a_run_without_a_value_says_so_or_why(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("search", 2)
    progress.line("CLRec", "pruned", math.nan, 5.0)
    progress.line("CLRec", "failed", None, 5.0, "The queue is too long.")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[search 1/2] CLRec: pruned, no result, 5 s"
    assert second == "[search 2/2] CLRec: failed, The queue is too long., 5 s"
