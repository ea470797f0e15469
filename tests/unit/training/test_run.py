"""A run as a whole: what it returns, what it keeps, what it measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tastelab.config import Pooling
from tastelab.data.order import fitting_and_validation
from tastelab.data.tokens import open_store
from tastelab.evaluation.evaluate import evaluate
from tastelab.evaluation.health import representation_health
from tastelab.evaluation.whitening import fit_whitening
from tastelab.modeling.ranker import Ranker, build_ranker, num_parameters
from tastelab.training.checkpoint import load_checkpoint
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.module import TrainingModule
from tastelab.training.run import HEALTH_IMPRESSIONS, Tools, run, thin

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


def test_latency_is_measured_of_what_is_kept_alone(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[int]]] = []

    def measured(ranker: Ranker, data: object, store: object, split: str, rows: np.ndarray, *rest: object) -> Any:
        asked.append((split, rows.tolist()))
        return {"warm_1": 2.5}

    monkeypatch.setattr("tastelab.training.run.latency", measured)
    for keep in (False, True):
        job = make_job({**ONE_EPOCH, "evaluation.split": "dev"}, keep=keep)
        assert run(job, LocalSession(job))["latency_ms"] == ({"warm_1": 2.5} if keep else {})
    assert asked == [("dev", list(range(40)))]
    monkeypatch.setattr("tastelab.training.run.rank", lambda: 1)
    job = make_job(ONE_EPOCH)
    data = job.open_data()
    ranker = build_ranker(job.config.model, job.encoder_path)
    tools = Tools(job, ranker, data, open_store(job.store_path), torch.device("cpu"), np.arange(3))
    assert tools.latency("dev", np.arange(3)) == {}
    assert len(asked) == 1, "two workers would time each other"


def test_whitening_is_fitted_on_the_items_of_training(make_job: MakeJob) -> None:
    """By hand: every item that a fitting impression names, once; then the transform of all that is scored."""
    values = {"model.pooling": Pooling.named("mean"), "optim.epochs": 0, "evaluation.split": "dev"}
    values |= {"data.train_impressions": 4}  # so few that most items are new to the transform
    job = make_job({**values, "evaluation.whitening": True})
    result = run(job, LocalSession(job))
    data, store = job.open_data(), open_store(job.store_path)
    ranker = build_ranker(job.config.model, job.encoder_path).eval()
    fitting, _ = fitting_and_validation(data, job.config.data)
    train = data.impressions("train").take(fitting).to_pylist()
    items = np.unique([item for row in train for item in [*row["history"][-5:], *row["candidates"]]])
    assert 0 < len(items) < data.num_items
    tokens_UT, mask_UT = (torch.from_numpy(array) for array in store.gather(items))
    with torch.no_grad():
        vectors_UD = ranker.represent(torch.from_numpy(items), tokens_UT, mask_UT).vectors_UD
    assert vectors_UD is not None
    expected = evaluate(
        ranker, data, store, "dev", max_history=5, precision="fp32", whitening=fit_whitening(vectors_UD)
    )
    assert result["metrics"]["auc"]["mean"] == pytest.approx(expected.metrics["auc"]["mean"], abs=1e-3)
    plain = run(make_job(values), LocalSession(make_job(values)))
    assert result["metrics"]["auc"]["mean"] != pytest.approx(plain["metrics"]["auc"]["mean"], abs=2e-3)


def test_whitening_is_fitted_without_dropout(make_job: MakeJob) -> None:
    """A validation in the midst of training fits the vectors that it scores, and leaves the mode as it was."""
    job = make_job({"model.encoder.dropout": 0.5, "evaluation.whitening": True})
    ranker = build_ranker(job.config.model, job.encoder_path).train()
    store = open_store(job.store_path)
    tools = Tools(job, ranker, job.open_data(), store, torch.device("cpu"), np.arange(5))
    midst = tools.whitening()
    assert ranker.training
    ranker.eval()
    alone = tools.whitening()
    assert midst is not None and alone is not None
    torch.testing.assert_close(midst.mean_D, alone.mean_D)


def test_health_starts_before_training_and_is_measured_on_the_same_sample(make_job: MakeJob) -> None:
    job = make_job({**ONE_EPOCH, "evaluation.validations": 2, "evaluation.max_impressions": 5})
    session = LocalSession(job)
    curves = run(job, session)["curves"]
    data = job.open_data()
    rows = thin(fitting_and_validation(data, job.config.data)[1], HEALTH_IMPRESSIONS)
    assert len(rows) == 40, "a cap on validations is none on the sample"
    ranker = build_ranker(job.config.model, job.encoder_path)
    first = representation_health(ranker, data, open_store(job.store_path), rows, 5, torch.device("cpu"), "fp32")
    assert len(first) == 5
    for name, value in first.items():
        steps, values = curves[name]
        assert steps == [0, 2, 4]
        assert values == pytest.approx([value, *(report[name] for report in session.reported)], rel=1e-4)
