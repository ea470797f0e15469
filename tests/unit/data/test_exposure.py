"""What was shown against what was clicked: counts and measures by hand, and an exposure world as it knows itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import entropy, linregress, pearsonr, spearmanr

from tastelab.data.exposure import Exposure, agreement, count_exposure, curve, exposure_report
from tastelab.data.exposure_log import prepare
from tastelab.data.exposure_truth import read_truth
from tastelab.data.exposure_world import ExposureSpec
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared


def counts(shown: list[int], clicked: list[int]) -> Exposure:
    return Exposure(np.array(shown), np.array(clicked))


def labelled(data: PreparedData, folder: Path, labels: list[list[int] | None]) -> PreparedData:
    """Write impressions that each show the items 0, 1 and 1, under these labels."""
    num = len(labels)
    table = pa.table(
        {
            "impression_id": [str(row) for row in range(num)],
            "user_id": ["u"] * num,
            "time": pa.nulls(num, pa.timestamp("s")),
            "history": pa.array([[]] * num, pa.list_(pa.int32())),
            "feedback": pa.nulls(num, pa.list_(pa.int8())),
            "candidates": pa.array([[0, 1, 1]] * num, pa.list_(pa.int32())),
            "labels": pa.array(labels, pa.list_(pa.int8())),
        }
    )
    with DatasetWriter(folder, folder.name) as writer:
        writer.write_items(data.items())
        writer.write_impressions("train", table)
    return open_prepared(folder)


def test_counts_are_those_of_a_loop(tiny_data: PreparedData) -> None:
    found = count_exposure(tiny_data)
    shown, clicked = np.zeros(tiny_data.num_items), np.zeros(tiny_data.num_items)
    for row in tiny_data.impressions("train").to_pylist():
        for item, label in zip(row["candidates"], row["labels"], strict=True):
            shown[item] += 1
            clicked[item] += label
    assert len(tiny_data.files("train")) > 1
    np.testing.assert_array_equal(found.shown_N, shown)
    np.testing.assert_array_equal(found.clicked_N, clicked)


def test_impressions_without_labels_do_not_count(tiny_data: PreparedData, tmp_path: Path) -> None:
    found = count_exposure(labelled(tiny_data, tmp_path / "some", [[0, 1, 1], None, [1, 0, 0]]))
    assert found.shown_N[:2].tolist() == [2, 4] and found.clicked_N[:2].tolist() == [1, 2]


def test_measures_are_those_of_scipy() -> None:
    shown, clicked = np.array([50, 20, 20, 7, 3, 0]), np.array([12, 6, 2, 3, 0, 0])
    found = agreement(Exposure(shown, clicked))
    q, p = shown[:5] / 100, clicked[:5] / 23
    smooth_q, smooth_p = (values[:5] + 0.5 for values in (shown, clicked))
    assert (found["num_shown"], found["num_clicks"], found["num_items"], found["num_items_clicked"]) == (100, 23, 5, 4)
    assert found["correlation"] == pytest.approx(spearmanr(q, p).statistic)
    assert found["pearson"] == pytest.approx(pearsonr(np.log(q[:4]), np.log(p[:4])).statistic)
    assert found["slope"] == pytest.approx(linregress(np.log(q[:4]), np.log(p[:4])).slope)
    assert found["kl_p_q"] == pytest.approx(entropy(smooth_p, smooth_q))
    assert found["kl_q_p"] == pytest.approx(entropy(smooth_q, smooth_p))
    assert found["total_variation"] == pytest.approx(np.abs(q - p).sum() / 2)


def test_what_is_shown_and_clicked_alike_agrees_in_full() -> None:
    found = agreement(counts([10, 20, 40, 30], [1, 2, 4, 3]))
    assert [found[key] for key in ("correlation", "pearson", "slope")] == pytest.approx([1, 1, 1])
    assert found["total_variation"] == pytest.approx(0, abs=1e-12)
    assert found["shown"] == pytest.approx(found["clicked"])
    json.dumps(found, allow_nan=False)


def test_where_nothing_varies_nothing_is_correlated() -> None:
    for exposure in (counts([5, 5], [1, 2]), counts([5, 3], [2, 2]), counts([5, 0], [1, 0])):
        found = agreement(exposure)
        assert found["correlation"] is None and found["pearson"] is None and found["slope"] is None
        json.dumps(found, allow_nan=False)


def test_a_curve_averages_the_items_of_a_bin_and_leaves_out_empty_ones() -> None:
    q, p = np.array([0.01, 0.0125, 0.1, 0.4, 0.4775]), np.array([0.0, 0.02, 0.08, 0.5, 0.4])
    found = curve(q, p, num_bins=4)  # edges at .01 · 47.75^(k/4): .026, .069, .182
    assert found["shown"] == pytest.approx([0.01125, 0.1, 0.43875])
    assert found["clicked"] == pytest.approx([0.01, 0.08, 0.45])
    assert found["share"] == pytest.approx([0.4, 0.2, 0.4])


def test_a_world_shows_what_its_policy_says(tmp_path: Path) -> None:
    data = prepare(tmp_path / "world", ExposureSpec(20_000, 1, num_items=40, num_states=2, num_intents=2, personal=0.0))
    truth, found = read_truth(data), count_exposure(data)
    np.testing.assert_allclose(found.q_N, truth.q_N, atol=0.01)
    np.testing.assert_allclose(found.p_N, truth.data_N, atol=0.01)
    report = exposure_report(data)
    expected = linregress(np.log(truth.q_N[:40]), np.log(truth.data_N[:40]))
    assert report["slope"] == pytest.approx(expected.slope, abs=0.05) and expected.slope > 1.2
    assert report["pearson"] == pytest.approx(expected.rvalue, abs=0.02)
    exact = float(np.sum(truth.data_N[:40] * np.log(truth.data_N[:40] / truth.q_N[:40])))
    assert report["kl_p_q"] == pytest.approx(exact, abs=0.01) and exact > 0.01


def test_data_without_labels_or_clicks_are_refused(tiny_data: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train split of 'unlabelled' has no labels: choose a split"):
        count_exposure(labelled(tiny_data, tmp_path / "unlabelled", [None, None]))
    with pytest.raises(ValueError, match="Nothing was clicked in the train split of 'cold'"):
        count_exposure(labelled(tiny_data, tmp_path / "cold", [[0, 0, 0]]))
    with pytest.raises(ValueError, match="has no split 'test'"):
        count_exposure(tiny_data, "test")
