"""Scorers against the formula, number by number.

Shape letters: B impressions, C candidate slots, D width.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.config import Scorer
from tastelab.modeling.scorers import MLP, Cosine, MLPScore

D = 5


def vectors() -> tuple[Tensor, Tensor]:
    """One user per impression, candidates; unit vectors."""
    generator = torch.Generator().manual_seed(4)
    users_B1D = normalize(torch.randn(3, 1, D, generator=generator, dtype=torch.float64), dim=-1)
    return users_B1D, normalize(torch.randn(3, 4, D, generator=generator, dtype=torch.float64), dim=-1)


def trained(hidden: int | None = None) -> MLPScore:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        score = MLP(hidden).build(D).double()
        assert isinstance(score, MLPScore)
        score.outer.weight.data.normal_()
    return score


def slow_mlp(user: list[float], item: list[float], score: MLPScore) -> float:
    u, n = ([math.sqrt(D) * value for value in vector] for vector in (user, item))
    features = [*u, *n, *(a * b for a, b in zip(u, n, strict=True)), *(abs(a - b) for a, b in zip(u, n, strict=True))]
    total = 0.0
    for row, shift, weight in zip(
        score.inner.weight.tolist(), score.inner.bias.tolist(), score.outer.weight[0].tolist(), strict=True
    ):
        x = sum(w * f for w, f in zip(row, features, strict=True)) + shift
        total += weight * x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    return total


@pytest.mark.parametrize("hidden", [None, 1, 7])
def test_the_mlp_equals_the_formula(hidden: int | None) -> None:
    users_B1D, candidates_BCD = vectors()
    score = trained(hidden)
    scores = score(users_B1D, candidates_BCD).tolist()
    for b in range(3):
        expected = [slow_mlp(users_B1D[b, 0].tolist(), item, score) for item in candidates_BCD[b].tolist()]
        assert scores[b] == pytest.approx(expected, abs=1e-10)
    assert score.inner.out_features == (hidden or D)


@pytest.mark.parametrize("score", [Cosine().build(D), trained()])
def test_a_user_of_each_candidate_is_scored_against_its_own(score: torch.nn.Module) -> None:
    users_B1D, candidates_BCD = vectors()
    users_BCD = candidates_BCD.flip(1)
    scores_BC = score(users_BCD, candidates_BCD)
    for c in range(4):
        torch.testing.assert_close(scores_BC[:, c], score(users_BCD[:, c : c + 1], candidates_BCD)[:, c])
    torch.testing.assert_close(score(users_B1D.expand(-1, 4, -1), candidates_BCD), score(users_B1D, candidates_BCD))


def test_cosine_by_hand() -> None:
    scores_BC = Cosine().build(2)(torch.tensor([[[0.6, 0.8]]]), torch.tensor([[[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]]]))
    assert scores_BC.flatten().tolist() == pytest.approx([0.6, 1.0, 0.0])


def test_an_untrained_mlp_ties_all_candidates_and_can_leave_the_tie() -> None:
    score = MLP().build(D).double()
    scores_BC = score(*vectors())
    assert scores_BC.tolist() == [[0.0] * 4] * 3
    scores_BC[:, 0].sum().backward()
    assert score.get_parameter("outer.weight").grad.abs().sum() > 1e-2


@pytest.mark.parametrize("score", [Cosine().build(D), trained(), trained(2)])
def test_gradients_equal_finite_differences(score: torch.nn.Module) -> None:
    names = [name for name, _ in score.named_parameters()]

    def scores(users: Tensor, candidates: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        result: Tensor = torch.func.functional_call(score, parameters, (users, candidates))
        return result

    leaves = (*(tensor.requires_grad_() for tensor in vectors()), *score.parameters())
    assert torch.autograd.gradcheck(scores, leaves)


def test_names_and_what_is_refused() -> None:
    assert Scorer.named("cosine") == Cosine()
    assert Scorer.named("mlp", hidden=64) == MLP(64)
    with pytest.raises(ValueError, match="hidden width is 0: choose 1 or more"):
        Scorer.named("mlp", hidden=0)
