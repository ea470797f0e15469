"""`per_impression`, `counts`, `summary`, `official_ranks` against hand-computed values, oracles and invariances."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from tastelab.metrics import slots
from tastelab.metrics.ranking import counts, official_ranks, per_impression, summary

NAN = math.nan

# case, scores, labels, ties, AUC, MRR, nDCG@5
FIXTURES = [
    ("no ties", [0.9, 0.8, 0.3, 0.2, 0.1], [0, 1, 0, 1, 0], "expected", 0.5, 0.375, 0.6509),
    ("no ties", [0.9, 0.8, 0.3, 0.2, 0.1], [0, 1, 0, 1, 0], "official", 0.5, 0.375, 0.6509),
    ("partial tie", [0.7, 0.7, 0.1], [1, 0, 0], "expected", 0.75, 0.75, 0.8155),
    ("partial tie", [0.7, 0.7, 0.1], [1, 0, 0], "official", 0.75, 0.5, 0.6309),
    # (1 + 1/log2(3) + 1/log2(4) + 1/log2(5)) / 4
    ("all tied", [0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], "expected", 0.5, 0.5208, 0.6404),
    ("all tied", [0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], "official", 0.5, 0.25, 0.4307),
    ("no positive", [0.3, 0.2, 0.1], [0, 0, 0], "expected", NAN, NAN, NAN),
    ("no positive", [0.3, 0.2, 0.1], [0, 0, 0], "official", NAN, NAN, NAN),
    ("all positive", [0.3, 0.2, 0.1], [1, 1, 1], "expected", NAN, 0.6111, 1.0),
    ("all positive", [0.3, 0.2, 0.1], [1, 1, 1], "official", NAN, 0.6111, 1.0),
    ("infinities", [math.inf, 0.0, -math.inf, -math.inf], [0, 1, 1, 0], "expected", 0.375, 0.3958, 0.6722),
]


@st.composite
def batches(draw: st.DrawFn, max_size: int = 7, max_impressions: int = 6) -> tuple[list[float], list[int], list[int]]:
    """Some impressions, empty ones among them, with few distinct scores so that ties abound."""
    sizes = draw(st.lists(st.integers(0, max_size), max_size=max_impressions))
    num_slots = sum(sizes)
    scores = draw(st.lists(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]), min_size=num_slots, max_size=num_slots))
    labels = draw(st.lists(st.integers(0, 1), min_size=num_slots, max_size=num_slots))
    return scores, labels, [0, *itertools.accumulate(sizes)]


def parts(batch: tuple[list[float], list[int], list[int]]) -> list[tuple[list[float], list[int]]]:
    scores, labels, offsets = batch
    return [(scores[a:b], labels[a:b]) for a, b in itertools.pairwise(offsets)]


def of_order(labels_ranked: list[int], k: int = 3) -> tuple[float, float]:
    """MRR and nDCG@k of labels in the order of their ranks, as the definitions read."""
    total = sum(labels_ranked)
    mrr = sum(y / rank for rank, y in enumerate(labels_ranked, 1)) / total
    gains = [(2**y - 1) / math.log2(rank + 1) for rank, y in enumerate(labels_ranked, 1) if rank <= k]
    ideal = [1 / math.log2(rank + 1) for rank in range(1, min(total, k) + 1)]
    return mrr, sum(gains) / sum(ideal)


def mean_over_orders(scores: list[float], labels: list[int]) -> tuple[float, float]:
    """MRR and nDCG@3 averaged over every order that puts higher scores first."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    values = [of_order([labels[i] for i in order]) for order in orders]
    return float(np.mean([v[0] for v in values])), float(np.mean([v[1] for v in values]))


