"""The rows of candidate generation that train nothing, from a job to what is recorded of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tastelab.config import RetrievalConfig, replace_at
from tastelab.data.clicks import fitting_and_validation_clicks, reported_clicks
from tastelab.data.sequences import prepare_sequences
from tastelab.training.job import Job
from tastelab.untrained_retrieval import RETRIEVAL_BASELINES, measured_by, score_retrieval_baseline

VALUES: dict[str, Any] = {
    "retrieval": RetrievalConfig(ks=(5, 10), metric="hr@10", diversity_users=20),
    "evaluation.split": "dev",
    "data.train_impressions": 30,
}


@pytest.fixture
def retrieving(make_job: Any) -> Any:
    return lambda **changes: make_job({**VALUES, **changes})


def test_popularity_is_the_share_of_dev_clicks_on_the_most_clicked_items(retrieving: Any) -> None:
    """The cap on training clicks is of what is trained: popularity counts all that training may see."""
    job: Job = retrieving()
    sequences = prepare_sequences(job.open_data())
    whole = replace_at(job.config, {"data.train_impressions": None}).data
    fitting, _ = fitting_and_validation_clicks(sequences, whole)
    clicks_N = np.bincount(np.asarray(sequences.items)[fitting], minlength=job.open_data().num_items)
    best = np.argsort(-clicks_N, kind="stable")[:10]
    targets = np.asarray(sequences.items)[reported_clicks(sequences, "dev")]
    found = score_retrieval_baseline(job, "popularity")
    assert found["metrics"]["hr@10"]["mean"] == pytest.approx(np.isin(targets, best).mean())
    assert found["metrics"]["hr@5"]["mean"] == pytest.approx(np.isin(targets, best[:5]).mean())
    assert found["metrics"]["diversity"]["mean"] == 10
    assert found["counts"]["n_total"] == len(targets)
    assert sum(found["degrees"]["items"]) == job.open_data().num_items
    assert found["wall_time_s"] >= 0


def test_the_validation_part_is_measured_where_it_is_reported(retrieving: Any) -> None:
    job: Job = retrieving(**{"evaluation.split": "validation"})
    _, validation = fitting_and_validation_clicks(prepare_sequences(job.open_data()), job.config.data)
    for name in RETRIEVAL_BASELINES:
        assert score_retrieval_baseline(job, name)["counts"]["n_total"] == len(validation)


def test_a_random_list_covers_more_and_is_less_popular(retrieving: Any) -> None:
    random, popular = (score_retrieval_baseline(retrieving(), name)["metrics"] for name in RETRIEVAL_BASELINES)
    assert random["coverage"]["mean"] > popular["coverage"]["mean"]
    assert random["popularity"]["mean"] < popular["popularity"]["mean"]


@pytest.mark.parametrize(
    ("path", "value"), [("ks", (5,)), ("exclude_seen", True), ("diversity_users", 3), ("num_vectors", 2)]
)
def test_a_baseline_is_measured_again_where_its_measurement_changes(retrieving: Any, path: str, value: Any) -> None:
    before = retrieving().config.retrieval
    after = replace_at(retrieving().config, {f"retrieval.{path}": value}).retrieval
    assert (measured_by(before) != measured_by(after)) == (path != "num_vectors"), "a baseline has one list"
