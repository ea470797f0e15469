"""`tastelab evaluate` and `tastelab submit`, and a command line that answers at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tastelab.cli import main
from tastelab.data.tables import PreparedData
from tastelab.metrics import ranking

METRICS = {"auc", "mrr", "ndcg@5", "ndcg@10"}
PLATFORM = Path(__file__).parents[2] / "platform"


def call(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def evaluated(*words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("evaluate", *words, "--json"))
    return found


@pytest.fixture
def on_tiny(tiny_data: PreparedData, tiny_bert: Path) -> list[object]:
    return ["--data", tiny_data.path, "--encoder", tiny_bert]


def test_json_holds_metrics_with_intervals_and_counts(on_tiny: list[object], tiny_data: PreparedData) -> None:
    found = evaluated(*on_tiny)
    assert set(found) == {"metrics", "counts", "slices"}
    assert set(found["metrics"]) == METRICS
    for value in found["metrics"].values():
        assert set(value) == {"mean", "low", "high", "n"}
        assert value["low"] <= value["mean"] <= value["high"]
    labels, histories = (tiny_data.impressions("dev")[name].to_pylist() for name in ("labels", "history"))
    mixed = sum(0 < sum(row) < len(row) for row in labels)
    assert found["counts"] == {
        "n_total": len(labels),
        "n_scored": mixed,
        "n_single_class": len(labels) - mixed,
        "n_empty_history": sum(not row for row in histories),
    }
    assert found["metrics"]["auc"]["n"] == mixed
    assert found["metrics"]["mrr"]["n"] == sum(any(row) for row in labels)
    assert all(sum(part["n"] for part in parts) == mixed for parts in found["slices"].values())


def test_a_shorter_history_and_other_features_are_other_results(on_tiny: list[object]) -> None:
    whole = evaluated(*on_tiny)
    assert evaluated(*on_tiny, "--max-history", "50") == whole
    assert evaluated(*on_tiny, "--max-history", "1")["metrics"] != whole["metrics"]
    assert evaluated(*on_tiny, "--features", "title, abstract")["metrics"] != whole["metrics"]
    assert evaluated(*on_tiny, "--split", "train")["counts"]["n_total"] == 200


def test_ties_follow_the_dialect(on_tiny: list[object]) -> None:
    # Impressions without a history tie all their candidates, so the dialects differ, but never in AUC.
    expected, official = (evaluated(*on_tiny, "--ties", ties)["metrics"] for ties in ("expected", "official"))
    assert expected["mrr"]["mean"] != official["mrr"]["mean"]
    assert expected["auc"] == official["auc"]


def test_without_json_a_table_is_printed(on_tiny: list[object]) -> None:
    metrics = evaluated(*on_tiny)["metrics"]
    lines = call("evaluate", *on_tiny).splitlines()
    empty = lines.index("")
    assert [line.split()[0] for line in lines[: empty - 1]] == ["metric", *metrics]
    assert f"{metrics['auc']['mean']:.4f}" in lines[1]
    assert "n_total 40" in lines[empty - 1]
    assert lines[empty + 1].split() == ["slice", "of", "slice", "n", "auc", "95", "%", "interval"]
    assert any(line.split()[:2] == ["users", "cold"] and line.endswith("too few (0)") for line in lines)


def test_a_submission_ranks_every_candidate_in_the_order_of_the_file(
    on_tiny: list[object], tiny_data: PreparedData, tmp_path: Path
) -> None:
    said = call("submit", *on_tiny, "--split", "dev", "--output", tmp_path / "out.zip")
    assert "40 impressions" in said
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["prediction.txt"]
        lines = archive.read("prediction.txt").decode().splitlines()
    dev = tiny_data.impressions("dev", ["impression_id", "candidates", "labels"]).to_pylist()
    assert [line.split(" ")[0] for line in lines] == [row["impression_id"] for row in dev]
    assert all(re.fullmatch(r"\S+ \[\d+(,\d+)*\]", line) for line in lines)
    ranks = [json.loads(line.split(" ")[1]) for line in lines]
    assert [sorted(row) for row in ranks] == [list(range(1, len(row["candidates"]) + 1)) for row in dev]
    # Measured as MIND's script measures a submission, it is the same model as `evaluate` measures.
    scores, labels = -np.concatenate(ranks), np.concatenate([row["labels"] for row in dev])
    offsets = np.cumsum([0, *map(len, ranks)])
    official = ranking.summary(ranking.per_impression(scores, labels, offsets, ties="official"))
    found = evaluated(*on_tiny, "--ties", "official")["metrics"]
    for name in ("mrr", "ndcg@5", "ndcg@10"):
        assert official[name]["mean"] == pytest.approx(found[name]["mean"], abs=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_frozen_minilm_on_real_impressions(test_data: Path, minilm: Path, tmp_path: Path) -> None:
    folder = test_data / "mix_sample"
    options = ["--data", folder, "--encoder", minilm, "--max-history", "20", "--home", tmp_path]
    found = evaluated(*options)
    assert found["metrics"]["auc"]["mean"] == pytest.approx(0.572, abs=0.010)
    assert found["counts"]["n_total"] == 895
    assert len(list((tmp_path / "datasets").iterdir())) == 1, "a raw folder is prepared once and kept"


HEAVY = ("torch", "ray", "transformers", "pyarrow", "polars", "optuna", "matplotlib", "numpy", "sklearn")


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "--help"], ["data", "prepare", "--help"], ["--version"]])
def test_help_needs_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom tastelab.cli import main\n"
        f"try:\n    main({words!r})\nfinally:\n    print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(PLATFORM)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