def world(num: int = 300, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    offsets = np.append(0, np.cumsum(rng.integers(2, 60, num)))
    labels = (rng.random(offsets[-1]) < 0.2).astype(np.int8)
    labels[offsets[:-1]], labels[offsets[:-1] + 1] = 1, 0
    return rng.random(len(labels)).round(1), labels, offsets


@pytest.mark.parametrize(("case", "scores", "labels", "ties", "auc", "mrr", "ndcg"), FIXTURES)
def test_hand_computed(
    case: str, scores: list[float], labels: list[int], ties: str, auc: float, mrr: float, ndcg: float
) -> None:
    values = per_impression(scores, labels, [0, len(scores)], ks=(5,), ties=ties)
    assert list(values) == ["auc", "mrr", "ndcg@5"]
    measured = [float(value[0]) for value in values.values()]
    assert measured == pytest.approx([auc, mrr, ndcg], abs=5e-5, nan_ok=True), case


@settings(max_examples=60, deadline=None)
@given(batches(max_size=6, max_impressions=3))
def test_expected_is_the_mean_over_all_orders_of_ties(batch: tuple[list[float], list[int], list[int]]) -> None:
    values = per_impression(*batch, ks=(3,))
    for i, (scores, labels) in enumerate(parts(batch)):
        expected = mean_over_orders(scores, labels) if any(labels) else (NAN, NAN)
        assert (values["mrr"][i], values["ndcg@3"][i]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=200, deadline=None)
@given(batches())
def test_official_is_numpys_reversed_stable_argsort(batch: tuple[list[float], list[int], list[int]]) -> None:
    values = per_impression(*batch, ks=(3,), ties="official")
    for i, (scores, labels) in enumerate(parts(batch)):
        order = np.argsort(np.array(scores), kind="stable")[::-1]
        expected = of_order([labels[j] for j in order]) if any(labels) else (NAN, NAN)
        assert (values["mrr"][i], values["ndcg@3"][i]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=200, deadline=None)
@given(batches())
def test_auc_counts_pairs(batch: tuple[list[float], list[int], list[int]]) -> None:
    values = per_impression(*batch)["auc"]
    for i, (scores, labels) in enumerate(parts(batch)):
        positives = [s for s, y in zip(scores, labels, strict=True) if y]
        negatives = [s for s, y in zip(scores, labels, strict=True) if not y]
        wins = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
        assert values[i] == pytest.approx(np.mean(wins) if wins else NAN, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("ties", ["expected", "official"])
def test_agrees_with_scikit_learn(ties: str) -> None:
    scores, labels, offsets = world()
    values = per_impression(scores, labels, offsets, ties=ties)
    # scikit-learn has no order of ties other than the average, so the official order is spelled out as distinct scores.
    ranked = scores if ties == "expected" else -official_ranks(scores, offsets).astype(float)
    for i, (a, b) in enumerate(itertools.pairwise(offsets)):
        assert values["auc"][i] == pytest.approx(roc_auc_score(labels[a:b], scores[a:b]), abs=1e-12)
        for k in (5, 10):
            assert values[f"ndcg@{k}"][i] == pytest.approx(ndcg_score([labels[a:b]], [ranked[a:b]], k=k), abs=1e-12)


@pytest.mark.parametrize("ties", ["expected", "official"])
def test_only_the_order_of_scores_counts(ties: str) -> None:
    scores, labels, offsets = world()
    plain = per_impression(scores, labels, offsets, ties=ties)
    warped = per_impression(np.exp(3 * scores) - 7, labels, offsets, ties=ties)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, warped[name])


def test_the_order_of_candidates_matters_to_the_official_dialect_alone() -> None:
    scores, labels, offsets = world()
    rng = np.random.default_rng(1)
    shuffle = np.concatenate([a + rng.permutation(b - a) for a, b in itertools.pairwise(offsets)])
    plain = per_impression(scores, labels, offsets)
    shuffled = per_impression(scores[shuffle], labels[shuffle], offsets)
    for name, value in plain.items():
        np.testing.assert_allclose(value, shuffled[name], rtol=0, atol=1e-14)
    official = [per_impression(scores[s], labels[s], offsets, ties="official")["mrr"] for s in (slice(None), shuffle)]
    assert not np.allclose(*official)


@pytest.mark.parametrize("ties", ["expected", "official"])
@pytest.mark.parametrize(("chunk_slots", "chunk_impressions"), [(1, 1), (100, 7), (10**6, 3)])
def test_the_cut_into_chunks_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, ties: str, chunk_slots: int, chunk_impressions: int
) -> None:
    scores, labels, offsets = world()
    offsets = np.insert(offsets, [0, 5, 5, len(offsets)], [0, offsets[5], offsets[5], offsets[-1]])  # empty ones too
    whole = per_impression(scores, labels, offsets, ties=ties)
    whole_ranks = official_ranks(scores, offsets)
    monkeypatch.setattr(slots, "CHUNK_SLOTS", chunk_slots)
    monkeypatch.setattr(slots, "CHUNK_IMPRESSIONS", chunk_impressions)
    for name, value in per_impression(scores, labels, offsets, ties=ties).items():
        np.testing.assert_allclose(value, whole[name], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(official_ranks(scores, offsets), whole_ranks)


def test_more_empty_impressions_than_a_chunk_numbers() -> None:
    offsets = np.append(np.zeros(70_000, np.int64), [2, 2, 4])
    values = per_impression([1.0, 0.0, 0.0, 1.0], [1, 0, 1, 0], offsets)["auc"]
    assert values[-3:].tolist() == pytest.approx([1.0, NAN, 0.0], nan_ok=True)
    assert np.isnan(values[:-3]).all()


def test_long_impressions_keep_their_precision() -> None:
    num = 200_000
    labels = np.zeros(num)
    labels[num - 1] = 1
    values = per_impression(np.arange(num, 0, -1), labels, [0, num], ks=(num,))
    assert values["mrr"][0] == pytest.approx(1 / num, rel=1e-8)
    assert values[f"ndcg@{num}"][0] == pytest.approx(1 / math.log2(num + 1), rel=1e-8)


def test_scores_are_measured_in_float64() -> None:
    close = np.array([1.0, 1.0 + 1e-12])
    assert per_impression(close, [0, 1], [0, 2])["auc"][0] == 1.0
    assert per_impression(close.astype(np.float32), [0, 1], [0, 2])["auc"][0] == 0.5
    assert per_impression(np.array([2**24, 2**24 + 1]), [0, 1], [0, 2])["auc"][0] == 1.0


def test_no_impression_at_all() -> None:
    values = per_impression([], [], [0])
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(values, (0,))


@pytest.mark.parametrize(
    ("scores", "labels", "offsets", "options", "sentence"),
    [
        ([1, 2, NAN, NAN], [0, 1, 0, 1], [0, 2, 2, 4], {}, r"^Impression 2 \(counted from 0\) has a score that is NaN"),
        ([1, 2, 3, 4], [0, 1, 0, 2], [0, 2, 4], {}, r"^Impression 1 \(counted from 0\) has a label that is neither 0"),
        ([1, 2, 3, 4], [0, 1, 0, NAN], [0, 2, 4], {}, "^Impression 1 .* neither 0 nor 1"),
        ([1, 2, 3], [0, 1, 0, 1], [0, 2, 4], {}, r"one length, not of shapes \(3,\) and \(4,\)"),
        ([[1, 2]], [[0, 1]], [0, 2], {}, "flat arrays of one length"),
        ([1, 2, 3], [0, 1, 0], [0, 2, 1, 3], {}, "Offsets fall at impression 1 "),
        ([1, 2, 3], [0, 1, 0], [0, 2], {}, "Offsets run from 0 to 2: pass offsets from 0 to the 3 scores"),
        ([1, 2, 3], [0, 1, 0], [1, 3], {}, "Offsets run from 1 to 3"),
        ([1, 2, 3], [0, 1, 0], [], {}, "offsets as a flat array of integers"),
        ([1, 2, 3], [0, 1, 0], [0.0, 3.0], {}, "offsets as a flat array of integers"),
        ([1, 2], [0, 1], [0, 2], {"ties": "mean"}, "Unknown ties 'mean': choose one of expected, official"),
        ([1, 2], [0, 1], [0, 2], {"ks": (5, 0)}, "There is no nDCG@0: choose cut-offs of at least 1"),
    ],
)
def test_wrong_input_is_named(
    scores: list[float], labels: list[float], offsets: list[int], options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        per_impression(scores, labels, offsets, **options)  # type: ignore[arg-type]


def test_the_first_impression_at_fault_is_named_beyond_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "CHUNK_SLOTS", 2)
    with pytest.raises(ValueError, match="Impression 3 "):
        per_impression([1, 2, 3, 4, 5, 6, 7, NAN], [0, 1] * 4, [0, 2, 4, 6, 8])


@settings(max_examples=100, deadline=None)
@given(batches())
def test_official_ranks_undo_the_official_order(batch: tuple[list[float], list[int], list[int]]) -> None:
    scores, _, offsets = batch
    ranks = official_ranks(scores, offsets)
    for a, b in itertools.pairwise(offsets):
        order = np.argsort(np.array(scores[a:b]), kind="stable")[::-1]
        assert ranks[a:b][order].tolist() == list(range(1, b - a + 1))


def test_counts_of_every_kind() -> None:
    labels = [1, 0, 0, 0, 1, 1, 1, 0]
    offsets = [0, 2, 4, 6, 6, 8]  # both classes, no positive, all positive, no candidate, both classes
    assert counts(labels, offsets, [3, 0, 1, 0, 0]) == {
        "n_total": 5,
        "n_scored": 2,
        "n_single_class": 3,
        "n_empty_history": 3,
    }
    auc = per_impression(np.arange(8), labels, offsets)["auc"]
    assert np.count_nonzero(~np.isnan(auc)) == 2


def test_counts_need_one_history_length_per_impression() -> None:
    with pytest.raises(ValueError, match="one history length per impression: 2, not 3"):
        counts([1, 0], [0, 1, 2], [1, 2, 3])


def test_summary_leaves_absent_values_out() -> None:
    table = summary({"auc": [0.5, NAN, 1.0, 0.0], "mrr": [NAN, NAN]}, seed=3)
    assert table["auc"]["mean"] == 0.5
    assert table["auc"]["n"] == 3
    assert 0 <= table["auc"]["low"] < 0.5 < table["auc"]["high"] <= 1
    assert table["mrr"]["n"] == 0
    assert math.isnan(table["mrr"]["mean"])
    assert list(table["auc"]) == ["mean", "low", "high", "n"]
