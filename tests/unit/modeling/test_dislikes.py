"""γ of methods.md §8: what was disliked counts against a candidate, in every architecture alike."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tastelab.config import ModelConfig
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, check_gamma, trainable_state


class Counting(Ranker):
    """Scores a candidate by the sum of the history's ids, so that what was counted can be read off."""

    def score(self, items: Items, slots: Slots) -> Tensor:
        ids_BH = items.ids_U[slots.history_index_BH].float() * slots.history_mask_BH
        return ids_BH.sum(dim=1, keepdim=True).expand(-1, slots.candidate_index_BC.shape[1]).clone()


def items() -> Items:
    return Items(torch.tensor([1, 10, 100, 1000]), torch.zeros(4, 1, dtype=torch.int64), torch.ones(4, 1).bool())


def slots(signs: list[list[int]] | None) -> Slots:
    history = torch.tensor([[0, 1, 2], [1, 2, 0], [3, 0, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]).bool()
    feedback = None if signs is None else torch.tensor(signs, dtype=torch.float32)
    return Slots(history, mask, torch.tensor([[0, 1]] * 3), torch.ones(3, 2).bool(), feedback)


SIGNS = [[1, -1, 1], [1, 1, 0], [-1, 0, 0]]


def with_gamma(gamma: float) -> Ranker:
    ranker = Counting()
    ranker.dislike_weight = torch.nn.Parameter(torch.tensor(gamma).expm1().log())
    return ranker


def test_a_dislike_counts_against_by_gamma() -> None:
    scores = with_gamma(0.25).scores(items(), slots(SIGNS))
    expected = [[101 - 0.25 * 10] * 2, [110.0] * 2, [0 - 0.25 * 1000] * 2]
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_without_a_trained_gamma_the_configured_one_counts() -> None:
    ranker = Counting()
    assert ranker.gamma is None
    torch.testing.assert_close(ranker.scores(items(), slots(SIGNS))[2], torch.tensor([-500.0, -500.0]))
    ranker.default_gamma = 0.0
    torch.testing.assert_close(ranker.scores(items(), slots(SIGNS))[2], torch.tensor([0.0, 0.0]))


@pytest.mark.parametrize("signs", [None, [[1, 1, 1], [1, 1, 0], [1, 0, 0]]])
def test_without_dislikes_the_score_is_the_plain_one(signs: list[list[int]] | None) -> None:
    ranker = with_gamma(0.7)
    assert ranker.scores(items(), slots(signs)).equal(ranker.score(items(), slots(None)))
    ranker.scores(items(), slots(signs)).sum().backward()
    assert ranker.dislike_weight is not None and ranker.dislike_weight.grad == 0  # there, so that DDP does not wait


def test_gamma_learns_by_its_derivative() -> None:
    ranker = with_gamma(0.5)
    ranker.scores(items(), slots(SIGNS)).sum().backward()
    assert ranker.dislike_weight is not None and ranker.dislike_weight.grad is not None
    inner = math.log(math.expm1(0.5))
    assert ranker.dislike_weight.grad.item() == pytest.approx(-(2 * 10 + 2 * 1000) / (1 + math.exp(-inner)))


def test_gamma_is_built_where_the_data_have_dislikes(tiny_bert: Path) -> None:
    plain = build_ranker(ModelConfig(), Resources(str(tiny_bert)))
    assert plain.gamma is None and "dislike_weight" not in trainable_state(plain)
    signed = build_ranker(ModelConfig(gamma=0.3), Resources(str(tiny_bert), has_feedback=True))
    assert signed.gamma == pytest.approx(0.3) and "dislike_weight" in trainable_state(signed)
    fixed = build_ranker(ModelConfig(gamma=0.0, learnable_gamma=False), Resources(str(tiny_bert), has_feedback=True))
    assert fixed.gamma is None and fixed.default_gamma == 0


@pytest.mark.parametrize(("gamma", "learnable"), [(-0.1, False), (0.0, True), (float("nan"), True)])
def test_a_gamma_that_cannot_be_is_refused(gamma: float, learnable: bool) -> None:
    with pytest.raises(ValueError, match="choose a number above 0, or 0 with learnable_gamma=False"):
        check_gamma(ModelConfig(gamma=gamma, learnable_gamma=learnable))
