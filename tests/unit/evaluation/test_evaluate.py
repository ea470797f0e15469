"""Evaluation of a model against a loop over impressions, whatever the chunks and the number of workers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, roc_auc_score

from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation import encode
from tastelab.evaluation import evaluate as module
from tastelab.evaluation.encode import autocast, distinct_texts, encode_items
from tastelab.evaluation.evaluate import Scored, evaluate, score_split
from tastelab.modeling.ranker import Ranker, build_ranker
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.run import run

MakeJob = Callable[..., Job]
Made = tuple[Ranker, PreparedData, TokenStore]


@pytest.fixture(scope="module")
def made(make_job: MakeJob, signed_data: PreparedData) -> Made:
    """A ranker with mean pooling as it is before training, data with dislikes and tokens."""
    from tastelab.config import Pooling

    job = make_job({"model.pooling": Pooling.named("mean")}, data=signed_data)
    return build_ranker(job.config.model, job.encoder_path).eval(), job.open_data(), open_store(job.store_path)


@pytest.fixture(scope="module")
def vectors(made: Made) -> torch.Tensor:
    """Every item's vector, each item encoded alone."""
    ranker, data, store = made
    alone = [store.gather(np.array([item])) for item in range(data.num_items)]
    with torch.no_grad():
        rows = [
            ranker.represent(torch.tensor([-1]), torch.from_numpy(tokens), torch.from_numpy(mask))
            for tokens, mask in alone
        ]
    return torch.cat([row.vectors_UD for row in rows])


def slow_scores(
    vectors: torch.Tensor, history: list[int], feedback: list[int] | None, candidates: list[int]
) -> list[float]:
    """Cosine of the mean of the last five clicks' vectors with each candidate's, half of the disliked ones' off it."""
    signs = (feedback or [1] * len(history))[-5:]
    liked, disliked = ([item for item, sign in zip(history[-5:], signs, strict=True) if sign == s] for s in (1, -1))

    def cosine(clicks: list[int], item: int) -> float:
        if not clicks:
            return 0.0
        user = torch.stack([vectors[click] for click in clicks]).mean(dim=0)
        return torch.cosine_similarity(user, vectors[item], dim=0).item()

    return [cosine(liked, item) - 0.5 * cosine(disliked, item) for item in candidates]


def without_near_ties(scored: Scored) -> np.ndarray:
    """Impressions whose ranks the last bits of a sum cannot change: items of one text tie, or all but tie."""
    clear = []
    for start, stop in pairwise(scored.offsets):
        gaps = np.diff(np.sort(scored.scores[start:stop]))
        clear.append(bool((gaps > 1e-5).all() or not scored.scores[start:stop].any()))
    assert np.mean(clear) > 0.7
    return np.flatnonzero(clear)


def slow_metrics(scores: list[float], labels: list[int]) -> dict[str, float]:
    """Scikit-learn's AUC and tie-averaged nDCG; MRR by sorting, NaN with ties."""
    found = {"auc": np.nan, "mrr": np.nan, "ndcg@5": np.nan}
    if sum(labels):
        ranked = sorted(range(len(scores)), key=lambda i: -scores[i])
        found["mrr"] = sum(labels[i] / (place + 1) for place, i in enumerate(ranked)) / sum(labels)
        found["ndcg@5"] = ndcg_score([labels], [scores], k=5)
        if sum(labels) < len(labels):
            found["auc"] = roc_auc_score(labels, scores)
    return found


