"""What must hold of every architecture alike: one run for any number of workers, odd inputs, evaluation, serving."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tastelab.config import Adaptation, Architecture, Pooling, Scorer, replace_at
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import ItemTexts, build_store, open_store
from tastelab.data.words import load_words, prepare_words
from tastelab.evaluation.evaluate import score_split
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, load_trainable_state, trainable_state
from tastelab.schema import Batch
from tastelab.serving.offline import Request, evaluate_split
from tastelab.serving.ranker import TasteRanker, load
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run

MakeJob = Callable[..., Job]
Jobs = dict[str, Job]

SYSTEMS: dict[str, dict[str, Any]] = {
    "bi_encoder": {"model.scorer": Scorer.named("mlp")},
    "feature_bi_encoder": {"data.features": ("title", "abstract")},
    "cross_encoder": {"objective.temperature": 1.0},
    "half_cross_encoder": {},
    "colbert": {},
    "half_cross_encoder_colbert": {},
    "id_sas": {"model.adaptation": Adaptation.named("frozen"), "model.pooling": Pooling.named("sasrec", num_heads=4)},
    "nrms": {"model.adaptation": Adaptation.named("frozen"), "objective.temperature": 1.0},
}
LONG, EMOJI, EMPTY = "x " * 2_500, "🍺🔬🐈", ""


@pytest.fixture(scope="module")
def job_of(make_job: MakeJob) -> Callable[..., Job]:
    """Function that builds the job of a system on the tiny data: one epoch, no auxiliary, mean pooling unless set."""

    def build(name: str, **changes: Any) -> Job:
        plain = {
            "model.architecture": Architecture.named(name),
            "model.pooling": Pooling.named("mean"),
            "objective.auxiliaries": (),
            "optim.epochs": 1,
        }
        job = make_job({**plain, **SYSTEMS[name]}, keep=True, **changes)
        if name != "nrms":
            return job
        data, texts = job.open_data(), ItemTexts.of(job.config)
        words = prepare_words(data, texts)
        store = words.folder / "store"
        build_store(data, texts, store, load_words(words.folder))
        places = {"store_path": store, "encoder_path": str(words.folder), "encoder_fingerprint": words.fingerprint}
        return dataclasses.replace(job, **places)

    return build


@pytest.fixture(scope="module")
def jobs(job_of: Callable[..., Job]) -> Jobs:
    """The job of every system, carried out by one worker."""
    return {name: job_of(name) for name in SYSTEMS}


@pytest.fixture(scope="module")
def alone(jobs: Jobs) -> dict[str, tuple[LocalSession, dict[str, Any]]]:
    """What one worker logged, and its results."""
    seen = {}
    for name, job in jobs.items():
        session = LocalSession(job)
        seen[name] = (session, run(job, session))
    return seen


def test_the_systems_are_all_that_are_registered() -> None:
    Architecture.named("bi_encoder")
    assert set(SYSTEMS) == set(Architecture.members)


def test_two_workers_train_like_one(
    alone: dict[str, tuple[LocalSession, dict[str, Any]]],
    job_of: Callable[..., Job],
    on_two_workers: Callable[[Mapping[str, Job]], list[dict[str, Any]]],
) -> None:
    ranks = on_two_workers({name: job_of(name) for name in SYSTEMS})
    for name, (session, result) in alone.items():
        for rank in ranks:
            theirs = rank[name]["logged"]
            assert [step["step"] for step in theirs] == [step["step"] for step in session.logged]
            for ours, other in zip(session.logged, theirs, strict=True):
                assert other["train/loss"] == pytest.approx(ours["train/loss"], rel=2e-4), name
                assert other["train/grad_norm"] == pytest.approx(ours["train/grad_norm"], rel=2e-3), name
            assert rank[name]["result"]["counts"] == result["counts"]


def test_gamma_trains_in_every_architecture_on_two_workers_as_on_one(
    job_of: Callable[..., Job],
    signed_data: PreparedData,
    on_two_workers: Callable[[Mapping[str, Job]], list[dict[str, Any]]],
) -> None:
    jobs = {name: job_of(name, data=signed_data) for name in SYSTEMS}
    ranks = on_two_workers(jobs)
    for name, job in jobs.items():
        result = run(job, LocalSession(job))
        assert result["gamma"] > 0 and abs(result["gamma"] - 0.5) > 1e-5, name
        for rank in ranks:
            assert "error" not in rank[name]["result"], name
            assert rank[name]["result"]["gamma"] == pytest.approx(result["gamma"], abs=1e-4), name
        served = load(job.folder / "checkpoint", job.encoder_path)
        assert served.gamma == pytest.approx(result["gamma"]), name


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_learns_measures_and_keeps_what_a_record_needs(
    name: str, jobs: Jobs, alone: dict[str, tuple[LocalSession, dict[str, Any]]]
) -> None:
    session, result = alone[name]
    assert len(session.logged) == 4
    assert all(np.isfinite(step["train/loss"]) and step["train/grad_norm"] > 0 for step in session.logged)
    assert result["params_trained"] > 0
    assert set(result["latency_ms"]) == {"warm_1", "cold_1"}  # 40 impressions make no batch of 64
    assert all(value > 0 for value in result["latency_ms"].values())
    assert result["curves"]["train/grad_norm"][0] == [1, 2, 3, 4]
    health = [curve for curve in result["curves"] if curve.startswith("health/")]
    assert bool(health) == (name != "cross_encoder")
    for curve in health:
        steps, values = result["curves"][curve]
        assert steps == [0, 2, 4]
        assert np.isfinite(values).all()


def batch_of_odd_histories(job: Job) -> Batch:
    """Histories of 0, 1 and 5 clicks; one candidate only, all positive, and the usual case; a slot that is masked."""
    store, items = open_store(job.store_path), np.array([3, 7, 12, 23, 41, 5, 59])
    tokens_UT, mask_UT = (torch.from_numpy(array) for array in store.gather(items))
    candidate_mask_BC = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    return Batch(
        item_ids_U=torch.from_numpy(items),
        item_tokens_UT=tokens_UT,
        item_mask_UT=mask_UT,
        history_index_BH=torch.tensor([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [2, 3, 4, 0, 6]]),
        history_mask_BH=torch.tensor([[False] * 5, [True] + [False] * 4, [True] * 5]),
        candidate_index_BC=torch.tensor([[5, 0, 0], [0, 4, 2], [6, 1, 0]]),
        candidate_mask_BC=candidate_mask_BC,
        labels_BC=torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]),
        impression_mask_B=torch.ones(3, dtype=torch.bool),
        rows_B=torch.arange(3),
    )


def moved(job: Job) -> Ranker:
    """The ranker of a job with every trained parameter away from its start."""
    ranker = build_ranker(job.config.model, Resources(job.encoder_path, num_items=job.open_data().num_items))
    generator = torch.Generator().manual_seed(0)
    for value in trainable_state(ranker).values():
        value += 0.1 * torch.randn(value.shape, generator=generator)
    return ranker.eval()


@pytest.mark.parametrize("name", SYSTEMS)
def test_short_histories_single_candidates_and_masked_slots(name: str, jobs: Jobs) -> None:
    ranker, batch = moved(jobs[name]), batch_of_odd_histories(jobs[name])
    scores_BC = ranker(batch).scores_BC
    assert scores_BC.dtype is torch.float32
    assert scores_BC.isfinite().all()
    other = dataclasses.replace(
        batch,
        history_index_BH=torch.where(batch.history_mask_BH, batch.history_index_BH, 4),
        candidate_index_BC=torch.where(batch.candidate_mask_BC, batch.candidate_index_BC, 1),
    )
    mask_BC = batch.candidate_mask_BC
    torch.testing.assert_close(ranker(other).scores_BC[mask_BC], scores_BC[mask_BC], rtol=0, atol=1e-5)
    for row in range(3):
        alone = dataclasses.replace(
            batch,
            **{
                k: getattr(batch, k)[row : row + 1]
                for k in vars(batch)
                if k.endswith(("_BH", "_BC", "_B")) and getattr(batch, k) is not None
            },
        )
        mask_C = mask_BC[row]
        torch.testing.assert_close(ranker(alone).scores_BC[0][mask_C], scores_BC[row][mask_C], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_parameter_learns_whatever_the_histories(name: str, jobs: Jobs) -> None:
    ranker, batch = moved(jobs[name]).train(), batch_of_odd_histories(jobs[name])
    none = dataclasses.replace(batch, history_mask_BH=torch.zeros_like(batch.history_mask_BH))
    nothing = dataclasses.replace(
        none,
        candidate_mask_BC=torch.zeros_like(batch.candidate_mask_BC),
        impression_mask_B=torch.zeros_like(batch.impression_mask_B),
    )
    for one in (batch, none, nothing):
        ranker.zero_grad()
        ranker(one).scores_BC.square().sum().backward()
        grads = {n: p.grad for n, p in ranker.named_parameters() if p.requires_grad}
        lost = [n for n, grad in grads.items() if grad is None]
        assert not lost, "DDP waits for a gradient that never comes"
        assert all(
            grad.coalesce().values().isfinite().all() if grad.is_sparse else grad.isfinite().all()
            for grad in grads.values()
            if grad is not None
        )


@pytest.mark.parametrize("name", SYSTEMS)
def test_evaluation_scores_as_training_does(name: str, jobs: Jobs) -> None:
    job = jobs[name]
    ranker, data, store = moved(job), job.open_data(), open_store(job.store_path)
    rows = np.arange(12)
    scored = score_split(ranker, data, store, "dev", rows, max_history=5, precision="fp32")
    table = data.impressions("dev").take(rows)
    for row, (history, candidates) in enumerate(
        zip(table["history"].to_pylist(), table["candidates"].to_pylist(), strict=True)
    ):
        history = history[-5:]
        named = np.array([*candidates, *(history or [0])])
        tokens_UT, mask_UT = (torch.from_numpy(array) for array in store.gather(named))
        items: Items = ranker.represent(torch.from_numpy(named), tokens_UT, mask_UT)
        index_BH = torch.arange(len(candidates), len(named))[None]
        mask_BH = torch.full_like(index_BH, bool(history), dtype=torch.bool)
        index_BC = torch.arange(len(candidates))[None]
        slots = Slots(index_BH, mask_BH, index_BC, torch.ones_like(index_BC, dtype=torch.bool))
        expected = ranker.score(items, slots)[0].tolist()
        assert scored.scores[scored.offsets[row] : scored.offsets[row + 1]].tolist() == pytest.approx(
            expected, rel=1e-5, abs=2e-5
        )


@pytest.fixture(scope="module")
def served(
    jobs: Jobs, alone: dict[str, tuple[LocalSession, dict[str, Any]]], tiny_bert: Path
) -> dict[str, TasteRanker]:
    """The trained model of every system, loaded for serving."""
    return {name: load(job.folder / "checkpoint", str(tiny_bert)) for name, job in jobs.items()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_feed_takes_any_text_and_any_history(name: str, served: dict[str, TasteRanker]) -> None:
    ranker = served[name]
    candidates = ["abc de", LONG, EMOJI, EMPTY, "abc de"]
    for liked in ([], ["fgh"], [EMPTY], [EMOJI], [LONG] * 9, ["a", "b", "c", "d", "e", "f", "g"]):
        ranked = ranker.rank(liked, candidates)
        assert sorted(place.index for place in ranked) == list(range(5))
        assert np.isfinite([place.score for place in ranked]).all()
        by_index = {place.index: place.score for place in ranked}
        assert by_index[0] == pytest.approx(by_index[4], rel=1e-5, abs=1e-6)
    assert ranker.rank(["old", "a", "b", "c", "d", "e"], candidates) == ranker.rank(
        ["a", "b", "c", "d", "e"], candidates
    )
    liked = {place.index: place.score for place in ranker.rank(["fgh"], candidates)}
    both = {place.index: place.score for place in ranker.rank(["fgh"], candidates, ["ij"], gamma=0.5)}
    disliked = {place.index: place.score for place in ranker.rank(["ij"], candidates)}
    assert both == pytest.approx({i: liked[i] - 0.5 * disliked[i] for i in liked}, rel=1e-5, abs=1e-5)


def test_a_checkpoint_of_another_architecture_is_refused(jobs: Jobs) -> None:
    states = {name: trainable_state(moved(job)) for name, job in jobs.items()}
    for name in ("cross_encoder", "id_sas", "nrms"):
        with pytest.raises(ValueError, match=r"The checkpoint does not fit the model: .* parameters differ"):
            load_trainable_state(moved(jobs["half_cross_encoder"]), states[name])


def test_a_whitened_run_serves_and_evaluates_as_it_was_measured(job_of: Callable[..., Job], tiny_bert: Path) -> None:
    job = job_of("bi_encoder")
    changes = {"model.scorer": Scorer.named("cosine"), "evaluation.whitening": True, "evaluation.split": "dev"}
    config = replace_at(job.config, changes)
    job = dataclasses.replace(job, config=config, run_id="whitened")
    result = run(job, LocalSession(job))
    checkpoint = job.folder / "checkpoint"
    request = Request(str(job.data_path), job.cluster.home, checkpoint, str(tiny_bert), precision="fp32")
    again = evaluate_split(request)
    assert again.metrics["auc"]["mean"] == pytest.approx(result["metrics"]["auc"]["mean"], abs=1e-6)
    ranker = load(checkpoint, str(tiny_bert))
    vectors_UD = ranker.items.fetch(["abc", "de", "fg"], {"fg"}).vectors_UD
    white_UD = ranker.trained.whitening(vectors_UD)
    user_D = torch.nn.functional.normalize(white_UD[:2].mean(dim=0), dim=-1)
    assert ranker.rank(["abc", "de"], ["fg"])[0].score == pytest.approx(float(user_D @ white_UD[2]), abs=1e-5)
    assert not torch.allclose(white_UD, vectors_UD, atol=1e-2)
    (checkpoint / "whitening.safetensors").unlink()
    with pytest.raises(ValueError, match=r"evaluated on whitened vectors, and whitening\.safetensors is not there"):
        load(checkpoint, str(tiny_bert))
