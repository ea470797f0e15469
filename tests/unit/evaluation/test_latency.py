"""Latency: what is timed, at which batches, and what is kept between; the clock itself is replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tastelab.config import Adaptation, Architecture, Pooling, replace_at
from tastelab.data.tokens import open_store
from tastelab.evaluation import latency as module
from tastelab.evaluation.evaluate import score_split
from tastelab.evaluation.latency import _batch, _median_ms, _parts, latency
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker, Resources, build_ranker
from tastelab.training.job import Job

MakeJob = Callable[..., Job]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def job(make_job: MakeJob) -> Job:
    return make_job({"model.pooling": Pooling.named("mean"), "model.adaptation": Adaptation.named("frozen")})


def ranker_of(job: Job, name: str = "bi_encoder") -> Ranker:
    config = replace_at(job.config.model, {"architecture": Architecture.named(name)})
    return build_ranker(config, Resources(job.encoder_path, num_items=job.open_data().num_items)).eval()


def timed(ranker: Ranker, job: Job, num: int = 200) -> dict[str, float]:
    data, store = job.open_data(), open_store(job.store_path)
    return latency(ranker, data, store, "train", np.arange(num), 5, CPU, "fp32")


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ranker], Ranker]:
    """Function that puts a ranker on a clock of its own: 1 ms for each item and 10 ms for each impression scored."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def watch(ranker: Ranker) -> Ranker:
        represent, score = ranker.represent, ranker.score

        def represented(ids_U: Tensor, *rest: Any) -> Items:
            now[0] += 1e-3 * len(ids_U)
            return represent(ids_U, *rest)

        def scored(items: Items, slots: Slots) -> Tensor:
            now[0] += 1e-2 * len(slots.history_mask_BH)
            return score(items, slots)

        ranker.represent, ranker.score = represented, scored  # type: ignore[method-assign]
        return ranker

    return watch


def test_milliseconds_are_per_impression_and_cold_adds_the_items(job: Job, clocked: Callable[[Ranker], Ranker]) -> None:
    found = timed(clocked(ranker_of(job)), job)
    assert set(found) == {"warm_1", "cold_1", "warm_64", "cold_64"}
    assert (found["warm_1"], found["warm_64"]) == pytest.approx((10.0, 10.0))
    assert 12.0 <= found["cold_1"] <= 10.0 + 60, "an impression names at least its candidates, 2 or more"
    assert found["cold_64"] == pytest.approx(10.0 + 60 / 64, abs=0.1), "64 impressions share nearly all of the 60 items"


def test_where_no_item_stands_alone_cold_is_warm(job: Job, clocked: Callable[[Ranker], Ranker]) -> None:
    found = timed(clocked(ranker_of(job, "cross_encoder")), job, 3)
    assert found == {"warm_1": pytest.approx(10.0), "cold_1": found["warm_1"]}


@pytest.mark.parametrize(("num", "keys"), [(1, 2), (63, 2), (64, 4)])
def test_a_batch_larger_than_the_rows_is_left_out(job: Job, num: int, keys: int) -> None:
    found = timed(ranker_of(job), job, num)
    assert len(found) == keys
    assert all(value > 0 for value in found.values())


def test_cold_runs_every_layer_of_the_encoder_though_frozen_ones_are_kept(job: Job) -> None:
    """All layers are frozen and the items known: a look-up would make a cold start look warm."""
    ranker = ranker_of(job)
    score_split(ranker, job.open_data(), open_store(job.store_path), "train", np.arange(200), 5, CPU, "fp32")
    lowest = ranker.get_submodule("encoder.backbone.encoder.layer.0")
    runs: list[int] = []
    lowest.register_forward_hook(lambda _module, _args, hidden: runs.append(1))
    timed(ranker, job, 1)
    assert len(runs) >= module.REPEATS, "the outputs of frozen layers were looked up"


@pytest.mark.parametrize(("num", "size", "parts"), [(5, 1, 5), (40, 1, 10), (64, 64, 1), (200, 64, 2), (130, 64, 2)])
def test_rows_are_spread_evenly_and_taken_once(num: int, size: int, parts: int) -> None:
    rows = np.arange(100, 100 + 3 * num, 3)
    found = _parts(rows, size)
    assert [len(part) for part in found] == [size] * parts
    flat = np.concatenate(found)
    assert np.isin(flat, rows).all()
    assert (flat[0], flat[-1]) == ((rows[0], rows[-1]) if parts * size > 1 else (rows[0], rows[0]))
    assert (np.diff(flat) > 0).all()
    assert np.ptp(np.diff(flat)) <= 3


def ticking(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> Callable[[int], None]:
    """A call that takes so many seconds, one after the other; 3 seconds are the limit."""
    monkeypatch.setattr(module, "SECONDS", 3.0)
    now, waiting = [0.0], iter(seconds)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def call(_batch: int) -> None:
        now[0] += next(waiting)

    return call


def test_the_median_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    call = ticking(monkeypatch, [2.0, *[0.001, 0.003, 0.002, 0.009, 0.002] * 2])
    assert _median_ms(call, [0, 1], CPU) == pytest.approx(2.0)


def test_a_slow_model_is_measured_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _median_ms(ticking(monkeypatch, [5.0]), [0], CPU) == pytest.approx(5_000.0)
    assert _median_ms(ticking(monkeypatch, [1.0, 1.5, 1.7]), [0], CPU) == pytest.approx(1_600.0)


@pytest.mark.parametrize("name", ["bi_encoder", "half_cross_encoder"])
def test_what_is_timed_scores_as_evaluation_does(job: Job, name: str) -> None:
    ranker, data, store = ranker_of(job, name), job.open_data(), open_store(job.store_path)
    rows = np.array([0, 4, 33, 150])
    expected = score_split(ranker, data, store, "train", rows, 5, CPU, "fp32")
    items, slots, wanted_U = _batch(ranker, data, store, "train", rows, 5, CPU)
    with torch.no_grad():
        scores_BC = ranker.score(ranker.represent(items.ids_U, items.tokens_UT, items.mask_UT, wanted_U), slots)
    np.testing.assert_allclose(scores_BC[slots.candidate_mask_BC].numpy(), expected.scores, atol=2e-5)


def test_the_model_is_left_in_the_mode_it_was_in(job: Job) -> None:
    for training in (True, False):
        ranker = ranker_of(job).train(training)
        timed(ranker, job, 1)
        assert ranker.training is training
