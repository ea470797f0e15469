"""Exact optima: the table of methods.md §6, theorem 1 of [B], and the definition gone through draw by draw.

Shape letters: M items.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from tastelab.losses.enumeration import exact_optimum, ipw_optimum

P = [0.6, 0.25, 0.1, 0.05]
Q = [0.1, 0.2, 0.3, 0.4]
TABLE = {
    ("kept", "kept", False): [0.25, 0.25, 0.25, 0.25],
    ("kept", "kept", True): [0.6, 0.25, 0.1, 0.05],
    ("masked", "kept", False): [0.294, 0.249, 0.231, 0.226],
    ("masked", "kept", True): [0.645, 0.229, 0.085, 0.041],
    ("masked", "weighted", False): [0.315, 0.249, 0.223, 0.214],
    ("masked", "weighted", True): [0.665, 0.219, 0.078, 0.038],
}
"""Optima with p = q and two negatives, by what happens to hits and duplicates, and whether log q is taken off."""


@pytest.mark.parametrize("case", TABLE)
def test_the_six_optima(case: tuple[str, str, bool]) -> None:
    hits, duplicates, log_q = case
    optimum_M = exact_optimum(P, P, 2, log_q=log_q, hits=hits, duplicates=duplicates)
    assert [round(value, 3) for value in optimum_M.tolist()] == TABLE[case]


def expected_loss(logits_M: Tensor, q: list[float], log_q: bool, hits: str, duplicates: str) -> Tensor:
    """The loss of P by its definition, each ordered draw of three by itself."""
    q_M = torch.tensor(q, dtype=torch.float64)
    corrected_M = logits_M - (q_M.log() if log_q else 0.0)
    total = torch.zeros((), dtype=torch.float64)
    for positive in range(len(P)):
        for draws in itertools.product(range(len(P)), repeat=3):
            terms = [corrected_M[positive].exp()]
            for draw in draws:
                if hits == "kept" or draw != positive:
                    share = 1 / draws.count(draw) if duplicates == "weighted" else 1.0
                    terms.append(share * corrected_M[draw].exp())
            chance = P[positive] * float(q_M[list(draws)].prod())
            total = total + chance * (torch.stack(terms).sum().log() - corrected_M[positive])
    return total


@pytest.mark.parametrize("log_q", [False, True])
@pytest.mark.parametrize("hits", ["kept", "masked"])
@pytest.mark.parametrize("duplicates", ["kept", "weighted"])
def test_the_gradient_of_the_definition_is_zero_at_the_optimum_and_nowhere_near(
    log_q: bool, hits: str, duplicates: str
) -> None:
    def gradient(optimum_M: Tensor) -> float:
        logits_M = optimum_M.log().requires_grad_()
        (slope_M,) = torch.autograd.grad(expected_loss(logits_M, Q, log_q, hits, duplicates), logits_M)
        return float(slope_M.abs().max())

    optimum_M = exact_optimum(P, Q, 3, log_q=log_q, hits=hits, duplicates=duplicates)
    assert gradient(optimum_M) < 1e-12
    assert gradient(torch.softmax(optimum_M.log() + torch.tensor([0.01, 0, 0, -0.01]).double(), 0)) > 1e-4


@pytest.mark.parametrize("num_negatives", [1, 2, 7])
def test_theorem_one_contrastive_and_ipw_have_the_same_optimum_for_any_q(num_negatives: int) -> None:
    by_hand_M = torch.tensor([6.0, 1.25, 1 / 3, 0.125]).double()
    torch.testing.assert_close(ipw_optimum(P, Q), by_hand_M / by_hand_M.sum())
    torch.testing.assert_close(exact_optimum(P, Q, num_negatives), ipw_optimum(P, Q))
    torch.testing.assert_close(exact_optimum(P, Q, num_negatives, log_q=True), torch.tensor(P).double())


def test_masking_and_weighting_bring_popularity_bias_back_and_more_so_with_more_negatives() -> None:
    most = [exact_optimum(P, P, num, hits="masked", duplicates="weighted")[0].item() for num in (1, 2, 4, 8)]
    assert [0.25, *most] == sorted([0.25, *most])
    assert most[-1] > 0.35


def test_an_item_that_is_neither_drawn_nor_clicked_has_no_share() -> None:
    optimum_M = exact_optimum([0.5, 0.0, 0.5], [0.2, 0.0, 0.8], 2)
    torch.testing.assert_close(optimum_M, torch.tensor([0.8, 0.0, 0.2]).double())
    torch.testing.assert_close(optimum_M, ipw_optimum([0.5, 0.0, 0.5], [0.2, 0.0, 0.8]))


@pytest.mark.parametrize(
    ("p_data", "q", "settings", "sentence"),
    [
        ([0.5, 0.5], [1.0, 0.0], {}, "An item with q = 0 has clicks"),
        ([1.0, 0.0], [0.5, 0.5], {}, "An item that q draws has no clicks"),
        ([0.5, 0.4], [0.5, 0.5], {}, "p_data sums to 0.9"),
        ([0.5, 0.5], [1.5, -0.5], {}, "q sums to 1: give probabilities"),
        ([0.5, 0.5], [1.0], {}, "one number an item"),
        ([0.5, 0.5], [0.5, 0.5], {"num_negatives": 0}, "negatives is 0"),
        ([0.5, 0.5], [0.5, 0.5], {"hits": "dropped"}, "hits is 'dropped'"),
        ([0.05] * 20, [0.05] * 20, {"num_negatives": 8}, "20 items and 8 negatives make 44,401,500 cases"),
    ],
)
def test_what_has_no_optimum_is_refused(
    p_data: list[float], q: list[float], settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        exact_optimum(p_data, q, **{"num_negatives": 2, **settings})  # type: ignore[arg-type]
