"""A finished ranker measured behind the retrieval of another finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tastelab.config import Auxiliary, replace_at
from tastelab.data.tokens import open_store
from tastelab.evaluation.evaluate import evaluate
from tastelab.evaluation.pipeline import catalogue, pipeline
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.probe import load_model, probe
from tastelab.training.run import run

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")
TRAINED = {
    "optim.epochs": 1,
    "optim.learning_rate": 1e-2,
    "evaluation.validations": 1,
    "evaluation.split": "dev",
    "evaluation.retrieve": 20,
    "objective.auxiliaries": (Auxiliary.named("in_batch"),),
}

pytestmark = pytest.mark.usefixtures("one_thread")


def measured(ranker: Job, **values: Any) -> dict[str, Any]:
    """The metrics of a probe of a run."""
    fields = {f"evaluation.{name}": value for name, value in values.items()}
    other = dataclasses.replace(ranker, config=replace_at(ranker.config, fields))
    ((_, result),) = probe(ranker, [other], CPU)
    metrics: dict[str, Any] = result["metrics"]
    return metrics


def test_one_run_retrieves_and_another_ranks(make_job: MakeJob) -> None:
    ranker = make_job({**TRAINED, "objective.auxiliaries": ()}, keep=True)
    retriever = make_job({**TRAINED, "objective.ranking_weight": 0.0, "seed": 1}, keep=True, home=ranker.cluster.home)
    results = {job.run_id: run(job, LocalSession(job)) for job in (ranker, retriever)}
    data, store = ranker.open_data(), open_store(ranker.store_path)
    ranks, retrieves = (load_model(job, data, CPU) for job in (ranker, retriever))
    _, index_MD = catalogue(retrieves, data, store, CPU, "fp32")
    expected = pipeline(ranks, data, store, "dev", 20, max_history=5, precision="fp32", index_MD=index_MD)
    found = measured(ranker, retriever=retriever.run_id)
    shown = evaluate(ranks, data, store, "dev", max_history=5, precision="fp32")
    assert found == {**shown.metrics, **{name: expected.metrics[name] for name in expected.values}}
    assert found["auc"] == results[ranker.run_id]["metrics"]["auc"], "what was shown is ranked as before"
    assert found["hr@20"]["mean"] == pytest.approx(results[retriever.run_id]["metrics"]["hr@20"]["mean"])
    assert found["pipeline_mrr"] != results[ranker.run_id]["metrics"]["pipeline_mrr"]
    assert found["pipeline_mrr"] != results[retriever.run_id]["metrics"]["pipeline_mrr"]


def test_a_probe_of_other_texts_retrieves_too(make_job: MakeJob) -> None:
    job = make_job({**TRAINED, "optim.epochs": 0}, keep=True)
    whole = run(job, LocalSession(job))["metrics"]
    again = measured(job, ties="official")
    same = [name for name in whole if "hr@" in name or name == "pipeline_mrr"]
    assert len(same) == 4
    assert all(again[name] == whole[name] for name in same)
    with np.load(job.folder / "impressions.npz") as kept:
        assert set(kept) >= set(same)


def test_a_retriever_that_left_nothing_is_an_error_of_the_file(make_job: MakeJob) -> None:
    job = make_job({**TRAINED, "optim.epochs": 0}, keep=True)
    run(job, LocalSession(job))
    with pytest.raises(OSError, match=r"nowhere/checkpoint/config\.json"):
        measured(job, retriever="nowhere")
