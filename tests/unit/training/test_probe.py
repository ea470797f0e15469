"""A trained model measured once more, against an evaluation of the same model by hand."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tastelab.config import Pooling, replace_at
from tastelab.data.domains import domains, rows_of
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import open_store
from tastelab.evaluation.evaluate import evaluate
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.probe import load_model, probe
from tastelab.training.run import run

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")
TRAINED = {
    "optim.epochs": 1,
    "evaluation.validations": 1,
    "evaluation.split": "dev",
    "model.pooling": Pooling.named("mean"),
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(make_job: MakeJob, signed_data: PreparedData) -> Job:
    """A finished run on data with dislikes, its model in its home."""
    job = make_job(TRAINED, keep=True, data=signed_data)
    result = run(job, LocalSession(job))
    assert result["gamma"] > 0 and result["gamma"] != 0.5, "γ did not learn"
    assert result["slices"]["items"][0]["n"] + result["slices"]["items"][1]["n"] == result["metrics"]["auc"]["n"]
    return job


def other(make_job: MakeJob, trained: Job, values: dict[str, Any]) -> Job:
    """The job of a probe of `trained`: other texts have a token store of their own."""
    made = make_job({**TRAINED, **values}, data=trained.open_data())
    return dataclasses.replace(trained, config=replace_at(trained.config, values), store_path=made.store_path)


def test_a_model_is_measured_with_other_texts(make_job: MakeJob, trained: Job) -> None:
    cases: dict[str, dict[str, Any]] = {
        "as trained": {},
        "abstracts": {"data.features": ("abstract",)},
        "half": {"data.missing": 0.5},
        "nothing": {"data.missing": 1.0},
        "short": {"data.title_words": 1},
    }
    jobs = {name: other(make_job, trained, values) for name, values in cases.items()}
    found = {name: result for job, result in probe(trained, list(jobs.values()), CPU)
             for name, each in jobs.items() if each is job}  # fmt: skip
    data = trained.open_data()
    model = load_model(trained, data, CPU)
    for name, job in jobs.items():
        store = open_store(job.store_path)
        expected = evaluate(model, data, store, "dev", max_history=5, precision="fp32")
        assert found[name]["metrics"] == expected.metrics, name
        assert found[name]["counts"] == expected.counts, name
    assert found["nothing"]["metrics"]["auc"]["mean"] == 0.5
    assert len({found[name]["metrics"]["auc"]["mean"] for name in cases}) == len(cases)


def test_what_is_measured_otherwise_is_not_cut_from_what_the_run_kept(make_job: MakeJob, trained: Job) -> None:
    cases: dict[str, dict[str, Any]] = {"history": {"data.max_history": 1}, "ties": {"evaluation.ties": "official"}}
    jobs = [other(make_job, trained, values) for values in ({}, *cases.values())]
    found = {id(job): result["metrics"] for job, result in probe(trained, jobs, CPU)}
    data, model = trained.open_data(), load_model(trained, trained.open_data(), CPU)
    store = open_store(trained.store_path)
    shorter = evaluate(model, data, store, "dev", max_history=1, precision="fp32").metrics
    official = evaluate(model, data, store, "dev", max_history=5, precision="fp32", ties="official").metrics
    assert [found[id(job)] for job in jobs[1:]] == [shorter, official]
    assert found[id(jobs[0])]["auc"] != shorter["auc"]


def test_a_model_with_words_of_its_own_reads_no_other_texts(make_job: MakeJob, trained: Job) -> None:
    texts = other(make_job, trained, {"data.features": ("abstract",)})
    texts = dataclasses.replace(texts, encoder_fingerprint="another vocabulary")
    with pytest.raises(ValueError, match="has words of its own, those of the texts that it was trained on"):
        list(probe(trained, [texts], CPU))


def test_domains_are_cut_from_what_the_run_kept(make_job: MakeJob, trained: Job) -> None:
    data = trained.open_data()
    names = domains(data)
    jobs = [other(make_job, trained, {"evaluation.domains": (name,)}) for name in names]
    shutil.rmtree(trained.folder / "checkpoint")  # no model is needed
    model_free = {job.config.evaluation.domains: result for job, result in probe(trained, jobs, CPU)}
    kept = np.load(trained.folder / "impressions.npz")
    for name in names:
        rows = rows_of(data, "dev", [name])
        result = model_free[(name,)]
        assert result["counts"]["n_total"] == len(rows)
        values = kept["auc"][np.isin(kept["rows"], rows)]
        assert result["metrics"]["auc"]["mean"] == pytest.approx(np.nanmean(values))
        assert result["metrics"]["auc"]["n"] == np.isfinite(values).sum()


def test_a_domain_that_is_trained_on_alone_is_fitted_and_validated_alone(
    make_job: MakeJob, signed_data: PreparedData
) -> None:
    from tastelab.data.order import fitting_and_validation

    name = domains(signed_data)[-1]
    config = make_job({"data.domains": (name,)}, data=signed_data).config.data
    fitting, validation = fitting_and_validation(signed_data, config)
    both = np.sort(np.concatenate([fitting, validation]))
    assert both.tolist() == rows_of(signed_data, "train", [name]).tolist()
    with pytest.raises(ValueError, match="has no domain 'mars'"):
        fitting_and_validation(signed_data, dataclasses.replace(config, domains=("mars",)))
    few = dataclasses.replace(config, validation_share=0.001)
    with pytest.raises(ValueError, match=f"train impressions of {name} leaves 0 to validate on"):
        fitting_and_validation(signed_data, few)
