"""A run as a whole: what it returns, what it keeps, what it measures."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.torch import load_file

from tastelab.data.order import fitting_and_validation
from tastelab.data.tokens import open_store
from tastelab.evaluation.evaluate import evaluate
from tastelab.modeling.ranker import build_ranker, num_parameters
from tastelab.training.checkpoint import load_checkpoint
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.module import TrainingModule
from tastelab.training.run import run, thin

MakeJob = Callable[..., Job]
ONE_EPOCH = {"optim.epochs": 1, "evaluation.validations": 1}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("split", ["validation", "dev"])
def test_the_result_is_the_evaluation_of_the_model_that_is_kept(make_job: MakeJob, split: str) -> None:
    job = make_job({**ONE_EPOCH, "evaluation.split": split}, keep=True)
    result = run(job, LocalSession(job))
    ranker = build_ranker(job.config.model, job.encoder_path, seed=9)
    module = TrainingModule(ranker, job.config.objective, job.contrast_size)
    assert load_checkpoint(job.folder / "checkpoint", module, None)[0] == 4
    data = job.open_data()
    rows = fitting_and_validation(data, job.config.data)[1] if split == "validation" else np.arange(40)
    again = evaluate(ranker, data, open_store(job.store_path), "train" if split == "validation" else "dev",
                     rows=rows, max_history=5, precision="fp32")  # fmt: skip
    assert result["metrics"] == again.metrics
    assert result["counts"] == again.counts
    assert result["counts"]["n_total"] == 40
    kept = np.load(job.folder / "impressions.npz")
    assert set(kept) == {"rows", "auc", "mrr", "ndcg@5", "ndcg@10"}
    assert kept["rows"].tolist() == rows.tolist()
    assert all(np.array_equal(kept[name], again.values[name], equal_nan=True) for name in again.values)
    assert {file.name for file in job.folder.iterdir()} == {"checkpoint", "impressions.npz"}


def test_a_result_is_plain_values(make_job: MakeJob) -> None:
    job = make_job(ONE_EPOCH)
    result = run(job, LocalSession(job))
    assert json.loads(json.dumps(result)) == result
    # Rank 4 on 4 layers of 32 × 32, one of 32 × 64 and one of 64 × 32 in 2 blocks; an empty history and a mix weight.
    assert result["params_trained"] == 2 * 4 * (4 * 64 + 2 * 96) + 32 + 1
    assert result["params_total"] == num_parameters(build_ranker(job.config.model, job.encoder_path))
    assert result["workers"] == 1
    assert result["throughput"]["impressions_per_s"] > 0
    assert result["peak_memory_mb"] > 10
    assert result["train_time_s"] > 0
    assert not job.folder.exists(), "kept without being asked"


@pytest.mark.parametrize("values", [{"optim.epochs": 0}, {"optim.epochs": 0, "evaluation.split": "dev"}])
def test_no_epochs_measure_the_model_as_it_is_built(make_job: MakeJob, values: dict[str, object]) -> None:
    job = make_job(values)
    session = LocalSession(job)
    result = run(job, session)
    assert session.logged == session.reported == []
    ranker = build_ranker(job.config.model, job.encoder_path)
    split, rows = job.evaluation_rows(job.open_data())
    expected = evaluate(
        ranker, job.open_data(), open_store(job.store_path), split, rows=rows, max_history=5, precision="fp32"
    )
    assert result["metrics"] == expected.metrics
    assert not any(result["throughput"].values())


def test_a_cap_thins_validations_not_the_final_evaluation(make_job: MakeJob) -> None:
    job = make_job({**ONE_EPOCH, "evaluation.max_impressions": 6}, keep=True)
    session = LocalSession(job)
    result = run(job, session)
    values = np.load(job.folder / "impressions.npz")
    assert result["counts"]["n_total"] == 40
    thinned = np.isin(values["rows"], thin(values["rows"], 6))
    assert session.reported[-1]["val/mrr"] == pytest.approx(np.nanmean(values["mrr"][thinned]))
    assert result["metrics"]["mrr"]["mean"] == pytest.approx(np.nanmean(values["mrr"]))
    assert result["metrics"]["mrr"]["mean"] != session.reported[-1]["val/mrr"]


@pytest.mark.parametrize("most", [None, 1, 2, 7, 100, 1_000])
def test_thinning_is_even(most: int | None) -> None:
    rows = np.arange(0, 300, 3)
    thinned = thin(rows, most)
    assert len(thinned) == min(100, most or 100)
    assert thinned[0] == 0
    if len(thinned) > 1:
        assert thinned[-1] == rows[-1]
        assert np.ptp(np.diff(thinned)) <= 3


def test_a_frozen_model_is_kept_whole(make_job: MakeJob) -> None:
    """Nothing of the encoder is trained: the checkpoint holds the pooling alone."""
    from tastelab.config import Adaptation

    job = make_job({**ONE_EPOCH, "model.adaptation": Adaptation.named("frozen")}, keep=True)
    run(job, LocalSession(job))
    saved = load_file(job.folder / "checkpoint" / "model.safetensors")
    assert set(saved) == {"pooling.empty_D", "pooling.weight_logit", "objective.temperature.log_value"}
