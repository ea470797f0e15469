"""The metrics of other libraries, each under its own name."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tastelab.metrics import first_hit_mrr, per_impression, pooled_auc


def test_pooling_mixes_impressions() -> None:
    scores, labels = [10, 9, 1, 0], [1, 0, 1, 0]
    assert per_impression(scores, labels, [0, 2, 4])["auc"].mean() == 1.0
    assert pooled_auc(scores, labels) == 0.75


def test_pooled_auc_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(50_000).round(3), rng.integers(0, 2, 50_000)
    assert pooled_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_pooled_auc_needs_both_classes() -> None:
    assert math.isnan(pooled_auc([1, 2], [1, 1]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.integers(0, 1)), max_size=6), min_size=1, max_size=3
    )
)
def test_first_hit_against_all_orders_of_ties(impressions: list[list[tuple[float, int]]]) -> None:
    slots = [slot for impression in impressions for slot in impression]
    offsets = [0, *itertools.accumulate(map(len, impressions))]
    scores, labels = [s for s, _ in slots], [y for _, y in slots]
    expected, official = (first_hit_mrr(scores, labels, offsets, ties) for ties in ("expected", "official"))
    for i, impression in enumerate(impressions):
        if not any(y for _, y in impression):
            assert math.isnan(expected[i])
            assert math.isnan(official[i])
            continue
        orders = itertools.permutations(impression)
        ranked = [o for o in orders if all(a[0] >= b[0] for a, b in itertools.pairwise(o))]
        hits = [1 / (1 + [y for _, y in order].index(1)) for order in ranked]
        assert expected[i] == pytest.approx(np.mean(hits), abs=1e-12)
        best_first = np.argsort([s for s, _ in impression], kind="stable")[::-1]
        assert official[i] == pytest.approx(1 / (1 + [impression[j][1] for j in best_first].index(1)))


def test_first_hit_survives_large_ties() -> None:
    labels = np.zeros(5_000)
    labels[:50] = 1
    # The mean of 1 / (best of 50 places out of 5,000), summed exactly.
    chances = [math.comb(5_000 - j, 49) / math.comb(5_000, 50) for j in range(1, 4_952)]
    exact = sum(chance / j for j, chance in enumerate(chances, 1))
    assert first_hit_mrr(np.zeros(5_000), labels, [0, 5_000])[0] == pytest.approx(exact, rel=1e-9)


def test_first_hit_equals_mrr_with_one_positive() -> None:
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 2_001, 10)
    labels = np.zeros(2_000)
    labels[offsets[:-1] + rng.integers(0, 10, 200)] = 1
    scores = rng.random(2_000).round(1)
    for ties in ("expected", "official"):
        mrr = per_impression(scores, labels, offsets, ties=ties)["mrr"]
        np.testing.assert_allclose(first_hit_mrr(scores, labels, offsets, ties), mrr, rtol=1e-12)


def test_unknown_ties() -> None:
    with pytest.raises(ValueError, match="choose one of expected, official"):
        first_hit_mrr([1], [1], [0, 1], "random")