@pytest.mark.parametrize("split", ["dev", "train"])
def test_an_evaluation_is_a_loop_over_impressions(made: Made, vectors: torch.Tensor, split: str) -> None:
    ranker, data, store = made
    rows = np.arange(40) if split == "dev" else np.arange(1, 200, 4)
    found = evaluate(ranker, data, store, split, rows=rows, max_history=5, ks=(5,), precision="fp32")
    scored = score_split(ranker, data, store, split, rows, 5, precision="fp32")
    impressions = data.impressions(split).take(rows).to_pylist()
    assert found.rows.tolist() == rows.tolist() == scored.rows.tolist()
    for i, impression in enumerate(impressions):
        scores = slow_scores(vectors, impression["history"], impression["feedback"], impression["candidates"])
        ours = scored.scores[scored.offsets[i] : scored.offsets[i + 1]]
        np.testing.assert_allclose(ours, scores, atol=1e-6)
        assert scored.labels is not None
        assert scored.labels[scored.offsets[i] : scored.offsets[i + 1]].tolist() == impression["labels"]
        expected = slow_metrics(ours.tolist(), impression["labels"])
        for name, value in expected.items():
            if name != "mrr" or len(set(ours)) == len(ours):
                np.testing.assert_allclose(found.values[name][i], value, atol=1e-9, err_msg=f"{name} {i}")
    for name in ("auc", "mrr", "ndcg@5"):
        assert found.metrics[name]["mean"] == pytest.approx(np.nanmean(found.values[name]))
        assert found.metrics[name]["n"] == np.isfinite(found.values[name]).sum() < len(rows), name


def test_what_is_not_scored_is_counted(made: Made) -> None:
    ranker, data, store = made
    impressions = data.impressions("dev").to_pylist()
    single = sum(sum(i["labels"]) in (0, len(i["labels"])) for i in impressions)
    empty = sum(not i["history"] for i in impressions)
    assert single
    assert empty
    found = evaluate(ranker, data, store, "dev")
    assert found.counts == {
        "n_total": 40,
        "n_scored": 40 - single,
        "n_single_class": single,
        "n_empty_history": empty,
    }
    assert found.as_json() == {"metrics": found.metrics, "counts": found.counts}
    assert found.metrics["auc"]["n"] == 40 - single


def test_without_training_an_empty_history_ties_all_candidates(made: Made) -> None:
    ranker, data, store = made
    scored = score_split(ranker, data, store, "dev")
    empty = np.flatnonzero(scored.history_lengths == 0)
    assert len(empty) > 2
    for i in empty:
        assert not scored.scores[scored.offsets[i] : scored.offsets[i + 1]].any()
    aucs = evaluate(ranker, data, store, "dev").values["auc"][empty]
    assert set(aucs[np.isfinite(aucs)]) == {0.5}


