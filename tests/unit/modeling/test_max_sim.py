"""MaxSim against a loop written from its formula, its gradient against finite differences.

Shape letters: B impressions, C candidate slots, D width, M token vectors.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.modeling import max_sim as module
from tastelab.modeling.max_sim import TokenSets, max_sim

HISTORY_COUNTS = (4, 1, 0, 6)
CANDIDATE_COUNTS = ((3, 1, 5), (2, 2, 0), (1, 4, 0), (7, 0, 2))


def vectors(num: int, width: int = 5, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return normalize(torch.randn(num, width, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def sets(vectors_MD: Tensor, counts: list[int], seed: int = 0) -> TokenSets:
    rows_R = torch.randint(len(vectors_MD), (sum(counts),), generator=torch.Generator().manual_seed(seed))
    return TokenSets(vectors_MD, rows_R, torch.tensor(counts))


def case(dtype: torch.dtype = torch.float32) -> tuple[TokenSets, TokenSets, Tensor]:
    history = sets(vectors(9, seed=1, dtype=dtype), list(HISTORY_COUNTS), seed=1)
    candidates = sets(vectors(11, seed=2, dtype=dtype), [n for row in CANDIDATE_COUNTS for n in row], seed=2)
    return history, candidates, 0.5 * vectors(1, seed=3, dtype=dtype)[0]


def loop(history: TokenSets, candidates: TokenSets, empty_D: Tensor) -> Tensor:
    texts = [list(found.vectors_MD[found.rows_R].split(found.counts_S.tolist())) for found in (history, candidates)]
    num_candidates = len(texts[1]) // len(texts[0])
    scores_BC = torch.zeros(len(texts[0]), num_candidates, dtype=empty_D.dtype)
    for b, clicked in enumerate(texts[0]):
        asking = clicked if len(clicked) else empty_D[None]
        for c, shown in enumerate(texts[1][b * num_candidates : (b + 1) * num_candidates]):
            if len(shown):
                scores_BC[b, c] = sum(max(q @ t for t in shown) for q in asking) / len(asking)
    return scores_BC


@pytest.mark.parametrize("slice_floats", [1, 300, 10**9])
def test_scores_equal_the_formula_however_they_are_sliced(slice_floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_FLOATS", slice_floats)
    torch.testing.assert_close(max_sim(*case()), loop(*case()), rtol=0, atol=1e-6)


def test_gradients_equal_finite_differences() -> None:
    history, candidates, empty_D = case(torch.float64)

    def scores(history_MD: Tensor, candidates_MD: Tensor, empty_D: Tensor) -> Tensor:
        asked = TokenSets(history_MD, history.rows_R, history.counts_S)
        shown = TokenSets(candidates_MD, candidates.rows_R, candidates.counts_S)
        return max_sim(asked, shown, empty_D)

    inputs = [t.clone().requires_grad_() for t in (history.vectors_MD, candidates.vectors_MD, empty_D)]
    assert torch.autograd.gradcheck(scores, inputs)
    outside = [*inputs[:2], (5 * empty_D).requires_grad_()]
    assert torch.autograd.gradcheck(scores, outside)


def test_one_token_on_each_side_is_a_cosine() -> None:
    history, candidates = sets(vectors(3, seed=1), [1, 1]), sets(vectors(3, seed=2), [1, 1, 1, 1])
    users_BD = history.vectors_MD[history.rows_R]
    shown_BCD = candidates.vectors_MD[candidates.rows_R].view(2, 2, -1)
    expected_BC = torch.cosine_similarity(users_BD[:, None], shown_BCD, dim=-1)
    torch.testing.assert_close(max_sim(history, candidates, torch.zeros(5)), expected_BC, rtol=0, atol=1e-6)


def test_the_learned_token_of_an_empty_history_has_at_most_length_one() -> None:
    history, candidates, empty_D = case()
    inside, outside = (max_sim(history, candidates, scale * empty_D)[2] for scale in (2, 20))
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-6)
    assert max_sim(history, candidates, torch.zeros(5))[2].tolist() == [0.0, 0.0, 0.0]


def test_a_longer_history_of_the_same_tokens_has_the_same_score() -> None:
    tokens_MD, candidates = vectors(4), sets(vectors(6, seed=2), [2, 4])
    once = TokenSets(tokens_MD, torch.arange(4), torch.tensor([4]))
    thrice = TokenSets(tokens_MD, torch.arange(4).repeat(3), torch.tensor([12]))
    found = [max_sim(history, candidates, torch.zeros(5)) for history in (once, thrice)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_without_any_token_scores_are_zero_and_gradients_reach_what_there_is() -> None:
    none_MD, empty_D = torch.zeros(0, 5, requires_grad=True), torch.ones(5, requires_grad=True)
    nothing = TokenSets(none_MD, torch.zeros(0, dtype=torch.int64), torch.tensor([0, 0]))
    scores_BC = max_sim(nothing, nothing, empty_D)
    assert scores_BC.tolist() == [[0.0], [0.0]]
    scores_BC.sum().backward()
    assert none_MD.grad is not None and empty_D.grad is not None
    assert empty_D.grad.tolist() == [0.0] * 5


def test_scores_are_float32_whatever_autocast_says() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = max_sim(*case())
    assert torch.equal(under_autocast, max_sim(*case()))


def test_the_maximum_keeps_indices_not_similarities() -> None:
    """What the backward pass needs grows with tokens × candidates, not with tokens × candidates × tokens."""
    history = TokenSets(vectors(64).requires_grad_(), torch.arange(64), torch.tensor([64]))
    candidates = sets(vectors(64, seed=2).requires_grad_(), [64] * 8)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        max_sim(history, candidates, torch.zeros(5))
    assert max(saved) < 64 * 8 * 64
