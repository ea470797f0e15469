"""ZCA whitening: its defining properties, scikit-learn's OAS, and what happens where items do not vary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.evaluation import whitening
from tastelab.evaluation.whitening import fit_whitening, oas_shrinkage
from tastelab.metrics.representation import effective_rank, mean_cosine

WIDTH = 12


def cloud(num: int, seed: int = 0, directions: int = WIDTH) -> Tensor:
    """Unit vectors off the centre of the sphere whose spread falls from one random direction to the next."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(WIDTH, WIDTH)))[0]
    spread = 0.6 ** np.arange(WIDTH) * (np.arange(WIDTH) < directions)
    return normalize(torch.from_numpy(rng.normal(size=(num, WIDTH)) * spread @ turn + 0.4 * turn[0]), dim=-1)


def rotation(seed: int) -> Tensor:
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)))[0])


def covariance(vectors_ND: Tensor) -> Tensor:
    return torch.cov(vectors_ND.T, correction=0)


def test_fitted_vectors_are_white_before_they_are_normalised() -> None:
    vectors_ND = cloud(500)
    white_ND = fit_whitening(vectors_ND, shrinkage=1e-12).unnormalised(vectors_ND)
    torch.testing.assert_close(white_ND.mean(dim=0), torch.zeros(WIDTH, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(covariance(white_ND), torch.eye(WIDTH, dtype=torch.float64), atol=1e-6, rtol=0)
    assert not torch.allclose(covariance(vectors_ND) * WIDTH, torch.eye(WIDTH, dtype=torch.float64), atol=0.5)


def test_the_result_has_unit_length_and_is_healthier() -> None:
    vectors_ND = cloud(400).float()
    white_ND = fit_whitening(vectors_ND)(vectors_ND)
    assert white_ND.dtype == torch.float32
    torch.testing.assert_close(white_ND.norm(dim=-1), torch.ones(400))
    before, after = vectors_ND.numpy(), white_ND.numpy()
    assert mean_cosine(before) > 0.05
    assert mean_cosine(after) == pytest.approx(0.0, abs=0.01)
    assert effective_rank(after) > 1.5 * effective_rank(before)


def test_the_matrix_is_symmetric_and_stretches_every_direction() -> None:
    matrix_DD = fit_whitening(cloud(300)).matrix_DD
    torch.testing.assert_close(matrix_DD, matrix_DD.T, atol=1e-12, rtol=1e-12)
    assert torch.linalg.eigvalsh(matrix_DD).min() > 0


def test_no_other_whitening_moves_the_vectors_less() -> None:
    vectors_ND = cloud(300)
    whitening_ = fit_whitening(vectors_ND, shrinkage=1e-12)
    centred_ND = vectors_ND - whitening_.mean_D
    zca_ND = whitening_.unnormalised(vectors_ND)
    moved = (zca_ND - centred_ND).square().sum()
    for seed in range(5):
        turn_DD = rotation(seed)
        other_ND = zca_ND @ turn_DD
        torch.testing.assert_close(covariance(other_ND), covariance(zca_ND), atol=1e-6, rtol=0)
        assert (other_ND - centred_ND).square().sum() > moved


def test_turning_the_vectors_turns_the_result() -> None:
    vectors_ND = cloud(200)
    turn_DD = rotation(0)
    plain_ND, turned_ND = (fit_whitening(given_ND)(given_ND) for given_ND in (vectors_ND, vectors_ND @ turn_DD))
    torch.testing.assert_close(turned_ND, plain_ND @ turn_DD, atol=1e-9, rtol=0)


@pytest.mark.parametrize("num", [2, WIDTH // 2, WIDTH - 3])
def test_with_few_items_no_direction_blows_up(num: int) -> None:
    fitted_ND, fresh_ND = cloud(num), cloud(1_000, seed=1)
    null_DK = torch.linalg.eigh(covariance(fitted_ND))[1][:, : WIDTH - num + 1]
    energies = []
    for shrinkage in (None, 1e-6):
        white_ND = fit_whitening(fitted_ND, shrinkage)(fresh_ND)
        assert torch.isfinite(white_ND).all()
        energies.append((white_ND @ null_DK).square().sum(dim=1).mean().item())
    # Where the fitted items do not vary, fresh ones hold no more than the share of these directions, about.
    assert energies[0] < 1.2 * null_DK.shape[1] / WIDTH
    assert energies[1] > max(0.9, 1.05 * energies[0])


def test_a_single_item_only_centres() -> None:
    fresh_ND = cloud(10, seed=1)
    expected_ND = normalize(fresh_ND - cloud(1), dim=-1)
    torch.testing.assert_close(fit_whitening(cloud(1))(fresh_ND), expected_ND, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shrinkage", [1e-3, 0.1, 1.0])
def test_a_stretch_is_bounded_by_the_shrinkage(shrinkage: float) -> None:
    fitted_ND = cloud(WIDTH // 2)
    mean_variance = covariance(fitted_ND).diagonal().mean()
    stretches_D = torch.linalg.eigvalsh(fit_whitening(fitted_ND, shrinkage).matrix_DD)
    torch.testing.assert_close(stretches_D.max(), (shrinkage * mean_variance).rsqrt(), atol=0, rtol=1e-9)


def test_full_shrinkage_only_centres() -> None:
    vectors_ND = cloud(50)
    expected_ND = normalize(vectors_ND - vectors_ND.mean(dim=0), dim=-1)
    torch.testing.assert_close(fit_whitening(vectors_ND, shrinkage=1.0)(vectors_ND), expected_ND, atol=1e-9, rtol=0)


@pytest.mark.parametrize("num", [3, 10, 40, 5_000])
def test_the_estimated_shrinkage_is_scikit_learns(num: int) -> None:
    vectors_ND = cloud(num, directions=8)
    ours = oas_shrinkage(torch.linalg.eigvalsh(covariance(vectors_ND)), num)
    assert ours == pytest.approx(OAS().fit(vectors_ND.numpy()).shrinkage_, rel=1e-6)
    assert 0 < ours < (0.01 if num == 5_000 else 1.0)


def test_a_vector_at_the_mean_becomes_zero() -> None:
    vectors_ND = cloud(100).float()
    whitening_ = fit_whitening(vectors_ND)
    assert not whitening_(whitening_.mean_D.float()).any()
    same_ND = cloud(1).expand(13, -1)
    assert (same_ND - same_ND.mean(dim=0)).any()  # centring alone would leave rounding errors to stretch
    assert not fit_whitening(same_ND)(same_ND).any()
    torch.testing.assert_close(fit_whitening(same_ND).matrix_DD, torch.eye(WIDTH, dtype=torch.float64))


def test_any_leading_shape_and_low_precision() -> None:
    vectors_ND = cloud(60)
    whitening_ = fit_whitening(vectors_ND)
    shaped = whitening_(vectors_ND.view(3, 20, WIDTH))
    torch.testing.assert_close(shaped.flatten(0, 1), whitening_(vectors_ND))
    with torch.autocast("cpu", torch.bfloat16):
        low_ND = whitening_(vectors_ND.bfloat16())
    assert low_ND.dtype == torch.float32
    torch.testing.assert_close(low_ND, whitening_(vectors_ND.bfloat16().double()).float(), atol=1e-4, rtol=0)


def test_chunks_change_nothing_and_no_gradient_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors_ND = cloud(100).requires_grad_()
    whole = fit_whitening(vectors_ND)
    monkeypatch.setattr(whitening, "CHUNK_ITEMS", 7)
    cut = fit_whitening(vectors_ND)
    assert not whole.matrix_DD.requires_grad
    torch.testing.assert_close(cut.matrix_DD, whole.matrix_DD, atol=1e-9, rtol=0)
    torch.testing.assert_close(cut.mean_D, whole.mean_D, atol=1e-12, rtol=0)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one item as rows of a matrix, not shape \(0, 12\)"):
        fit_whitening(torch.zeros(0, WIDTH))
    with pytest.raises(ValueError, match="Some vectors are not finite"):
        fit_whitening(torch.full((3, WIDTH), torch.nan))
    for wrong in (0.0, -0.1, 1.5):
        with pytest.raises(ValueError, match="choose above 0 and up to 1, or None"):
            fit_whitening(cloud(20), shrinkage=wrong)