@pytest.mark.parametrize("floats", [1, 1_000, 5_000])
def test_the_size_of_chunks_changes_nothing(made: Made, floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, data, store = made
    whole = score_split(ranker, data, store, "train", precision="fp32")
    expected = evaluate(ranker, data, store, "train", precision="fp32")
    sizes = []
    chunks = module._chunks
    monkeypatch.setattr(module, "CHUNK_FLOATS", floats)
    monkeypatch.setattr(module, "_chunks", lambda *a: (sizes.append(len(c)) or c for c in chunks(*a)))
    monkeypatch.setattr(encode, "ITEMS_PER_CALL", 7)
    cut = score_split(ranker, data, store, "train", precision="fp32")
    assert sum(sizes) == 200
    assert len(sizes) > 20
    np.testing.assert_allclose(cut.scores, whole.scores, atol=1e-6)
    again, clear = evaluate(ranker, data, store, "train", precision="fp32"), without_near_ties(whole)
    for name, value in expected.values.items():
        np.testing.assert_allclose(again.values[name][clear], value[clear], atol=1e-9)


def test_a_part_of_the_rows_has_the_values_of_the_whole(made: Made) -> None:
    ranker, data, store = made
    whole = evaluate(ranker, data, store, "train", precision="fp32")
    rows = np.array([0, 31, 32, 79, 80, 81, 150, 199])
    scored = score_split(ranker, data, store, "train", rows, precision="fp32")
    part, clear = evaluate(ranker, data, store, "train", rows=rows, precision="fp32"), without_near_ties(scored)
    assert part.rows.tolist() == rows.tolist()
    for name, value in whole.values.items():
        np.testing.assert_allclose(part.values[name][clear], value[rows][clear], atol=1e-9)
    assert part.counts["n_total"] == 8


def test_history_is_cut_to_the_most_recent(made: Made, vectors: torch.Tensor) -> None:
    ranker, data, store = made
    one, all_clicks = (score_split(ranker, data, store, "dev", None, most, precision="fp32") for most in (1, 50))
    impressions = data.impressions("dev").to_pylist()
    row = next(i for i, impression in enumerate(impressions) if len(impression["history"]) > 5)
    impression = impressions[row]
    last = slow_scores(
        vectors, impression["history"][-1:], (impression["feedback"] or [1])[-1:], impression["candidates"]
    )
    ours = one.scores[one.offsets[row] : one.offsets[row + 1]]
    np.testing.assert_allclose(ours, last, atol=1e-6)
    assert not np.allclose(ours, all_clicks.scores[one.offsets[row] : one.offsets[row + 1]], atol=1e-3)
    assert np.array_equal(one.history_lengths, all_clicks.history_lengths)


def test_two_workers_measure_what_one_does(make_job: MakeJob, two_workers: Any) -> None:
    jobs, ranks = two_workers
    theirs = jobs["untrained"]
    ours = make_job({"optim.epochs": 0, "evaluation.split": "dev"}, keep=True)
    result = run(ours, LocalSession(ours))
    for rank in ranks:
        assert rank["untrained"]["result"]["counts"] == result["counts"]
        assert rank["untrained"]["result"]["workers"] == 2
        assert rank["untrained"]["result"]["metrics"] == ranks[0]["untrained"]["result"]["metrics"]
        assert rank["untrained"]["result"]["metrics"]["auc"]["mean"] == pytest.approx(
            result["metrics"]["auc"]["mean"], abs=0.01
        )
    ranker = build_ranker(ours.config.model, ours.encoder_path)
    scored = score_split(ranker, ours.open_data(), open_store(ours.store_path), "dev", max_history=5, precision="fp32")
    clear = without_near_ties(scored)
    one, two = (np.load(job.folder / "impressions.npz") for job in (ours, theirs))
    assert one["rows"].tolist() == two["rows"].tolist() == list(range(40))
    for name in one:
        np.testing.assert_allclose(two[name][clear], one[name][clear], atol=1e-9)


def test_items_come_in_the_order_they_were_asked_for(made: Made) -> None:
    ranker, _, store = made
    items = np.array([5, 59, 0, 17, 5])
    found = encode_items(ranker, store, items, torch.device("cpu"), "fp32")
    vectors_ND = found.vectors_UD
    assert found.ids_U.tolist() == items.tolist()
    alone = [encode_items(ranker, store, items[i : i + 1], torch.device("cpu"), "fp32").vectors_UD[0] for i in range(5)]
    torch.testing.assert_close(vectors_ND, torch.stack(alone), rtol=0, atol=1e-6)
    assert not torch.allclose(vectors_ND[0], vectors_ND[1], atol=1e-3)


def test_the_model_is_left_in_the_mode_it_was_in(made: Made) -> None:
    ranker, data, store = made
    for training in (True, False):
        ranker.train(training)
        evaluate(ranker, data, store, "dev", rows=np.arange(3))
        assert ranker.training is training


def test_a_split_without_labels_is_refused(made: Made) -> None:
    ranker, data, store = made
    unlabelled = PreparedData(data.path, {**data.meta, "splits": {"dev": {"num_impressions": 40, "has_labels": False}}})
    with pytest.raises(ValueError, match="The dev split of 'signed' has no labels: score it with `tastelab submit`"):
        evaluate(ranker, unlabelled, store, "dev")


def test_an_unknown_precision_lists_the_known() -> None:
    with pytest.raises(ValueError, match="Unknown precision 'fp16': choose auto, bf16 or fp32"):
        autocast("fp16", torch.device("cpu"))


def test_items_of_one_text_have_one_vector_to_the_last_bit(made: Made) -> None:
    ranker, data, store = made
    texts = [tuple(store.tokens[start:stop]) for start, stop in pairwise(store.offsets)]
    items = np.arange(data.num_items)
    first, copies = distinct_texts(store, items)
    assert len(first) == len(set(texts)) < data.num_items
    assert [texts[i] for i in first[copies]] == texts
    vectors_UD = encode_items(ranker, store, items, torch.device("cpu"), "fp32").vectors_UD
    for item, text in enumerate(texts):
        assert torch.equal(vectors_UD[item], vectors_UD[texts.index(text)])
