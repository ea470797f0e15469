"""Representation health: slow loops from the formulas, scikit-learn's PCA, values by hand, clouds of known shape."""

from __future__ import annotations

import doctest
import math
import warnings
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from tastelab.metrics import representation
from tastelab.metrics.representation import (
    alignment,
    effective_rank,
    health,
    mean_cosine,
    pca_share,
    uniformity,
)

Floats = NDArray[np.float64]
KEYS = ("mean_cosine", "uniformity", "pca_top5", "effective_rank")


def unit(rows: Floats) -> Floats:
    normalised: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normalised


def cloud(num: int, width: int, pull: float = 0.0, seed: int = 0) -> Floats:
    """Unit vectors drawn evenly over the sphere, then pulled towards one direction."""
    rng = np.random.default_rng(seed)
    centre = np.eye(width)[0]
    return unit(unit(rng.normal(size=(num, width))) + pull * centre)


def test_the_documented_examples_hold() -> None:
    found = doctest.testmod(representation)
    assert (found.failed, found.attempted > 5) == (0, True)


@pytest.mark.parametrize(("num", "width"), [(2, 3), (7, 4), (30, 3), (12, 40)])
def test_means_over_pairs_are_loops_over_pairs(num: int, width: int) -> None:
    vectors = cloud(num, width, pull=0.3)
    cosines = [float(a @ b) for a, b in combinations(vectors, 2)]
    potentials = [math.exp(-2 * float(np.sum((a - b) ** 2))) for a, b in product(vectors, repeat=2)]
    assert mean_cosine(vectors) == pytest.approx(sum(cosines) / len(cosines), abs=1e-12)
    assert uniformity(vectors) == pytest.approx(math.log(sum(potentials) / num**2), abs=1e-12)


def test_alignment_is_a_loop_over_pairs() -> None:
    users, items = cloud(9, 5, seed=1), cloud(9, 5, seed=2)
    distances = [float(np.sum((x - y) ** 2)) for x, y in zip(users, items, strict=True)]
    assert alignment(users, items) == pytest.approx(sum(distances) / 9, abs=1e-12)
    assert alignment(users, users) == 0.0
    assert alignment(users, -users) == pytest.approx(4.0)


@pytest.mark.parametrize(("num", "width"), [(50, 8), (8, 50), (6, 3), (20, 20)])
@pytest.mark.parametrize("k", [1, 5])
def test_components_are_those_of_scikit_learn(num: int, width: int, k: int) -> None:
    vectors = cloud(num, width, pull=0.5) @ np.diag(np.linspace(1, 3, width))
    ratios = PCA().fit(vectors).explained_variance_ratio_
    assert pca_share(vectors, k) == pytest.approx(ratios[:k].sum(), abs=1e-12)
    present = ratios[ratios > 1e-15]
    assert effective_rank(vectors) == pytest.approx(math.exp(-(present * np.log(present)).sum()), rel=1e-9)


def test_values_worked_out_by_hand() -> None:
    # Three corners of a right angle: pairs at cosines 0, 0 and -1, so at squared distances 2, 2 and 4.
    vectors = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    found = health(vectors, users_PD=[[1.0, 0.0]], items_PD=[[0.6, 0.8]])
    assert found["mean_cosine"] == pytest.approx(-1 / 3)
    assert found["uniformity"] == pytest.approx(math.log((3 + 4 * math.exp(-4) + 2 * math.exp(-8)) / 9))
    assert found["alignment"] == pytest.approx(0.4**2 + 0.8**2)
    assert found["pca_top5"] == pytest.approx(1.0)
    # Variances 2/3 along x and 2/9 along y: shares 3/4 and 1/4.
    assert found["effective_rank"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert pca_share(vectors, k=1) == pytest.approx(0.75)


def test_an_even_cloud_is_healthy_and_a_collapsed_one_is_not() -> None:
    even, collapsed = health(cloud(2_000, 20)), health(cloud(2_000, 20, pull=4.0))
    assert even["mean_cosine"] == pytest.approx(0.0, abs=0.003)
    assert collapsed["mean_cosine"] > 0.9
    assert even["effective_rank"] == pytest.approx(20, rel=0.01)
    assert even["pca_top5"] == pytest.approx(5 / 20, rel=0.15)
    # On the sphere of an even cloud |x - y|² averages 2; Jensen puts the log mean above -4, the spread not far above.
    assert -4.0 < even["uniformity"] < -3.5
    assert -0.5 < collapsed["uniformity"] < 0.0


def test_a_cloud_in_a_few_directions_has_their_rank() -> None:
    rng = np.random.default_rng(0)
    thin = unit(rng.normal(size=(5_000, 3))) @ np.linalg.qr(rng.normal(size=(50, 3)))[0].T
    assert effective_rank(thin) == pytest.approx(3, rel=0.01)
    assert pca_share(thin, k=3) == pytest.approx(1.0)
    assert pca_share(thin, k=2) < 0.75


def test_order_and_rotation_change_nothing() -> None:
    vectors = cloud(40, 6, pull=0.5)
    turned = vectors[::-1] @ np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    assert health(turned) == pytest.approx(health(vectors), abs=1e-10)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cloud(50, 4)
    whole = uniformity(vectors)
    for floats in (1, 77, 150):
        monkeypatch.setattr(representation, "CHUNK_FLOATS", floats)
        assert uniformity(vectors) == pytest.approx(whole, abs=1e-12)


def test_float32_is_measured_in_float64() -> None:
    vectors = cloud(3_000, 16, pull=10.0).astype(np.float32)
    assert health(vectors) == health(vectors.astype(np.float64))


def test_equal_vectors_have_no_variance() -> None:
    same = np.repeat(cloud(1, 7), 13, axis=0)
    assert (same - same.mean(axis=0)).any()  # centring alone would leave rounding errors to find components in
    found = health(same)
    assert found["mean_cosine"] == pytest.approx(1.0)
    assert found["uniformity"] == pytest.approx(0.0)
    assert math.isnan(found["pca_top5"])
    assert math.isnan(found["effective_rank"])


def test_what_does_not_exist_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, none = health(np.ones((1, 1))), health(np.ones((0, 4)), np.ones((0, 4)), np.ones((0, 4)))
        bad = health([[1.0, 0.0], [math.inf, 0.0], [0.0, math.nan]])
    assert one["uniformity"] == 0.0
    assert [name for name in KEYS if math.isnan(one[name])] == ["mean_cosine", "pca_top5", "effective_rank"]
    assert all(math.isnan(value) for value in none.values())
    assert "alignment" in none
    assert all(math.isnan(value) for value in bad.values())


def test_a_row_of_zeros_is_at_cosine_0_and_distance_1() -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert mean_cosine(vectors) == 0.0
    assert uniformity(vectors) == pytest.approx(math.log((1 + math.exp(-2)) / 2))
    assert effective_rank(vectors) == pytest.approx(1.0)


def test_alignment_is_there_only_with_pairs() -> None:
    vectors = cloud(6, 3)
    assert tuple(health(vectors)) == KEYS
    assert set(health(vectors, vectors, vectors)) == {*KEYS, "alignment"}
    with pytest.raises(ValueError, match="pass users_PD and items_PD together, or neither"):
        health(vectors, users_PD=vectors)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match=r"as a matrix, one row each, not as an array of shape \(3,\)"):
        mean_cosine(np.ones(3))
    with pytest.raises(
        ValueError, match=r"one item per user and one width, not arrays of shapes \(2, 3\) and \(3, 3\)"
    ):
        alignment(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="principal components is 0: choose at least 1"):
        pca_share(np.ones((2, 3)), k=0)
