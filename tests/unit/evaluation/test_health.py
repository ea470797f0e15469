"""Representation health of a model against vectors gathered in a loop, one item and one positive at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tastelab.config import Adaptation, Architecture, Pooling
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation import health as module
from tastelab.evaluation.health import representation_health
from tastelab.metrics.representation import health
from tastelab.modeling.ranker import Ranker, build_ranker, trainable_state
from tastelab.training.job import Job

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def job(make_job: MakeJob) -> Job:
    return make_job({"model.pooling": Pooling.named("mean")})


def ranker_of(job: Job, name: str) -> Ranker:
    """An architecture whose trained parameters have moved from their start."""
    from tastelab.config import replace_at

    ranker = build_ranker(replace_at(job.config.model, {"architecture": Architecture.named(name)}), job.encoder_path)
    generator = torch.Generator().manual_seed(0)
    for value in trainable_state(ranker).values():
        value += 0.1 * torch.randn(value.shape, generator=generator)
    return ranker.eval()


def measured(ranker: Ranker, job: Job, rows: np.ndarray, max_history: int = 3) -> dict[str, float]:
    data, store = job.open_data(), open_store(job.store_path)
    return representation_health(ranker, data, store, rows, max_history, CPU, "fp32")


@torch.no_grad()
def vector(ranker: Ranker, store: TokenStore, item: int) -> np.ndarray:
    tokens, mask = store.gather(np.array([item]))
    found = ranker.represent(torch.tensor([item]), torch.from_numpy(tokens), torch.from_numpy(mask))
    vectors_UD = ranker.unit_vectors(found)
    assert vectors_UD is not None
    return vectors_UD[0].double().numpy()


def slow_health(ranker: Ranker, job: Job, rows: np.ndarray, max_history: int) -> dict[str, float]:
    """Candidates once each; a positive beside the normalised mean of the last clicks before it, where there are any."""
    data: PreparedData = job.open_data()
    store = open_store(job.store_path)
    table = data.impressions("train", ["history", "candidates", "labels"]).take(rows).to_pylist()
    shown = sorted({item for row in table for item in row["candidates"]})
    pairs = []
    for row in table:
        clicked = [vector(ranker, store, item) for item in row["history"][-max_history:]]
        for item, label in zip(row["candidates"], row["labels"], strict=True):
            if label and clicked:
                mean = np.mean(clicked, axis=0)
                pairs.append((mean / np.linalg.norm(mean), vector(ranker, store, item)))
    vectors = np.stack([vector(ranker, store, item) for item in shown])
    if ranker.item_vectors == "candidates":
        return health(vectors)
    return health(vectors, *(np.stack(side) for side in zip(*pairs, strict=True)))


@pytest.mark.parametrize("name", ["bi_encoder", "colbert", "half_cross_encoder", "half_cross_encoder_colbert"])
def test_health_is_that_of_items_and_pairs_one_by_one(job: Job, name: str) -> None:
    ranker, rows = ranker_of(job, name), np.array([3, 4, 5, 7, 40, 120, 121, 199])  # of several row groups
    expected = slow_health(ranker, job, rows, 3)
    found = measured(ranker, job, rows)
    assert found == pytest.approx({f"health/{key}": value for key, value in expected.items()}, rel=1e-4, abs=1e-5)
    assert ("health/alignment" in found) == (ranker.item_vectors == "all")


def test_only_the_most_recent_clicks_make_a_user(job: Job) -> None:
    ranker, rows = ranker_of(job, "bi_encoder"), np.arange(20)
    short, long = (measured(ranker, job, rows, max_history) for max_history in (1, 5))
    assert short["health/alignment"] != pytest.approx(long["health/alignment"], rel=1e-3)
    del short["health/alignment"], long["health/alignment"]
    assert short == pytest.approx(long)


def test_without_a_positive_that_has_a_history_there_is_no_alignment(job: Job) -> None:
    table = job.open_data().impressions("train", ["history", "labels"]).to_pylist()
    nobody = [i for i, row in enumerate(table) if not row["history"] or not any(row["labels"])]
    found = measured(ranker_of(job, "bi_encoder"), job, np.array(nobody[:5]))
    assert np.isnan(found.pop("health/alignment"))
    assert np.isfinite(list(found.values())).all()


def test_a_model_without_item_vectors_has_no_health(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an item was encoded")

    monkeypatch.setattr(module, "encode_items", refuse)
    assert measured(ranker_of(job, "cross_encoder"), job, np.arange(5)) == {}
    assert measured(ranker_of(job, "bi_encoder"), job, np.arange(0)) == {}


@pytest.mark.parametrize("training", [True, False])
def test_measuring_changes_nothing_of_the_model(job: Job, training: bool) -> None:
    ranker = ranker_of(job, "bi_encoder").train(training)
    before = {name: value.clone() for name, value in ranker.state_dict().items()}
    measured(ranker, job, np.arange(4))
    assert ranker.training is training
    assert all(torch.equal(value, before[name]) for name, value in ranker.state_dict().items())


def test_a_frozen_model_stays_as_healthy_as_it_was(make_job: MakeJob) -> None:
    """Its curve is flat, and that of a trained model is not."""
    from tastelab.training.local import LocalSession
    from tastelab.training.run import run

    for name, moves in (("frozen", False), ("full", True)):
        adaptation = Adaptation.named(name)
        job = make_job({"model.adaptation": adaptation, "optim.epochs": 1, "evaluation.max_impressions": 5})
        steps, values = run(job, LocalSession(job))["curves"]["health/mean_cosine"]
        assert steps == [0, 2, 4]
        assert (len(set(values)) > 1) == moves
