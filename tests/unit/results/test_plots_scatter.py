"""Health against AUC, and AUC against latency."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import spearmanr

from tastelab.results.drawing import house_style
from tastelab.results.health import HealthAgainstAUC, correlation_words, spearman
from tastelab.results.plots import Plot, write_plot
from tastelab.results.tradeoff import Tradeoff, frontier

Record = dict[str, Any]
HEALTH = HealthAgainstAUC("health", "Health")
TRADE = Tradeoff("trade", "Latency")
SYSTEMS = {"lora-2": (0.60, 1.0, 0.1), "lora-8": (0.70, 3.0, 0.05), "lora-32": (0.65, 40.0, 20.0), "full": (0.72, 9, 8)}


def draw(plot: Plot, records: list[Record]) -> Figure:
    with house_style():
        figure = plot.draw(records, "default")
        figure.draw_without_rendering()
    return figure


def points(axes: Axes) -> set[tuple[float, float]]:
    drawn = [np.asarray(marks.get_offsets(), float) for marks in axes.collections if not hasattr(marks, "get_segments")]
    return {(round(float(x), 6), round(float(y), 6)) for offsets in drawn for x, y in offsets}


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.fixture
def records(run: Callable[..., Record]) -> list[Record]:
    """Four systems, two seeds each, with health curves and latencies."""
    made = []
    for group, (auc, single, batch) in SYSTEMS.items():
        for seed in range(2):
            ends = {"mean_cosine": 1 - auc + 0.01 * seed, "uniformity": -auc, "pca_top5": 0.5}
            curves = {f"health/{name}": [[0, 10, 20], [0.3, end, None]] for name, end in ends.items()}
            latency = {"warm_1": single, "warm_64": batch}
            made.append(run("final", group, auc + 0.002 * seed, seed, curves=curves, latency_ms=latency))
    return [*made, run("baseline", "frozen", 0.55)]


def test_each_run_stands_at_its_last_health_and_its_metric(records: list[Record]) -> None:
    cosine, uniformity, variance = draw(HEALTH, records).axes
    finals = [record for record in records if record["role"] == "final"]
    for axes, name in ((cosine, "mean_cosine"), (uniformity, "uniformity"), (variance, "pca_top5")):
        ends = [(r["curves"][f"health/{name}"][1][1], r["metrics"]["auc"]["mean"]) for r in finals]
        assert points(axes) == {(round(x, 6), round(y, 6)) for x, y in ends}
    rho = spearmanr(
        [r["curves"]["health/mean_cosine"][1][1] for r in finals], [r["metrics"]["auc"]["mean"] for r in finals]
    )
    assert cosine.get_title(loc="left") == f"ρ = {rho.statistic:+.2f}, n = 8".replace("-", "−")
    assert variance.get_title(loc="left") == "ρ = undefined (all equal), n = 8"


def test_few_runs_make_no_correlation(records: list[Record]) -> None:
    axes = draw(HEALTH, records[:4]).axes[0]
    assert axes.get_title(loc="left") == "too few runs for ρ (n = 4)"
    assert correlation_words([(i, i) for i in range(5)]) == "ρ = +1.00, n = 5"


def test_a_measure_that_no_run_has_is_said_to_be_missing(records: list[Record]) -> None:
    plot = HealthAgainstAUC("h", "H", measures=(("health/alignment", "alignment"), ("health/mean_cosine", "cosine")))
    alignment, cosine = draw(plot, records).axes
    assert points(cosine)
    assert texts(alignment) == ["no finished run\nhas this yet"]
    assert any(label.get_text() and label.get_visible() for label in alignment.get_yticklabels())  # theirs both
    assert not any(label.get_visible() for label in alignment.get_xticklabels())
    empty = draw(HEALTH, [])
    assert "no finished run yet" in empty.texts[1].get_text()
    assert not empty.legends


@pytest.mark.parametrize(
    "values", [[(1, 2), (2, 1), (3, 5), (4, 4)], [(1, 1), (1, 2), (2, 2), (5, 0)], [(0.3, -1), (0.2, -1), (0.1, 4)]]
)
def test_the_rank_correlation_is_scipys(values: list[tuple[float, float]]) -> None:
    assert spearman(values) == pytest.approx(spearmanr(*zip(*values, strict=True)).statistic)


def test_the_rank_correlation_of_too_little_does_not_exist() -> None:
    assert spearman([(1, 2)]) is None
    assert spearman([(1, 2), (1, 3)]) is None


def test_each_system_stands_at_its_latencies_and_its_mean(records: list[Record]) -> None:
    axes = draw(TRADE, records).axes[0]
    expected = {(x, round(auc + 0.001, 6)) for auc, *latencies in SYSTEMS.values() for x in latencies}
    assert points(axes) == expected
    assert axes.get_xscale() == "log"


def test_the_frontiers_join_the_systems_that_none_beats(records: list[Record]) -> None:
    single, batch = draw(TRADE, records).axes[0].lines[:2]
    assert np.asarray(single.get_xdata(), float).tolist() == [1.0, 3.0, 9.0]
    assert np.asarray(batch.get_xdata(), float).tolist() == [0.05, 8.0]
    assert np.asarray(batch.get_ydata(), float) == pytest.approx([0.701, 0.721])


def test_a_frontier_is_what_exhaustive_comparison_keeps() -> None:
    rng = np.random.default_rng(0)
    cloud = [tuple(pair) for pair in rng.integers(0, 12, (60, 2)).astype(float)]
    beaten = [any((x <= a and y >= b) and (x, y) != (a, b) for x, y in cloud) for a, b in cloud]
    assert set(frontier(cloud)) == {point for point, out in zip(cloud, beaten, strict=True) if not out}


def test_the_names_of_systems_do_not_touch(run: Callable[..., Record]) -> None:
    records = [run("final", group, 0.6 + 0.001 * i, latency_ms={"warm_1": 1.0 + i}) for i, group in enumerate(SYSTEMS)]
    figure = draw(TRADE, records)
    named = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = sorted((Text.get_window_extent(text) for text in named), key=lambda box: box.y0)
    assert len(boxes) == 4
    assert all(below.y1 <= above.y0 + 0.5 for below, above in pairwise(boxes))
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_systems_without_latency_are_named(run: Callable[..., Record], records: list[Record]) -> None:
    slow = run("final", "late", 0.9, latency_ms={"warm_1": None})
    assert "without latency: late" in draw(TRADE, [*records, slow]).texts[1].get_text()
    assert texts(draw(TRADE, [slow]).axes[0]) == ["no finished run with a latency yet"]


def test_one_kind_of_latency_has_filled_marks_alone(records: list[Record]) -> None:
    plot = Tradeoff("t", "T", kinds=(("warm_64", "batch 64"),))
    figure = draw(plot, records)
    assert {x for x, _ in points(figure.axes[0])} == {latencies[2] for latencies in SYSTEMS.values()}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["batch 64, and its Pareto frontier"]
    with pytest.raises(ValueError, match="takes one or two kinds of latency, not 0"):
        Tradeoff("t", "T", kinds=())


@pytest.mark.parametrize("plot", [HEALTH, TRADE])
def test_the_same_records_give_the_same_bytes(plot: Plot, records: list[Record], tmp_path: Path) -> None:
    (first,), (second,) = (write_plot(plot, records, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert b"<path" in first.read_bytes()
