"""Runs of candidate generation: any number of workers alike, resumed as uninterrupted, measured, kept, served."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tastelab.config import CandidateLoss, RetrievalConfig, UserTower, replace_at
from tastelab.data.negatives import Drawer
from tastelab.data.tables import PreparedData
from tastelab.evaluation.collectives import world_size
from tastelab.presets import retrieval as presets
from tastelab.training.candidate_checkpoint import load_candidates
from tastelab.training.candidate_module import CandidateModule
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.retrieve import drawn, evaluated_rows, retrieve, settle

MakeJob = Callable[..., Job]

BASE = {
    "retrieval": RetrievalConfig(ks=(5, 10), metric="hr@10", diversity_users=20),
    "retrieval.items.width": 8,
    "retrieval.loss.queue": 64,
    "optim.global_batch": 32,
    "optim.epochs": 2,
    "optim.learning_rate": 1e-2,
    "evaluation.split": "dev",
}
SYSTEMS: dict[str, dict[str, Any]] = {
    "full softmax": presets.contrast("full_softmax"),
    "negative sampling": presets.contrast("negative_sampling", shared=False, negatives=5),
    "shared negative sampling": presets.contrast("negative_sampling", shared=True, negatives=20),
    "sampled softmax": presets.contrast("sampled_softmax", negatives=20),
    "drawn for each": presets.contrast("sampled_softmax", negatives=5, shared=False, distribution="uniform"),
    "ipw": presets.contrast("ipw"),
    "clrec": {"retrieval.learnable_temperature": True},
    "clrec cached": presets.contrast("clrec", queue=64, cached=True),
    "clrec batch alone": presets.contrast("clrec", queue=0),
    "sasrec, whole windows": {**presets.tower("sasrec"), "retrieval.targets": "window"},
    "mean, whole windows": {**presets.tower("mean"), "retrieval.targets": "window"},
    "multi-interest": presets.multi_interest(),
    "multi-clrec": presets.multi_clrec(num_intents=3, queue=32, intent_queue=8),
    "trained text": {"retrieval.items.text": "trained"},
    "text alone": presets.items(width=8, ids=False, category=False, source=False, tags=False),
    "no text": {"retrieval.items.text": "none"},
}


@pytest.fixture(scope="module")
def job_of(make_job: MakeJob) -> Callable[..., Job]:
    """Function that builds the job of a system on the tiny data, its model kept."""

    def build(name: str, **changes: Any) -> Job:
        return make_job({**BASE, **SYSTEMS[name], **changes}, keep=True)

    return build


@pytest.fixture(scope="module")
def alone(job_of: Callable[..., Job]) -> dict[str, tuple[LocalSession, dict[str, Any]]]:
    """What one worker logged for every system, and its results."""
    seen = {}
    for name in SYSTEMS:
        session = LocalSession(job_of(name))
        seen[name] = (session, retrieve(session.job, session))
    return seen


def test_the_systems_are_all_that_are_registered() -> None:
    losses = {system["retrieval.loss"].name for system in SYSTEMS.values() if "retrieval.loss" in system} | {"clrec"}
    towers = {system["retrieval.user"].name for system in SYSTEMS.values() if "retrieval.user" in system} | {"weighted"}
    assert losses | {"bernoulli_ipw"} == set(CandidateLoss.members)
    assert towers == set(UserTower.members)


def test_two_workers_train_and_measure_like_one(
    alone: dict[str, tuple[LocalSession, dict[str, Any]]],
    job_of: Callable[..., Job],
    on_two_workers: Callable[[Mapping[str, Job]], list[dict[str, Any]]],
) -> None:
    ranks = on_two_workers({name: job_of(name) for name in SYSTEMS})
    for name, (session, result) in alone.items():
        for rank in ranks:
            theirs = rank[name]["logged"]
            assert [step["step"] for step in theirs] == [step["step"] for step in session.logged], name
            for ours, other in zip(session.logged, theirs, strict=True):
                assert other["train/loss"] == pytest.approx(ours["train/loss"], rel=2e-4), name
                assert other["train/grad_norm"] == pytest.approx(ours["train/grad_norm"], rel=2e-3), name
                assert other["train/temperature"] == pytest.approx(ours["train/temperature"], rel=1e-5), name
                for scalar in ("queue/staleness", "queue/filled"):
                    assert other.get(scalar) == ours.get(scalar), name
            assert rank[name]["result"]["counts"] == result["counts"]
            assert rank[name]["result"]["metrics"]["hr@10"]["mean"] == pytest.approx(
                result["metrics"]["hr@10"]["mean"], abs=0.03
            ), name


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_learns_and_keeps_what_a_record_needs(
    name: str, alone: dict[str, tuple[LocalSession, dict[str, Any]]]
) -> None:
    session, result = alone[name]
    losses = [step["train/loss"] for step in session.logged]
    assert np.isfinite(losses).all()
    assert {"hr@5", "hr@10", "diversity", "coverage", "gini", "popularity"} <= set(result["metrics"])
    assert 0 <= result["metrics"]["hr@5"]["mean"] <= result["metrics"]["hr@10"]["mean"] <= 1
    assert result["params_trained"] > 0
    assert result["throughput"]["impressions_per_s"] > 0
    assert session.reported[-1]["objective"] == session.reported[-1]["val/hr@10"]
    with np.load(session.job.folder / "impressions.npz") as kept:
        assert kept["hr@10"].mean() == pytest.approx(result["metrics"]["hr@10"]["mean"])


def test_the_loss_falls(alone: dict[str, tuple[LocalSession, dict[str, Any]]]) -> None:
    """Of what is contrasted with the same at every step; a queue that fills makes the task harder."""
    for name in ("full softmax", "sampled softmax", "clrec batch alone"):
        losses = [step["train/loss"] for step in alone[name][0].logged]
        assert np.mean(losses[-3:]) < np.mean(losses[:3]), name


@pytest.mark.parametrize("name", ["clrec", "clrec cached", "multi-clrec"])
def test_a_resumed_run_ends_bit_identical_its_queue_included(
    name: str, job_of: Callable[..., Job], tmp_path: Path
) -> None:
    changes = {"evaluation.validations": 4}
    whole = LocalSession(job_of(name, **changes), checkpoints=tmp_path / "whole")
    expected = retrieve(whole.job, whole)
    cut = sorted((tmp_path / "whole").iterdir(), key=lambda folder: int(folder.name.split("-")[1]))[1]
    assert any(key.startswith("objective.queue.") for key in load_file(cut / "model.safetensors"))
    resumed = LocalSession(job_of(name, **changes), resume=cut)
    result = retrieve(resumed.job, resumed)
    start = int(cut.name.split("-")[1])
    assert resumed.logged == whole.logged[start:]
    assert result["metrics"] == expected["metrics"]
    ours, theirs = (load_file(s.job.folder / "checkpoint" / "model.safetensors") for s in (resumed, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("targets", ["each", "window"])
def test_every_click_has_negatives_of_its_own(
    targets: str, job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def each(self: Drawer, num: int, rows_N: np.ndarray, seed: int, epoch: int, last_N: np.ndarray) -> np.ndarray:
        rows.extend(rows_N.tolist())
        return original(self, num, rows_N, seed, epoch, last_N)

    original = Drawer.each
    monkeypatch.setattr(Drawer, "each", each)
    job = job_of("drawn for each", **presets.tower("mean"), **{"retrieval.targets": targets, "optim.epochs": 1})
    retrieve(job, LocalSession(job))
    fitting = settle(job, torch.device("cpu")).fitting
    assert len(rows) == len(set(rows)) == len(fitting)
    if targets == "each":
        assert sorted(rows) == fitting.tolist()


def test_the_queue_holds_the_last_positives_and_tells_their_age(
    alone: dict[str, tuple[LocalSession, dict[str, Any]]],
) -> None:
    logged = alone["clrec"][0].logged
    assert [step["queue/filled"] for step in logged[:3]] == [32.0, 64.0, 64.0]
    assert [step["queue/staleness"] for step in logged[:3]] == [0.0, 0.5, 0.5]
    curves = alone["clrec"][1]["curves"]
    assert curves["queue/filled"][1][:3] == [32.0, 64.0, 64.0]


def test_a_checkpoint_is_rebuilt_over_its_data(
    alone: dict[str, tuple[LocalSession, dict[str, Any]]], tiny_data: PreparedData
) -> None:
    for name in ("clrec", "multi-clrec", "no text"):
        session, _ = alone[name]
        folder = session.job.folder / "checkpoint"
        about = json.loads((folder / "config.json").read_text())
        if name != "no text":
            with pytest.raises(ValueError, match="encoder"):
                load_candidates(folder, tiny_data)
        model, config, said = load_candidates(folder, tiny_data, session.job.encoder_path)
        assert config == session.job.config
        assert said["run_id"] == about["run_id"] == session.job.run_id
        state = load_file(folder / "model.safetensors")
        for key, value in model.named_parameters():
            if value.requires_grad:
                assert torch.equal(value, state[key]), key


def test_a_checkpoint_of_other_data_or_of_a_ranker_is_refused(
    alone: dict[str, tuple[LocalSession, dict[str, Any]]],
    tiny_data: PreparedData,
    signed_data: PreparedData,
    tmp_path: Path,
) -> None:
    folder = alone["no text"][0].job.folder / "checkpoint"
    with pytest.raises(ValueError, match="pass the data that it was trained on"):
        load_candidates(folder, signed_data)
    with pytest.raises(ValueError, match=r"is no checkpoint, it has no config\.json"):
        load_candidates(tmp_path, tiny_data)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text('{"config": {}}')
    with pytest.raises(ValueError, match="trained to rank, not to retrieve"):
        load_candidates(tmp_path, tiny_data)


def test_data_too_small_for_the_settings_are_refused_before_training(job_of: Callable[..., Job]) -> None:
    with pytest.raises(ValueError, match="queue"):
        settle(job_of("clrec", **{"retrieval.loss.queue": 100_000}), torch.device("cpu"))
    with pytest.raises(ValueError, match="no world of known policy"):
        setting = settle(job_of("ipw"), torch.device("cpu"))
        drawn(setting, replace_at(job_of("ipw").config, presets.contrast("ipw", propensity="true")))


def test_the_frozen_encoder_retrieves_untrained(job_of: Callable[..., Job]) -> None:
    job = job_of("clrec", **presets.untrained_retrieval(16), **{"optim.epochs": 0})
    width = settle_width(job)
    assert job.config.retrieval is not None
    assert job.config.retrieval.loss.queue > 1_000, "a queue that the tiny data could not fill is of no matter here"  # type: ignore[attr-defined]
    job = job_of("clrec", **presets.untrained_retrieval(width), **{"optim.epochs": 0})
    result = retrieve(job, LocalSession(job))
    assert result["params_trained"] == 0
    assert result["counts"]["n_total"] == len(evaluated_rows(settle(job, torch.device("cpu")), job.config))


def settle_width(job: Job) -> int:
    """Width of the text vectors of a job's encoder."""
    text_NF = settle(job, torch.device("cpu")).model.catalogue.text_NF
    assert text_NF is not None
    return int(text_NF.shape[1])


def test_every_parameter_has_a_gradient_in_a_batch_of_padding(job_of: Callable[..., Job]) -> None:
    for name in ("clrec", "multi-clrec", "multi-interest", "sasrec, whole windows"):
        job = job_of(name)
        setting = settle(job, torch.device("cpu"))
        config = job.config.retrieval
        assert config is not None
        module = CandidateModule(setting.model, config, drawn(setting, job.config))
        batch = next(LocalSession(job).batches(0))
        nothing = dataclasses.replace(
            batch,
            target_mask_BS=torch.zeros_like(batch.target_mask_BS),
            click_mask_BS=torch.zeros_like(batch.click_mask_BS),
        )
        loss, _ = module(nothing, module.normaliser([nothing]))
        loss.backward()
        assert loss.item() == 0.0 or name == "multi-clrec"
        lost = [key for key, value in module.named_parameters() if value.requires_grad and value.grad is None]
        assert not lost, name
        assert world_size() == 1
