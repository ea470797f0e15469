"""Retrieval and the pipeline of both stages against a loop over impressions, and what is no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from tastelab.config import Pooling
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation import pipeline as module
from tastelab.evaluation.pipeline import catalogue, cutoffs, nearest, pipeline, places
from tastelab.evaluation.whitening import fit_whitening
from tastelab.modeling.bi_encoder import pooled_scores
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.pooling import MixPool
from tastelab.modeling.ranker import Ranker, build_ranker
from tastelab.modeling.scorers import Cosine
from tastelab.training.job import Job

MakeJob = Callable[..., Job]
Made = tuple[Ranker, PreparedData, TokenStore]
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


class Lookup(Ranker):
    """A ranker of random item vectors, which tie nowhere; its order is not that of the mean."""

    has_item_table = True

    def __init__(self, num_items: int) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(3)
        self.items_MD = nn.Parameter(normalize(torch.randn(num_items, self.width, generator=draws), dim=-1))
        self.pooling, self.scorer = MixPool(self.width, 2, 0.9, learnable=False), Cosine().build(self.width)

    @property
    def width(self) -> int:
        return 16

    def represent(
        self, ids_U: torch.Tensor, tokens_UT: torch.Tensor, mask_UT: torch.Tensor, wanted_U: torch.Tensor | None = None
    ) -> Items:
        return Items(ids_U, tokens_UT, mask_UT, self.items_MD[ids_U])

    def score(self, items: Items, slots: Slots) -> torch.Tensor:
        assert items.vectors_UD is not None
        return pooled_scores(self.pooling, self.scorer, items.vectors_UD, slots)


def build(make_job: MakeJob, data: PreparedData, pooling: Pooling) -> Made:
    job = make_job({"model.pooling": pooling}, data=data)
    return build_ranker(job.config.model, job.encoder_path).eval(), job.open_data(), open_store(job.store_path)


@pytest.fixture(scope="module")
def made(make_job: MakeJob, signed_data: PreparedData) -> Made:
    """A ranker without ties on data with dislikes."""
    job = make_job(data=signed_data)
    return Lookup(60).eval(), job.open_data(), open_store(job.store_path)


def slow_retrieve(vectors: torch.Tensor, liked: list[int], num: int) -> list[int]:
    """Sort the whole catalogue by inner product with the mean of what was liked."""
    user = vectors[liked].mean(dim=0)
    scores = (vectors @ (user / user.norm())).tolist()
    return sorted(range(len(scores)), key=lambda item: -scores[item])[:num]


def slow_rank(ranker: Ranker, items: Items, history: list[int], signs: list[int], retrieved: list[int]) -> list[int]:
    """Score the retrieved items of one impression alone and sort them."""
    one = [torch.tensor([history]), torch.ones(1, len(history)).bool()]
    one += [torch.tensor([retrieved]), torch.ones(1, len(retrieved)).bool(), torch.tensor([signs])]
    with torch.no_grad():
        scores = ranker.scores(items, Slots(*one))[0].tolist()
    order = sorted(range(len(retrieved)), key=lambda place: -scores[place])
    return [retrieved[place] for place in order]


def slow_values(retrieved: list[int], ranked: list[int], clicked: list[int]) -> dict[str, float]:
    hits = {f"hr@{k}": np.mean([item in retrieved[:k] for item in clicked]) for k in (10, 30)}
    hits["pipeline_hr@10"] = np.mean([item in ranked[:10] for item in clicked])
    hits["pipeline_mrr"] = np.mean([1 / (1 + ranked.index(item)) if item in ranked else 0.0 for item in clicked])
    return {name: float(value) for name, value in hits.items()}


def test_the_pipeline_is_a_loop_over_impressions(made: Made) -> None:
    ranker, data, store = made
    found = pipeline(ranker, data, store, "dev", 30, max_history=5, precision="fp32")
    items, vectors = catalogue(ranker, data, store, CPU, "fp32")
    assert torch.equal(items.ids_U, torch.arange(60))
    distinct: set[int] = set()
    users, moved = 0, 0
    for i, impression in enumerate(data.impressions("dev").to_pylist()):
        history = impression["history"][-5:]
        signs = (impression["feedback"] or [1] * len(impression["history"]))[-5:]
        liked = [item for item, sign in zip(history, signs, strict=True) if sign > 0]
        clicked = [c for c, label in zip(impression["candidates"], impression["labels"], strict=True) if label]
        expected = dict.fromkeys(("hr@10", "hr@30", "pipeline_hr@10", "pipeline_mrr"), np.nan)
        if liked:
            retrieved = slow_retrieve(vectors, liked, 30)
            ranked = slow_rank(ranker, items, history, signs, retrieved)
            distinct, users, moved = distinct | set(retrieved), users + 1, moved + (ranked[:10] != retrieved[:10])
            expected = slow_values(retrieved, ranked, clicked) if clicked else expected
        for name, value in expected.items():
            np.testing.assert_allclose(found.values[name][i], value, atol=1e-9, err_msg=f"{name} {i}")
    assert moved > 10, "the ranking changes nothing: the test shows less than it says"
    assert found.metrics["diversity"] == dict.fromkeys(("mean", "low", "high"), len(distinct)) | {"n": users}
    assert set(found.metrics) == {"hr@10", "hr@30", "pipeline_hr@10", "pipeline_mrr", "diversity"}
    for name, value in found.values.items():
        assert found.metrics[name]["mean"] == pytest.approx(np.nanmean(value))
        assert found.metrics[name]["n"] == np.isfinite(value).sum() < 40


@pytest.mark.parametrize("floats", [1, 20_000])
def test_the_size_of_chunks_changes_nothing(made: Made, floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, data, store = made
    rows = np.arange(1, 200, 3)
    whole = pipeline(ranker, data, store, "train", 30, rows=rows, max_history=5, precision="fp32")
    monkeypatch.setattr(module, "CHUNK_FLOATS", floats)
    cut = pipeline(ranker, data, store, "train", 30, rows=rows, max_history=5, precision="fp32")
    assert cut.rows.tolist() == rows.tolist()
    for name, value in whole.values.items():
        np.testing.assert_allclose(cut.values[name], value, atol=1e-9, err_msg=name)
    assert cut.metrics["diversity"] == whole.metrics["diversity"]


def test_all_of_the_catalogue_holds_every_click(made: Made) -> None:
    ranker, data, store = made
    found = pipeline(ranker, data, store, "dev", 60, max_history=5)
    assert found.metrics["hr@60"]["mean"] == 1.0
    assert found.metrics["diversity"]["mean"] == 60
    assert 0.0 < found.metrics["hr@10"]["mean"] < found.metrics["hr@50"]["mean"] < 1.0
    assert found.values["pipeline_mrr"][np.isfinite(found.values["pipeline_mrr"])].min() >= 1 / 60


def test_a_mean_ranks_as_it_retrieves(make_job: MakeJob, tiny_data: PreparedData) -> None:
    """Mean pooling and the cosine are what an index computes: the second stage changes nothing but near-ties."""
    found = pipeline(*build(make_job, tiny_data, Pooling.named("mean")), "dev", 30, max_history=5, precision="fp32")
    same = np.isclose(found.values["pipeline_hr@10"], found.values["hr@10"], equal_nan=True)
    assert same.mean() > 0.95


def test_another_model_may_retrieve(made: Made) -> None:
    """Looked up by vectors of another model, ranked by this one: both stages show."""
    ranker, data, store = made
    own = pipeline(ranker, data, store, "dev", 30, max_history=5, precision="fp32")
    vectors = normalize(torch.randn(60, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    other = pipeline(ranker, data, store, "dev", 30, max_history=5, precision="fp32", index_MD=vectors)
    first = data.impressions("dev").to_pylist()[1]
    assert first["feedback"] is None
    retrieved = slow_retrieve(vectors, first["history"][-5:], 30)
    items, _ = catalogue(ranker, data, store, CPU, "fp32")
    ranked = slow_rank(ranker, items, first["history"][-5:], [1] * len(first["history"][-5:]), retrieved)
    clicked = [c for c, label in zip(first["candidates"], first["labels"], strict=True) if label]
    assert {name: value[1] for name, value in other.values.items()} == pytest.approx(
        slow_values(retrieved, ranked, clicked)
    )
    assert other.metrics["hr@30"]["mean"] != own.metrics["hr@30"]["mean"]


def test_whitened_vectors_retrieve(make_job: MakeJob, tiny_data: PreparedData) -> None:
    ranker, data, store = build(make_job, tiny_data, Pooling.named("mean"))
    _, vectors = catalogue(ranker, data, store, CPU, "fp32")
    whitening = fit_whitening(vectors)
    _, white = catalogue(ranker, data, store, CPU, "fp32", whitening)
    torch.testing.assert_close(white, whitening(vectors))
    plain, found = (pipeline(ranker, data, store, "dev", 30, max_history=5, whitening=w) for w in (None, whitening))
    assert plain.values["hr@30"].tolist() != found.values["hr@30"].tolist()


@pytest.mark.parametrize("num", [1, 3, 4, 6])
def test_of_items_that_tie_the_first_row_comes_first(num: int) -> None:
    vectors = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    users = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    expected = [[0, 2, 4, 3, 1, 5], [1, 3, 0, 2, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert nearest(users, vectors, num).tolist() == [order[:num] for order in expected]


def test_places_by_hand() -> None:
    lists_BK = torch.tensor([[5, 3, 9], [3, 1, 0]])
    found = places(lists_BK, torch.tensor([0, 0, 1, 1]), torch.tensor([9, 1, 3, 7]))
    assert found.tolist() == [2, 3, 0, 3]


def test_hr_is_measured_up_to_what_is_retrieved() -> None:
    assert [cutoffs(k) for k in (10, 30, 50, 200)] == [[10], [10, 30], [10, 50], [10, 50, 200]]


BAD: dict[str, tuple[int, str]] = {
    "more than all": (61, "evaluation.retrieve is 61, and 'signed' has 60 items: retrieve at least the 10 that are"),
    "fewer than shown": (9, "evaluation.retrieve is 9, and 'signed' has 60 items: retrieve at least the 10 that are"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_number_that_cannot_be_retrieved_is_one_sentence(made: Made, name: str) -> None:
    num, sentence = BAD[name]
    ranker, data, store = made
    with pytest.raises(ValueError, match=sentence):
        pipeline(ranker, data, store, "dev", num)


def test_vectors_that_are_not_finite_are_one_sentence(made: Made) -> None:
    ranker, data, store = made
    broken = torch.ones(60, 16)
    broken[7, 3] = float("nan")
    with pytest.raises(ValueError, match="Some item vectors are not finite"):
        pipeline(ranker, data, store, "dev", 30, index_MD=broken)


def test_a_model_without_item_vectors_retrieves_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, data, store = made
    monkeypatch.setattr(type(ranker), "item_vectors", "none")
    with pytest.raises(ValueError, match="Retrieval looks items up by their vectors, and this model has none"):
        pipeline(ranker, data, store, "dev", 30)


def test_a_split_without_labels_is_not_measured(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, data, store = made
    monkeypatch.setattr(type(data), "has_labels", lambda self, split: False)
    with pytest.raises(ValueError, match="has no labels"):
        pipeline(ranker, data, store, "dev", 30)


def test_a_run_too_small_for_what_it_retrieves_ends_before_it_trains(make_job: MakeJob) -> None:
    from tastelab.training.local import LocalSession
    from tastelab.training.run import run

    session = LocalSession(make_job({"evaluation.retrieve": 61}))
    with pytest.raises(ValueError, match="has 60 items"):
        run(session.job, session)
    assert session.logged == []


def test_a_run_keeps_what_it_retrieves(make_job: MakeJob) -> None:
    from tastelab.training.local import LocalSession
    from tastelab.training.run import run

    values: dict[str, Any] = {"optim.epochs": 0, "evaluation.split": "dev", "evaluation.retrieve": 20}
    job = make_job(values, keep=True)
    result = run(job, LocalSession(job))
    with np.load(job.folder / "impressions.npz") as kept:
        for name in ("auc", "hr@10", "hr@20", "pipeline_hr@10", "pipeline_mrr"):
            assert np.nanmean(kept[name]) == pytest.approx(result["metrics"][name]["mean"])
        assert "diversity" not in kept
    plain = make_job({**values, "evaluation.retrieve": None})
    without = run(plain, LocalSession(plain))
    assert without["metrics"].items() <= result["metrics"].items()
    assert without["counts"] == result["counts"]
