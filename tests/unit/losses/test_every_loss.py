"""What holds for every registered loss, alone and with each auxiliary term.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, D width.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize

import tastelab.losses  # noqa: F401  (registers what is parametrised over)
from tastelab.config import Auxiliary, Loss, ObjectiveConfig
from tastelab.losses.base import AuxiliaryLoss, RankingLoss
from tastelab.modeling.ranker import Ranker, RankerOutput
from tastelab.schema import Batch
from tastelab.training.module import Normaliser, TrainingModule

LOSSES = [*sorted(Loss.members), "ranknet scaled"]
LABELS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]]).float()
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]]).bool()
"""Two positives; padding; no positive; no negative; nothing; the positive masked."""


def named(name: str) -> RankingLoss:
    loss = Loss.named("ranknet", scaled=True) if name == "ranknet scaled" else Loss.named(name)
    assert isinstance(loss, RankingLoss)
    return loss


def scores() -> Tensor:
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 2 - 1


def scalars(loss: RankingLoss) -> dict[str, Tensor]:
    """Learned scalars a little off their starts."""
    return {name: torch.tensor(start + 0.3, dtype=torch.float64) for name, start in loss.learned.items()}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("garbage", [1e30, -1e30, math.inf, math.nan])
def test_masked_slots_change_nothing_and_have_no_gradient(name: str, garbage: float) -> None:
    loss = named(name)
    dirty_BC = scores().masked_fill(~MASK, garbage).requires_grad_()
    loss_B = loss(dirty_BC, torch.where(MASK, LABELS, 1.0 - LABELS), MASK, 0.05, **scalars(loss))
    assert torch.equal(loss_B, loss(scores(), LABELS, MASK, 0.05, **scalars(loss)))
    loss_B.sum().backward()
    assert dirty_BC.grad is not None
    assert dirty_BC.grad.isfinite().all()
    assert not dirty_BC.grad[~MASK].any()
    assert dirty_BC.grad[:2].abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_rows_without_a_positive_are_zero_with_a_zero_gradient(name: str) -> None:
    loss = named(name)
    scores_BC = scores().requires_grad_()
    loss_B = loss(scores_BC, LABELS, MASK, 0.05, **scalars(loss))
    assert loss_B[[2, 4, 5]].tolist() == [0.0, 0.0, 0.0]
    loss_B.sum().backward()
    assert scores_BC.grad is not None
    assert not scores_BC.grad[[2, 4, 5]].any()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name: str) -> None:
    loss = named(name)
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    learned = {key: value.requires_grad_() for key, value in scalars(loss).items()}

    def total(scores_BC: Tensor, temperature: Tensor, *values: Tensor) -> Tensor:
        return loss(scores_BC, LABELS, MASK, temperature, **dict(zip(learned, values, strict=True)))

    assert torch.autograd.gradcheck(total, (scores().requires_grad_(), temperature, *learned.values()), atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_better_order_costs_less(name: str) -> None:
    right_BC, wrong_BC = torch.tensor([[0.9, -0.1, -0.2]]), torch.tensor([[-0.2, 0.9, -0.1]])
    shown = (torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3).bool(), 0.5)
    assert named(name)(right_BC, *shown).item() < named(name)(wrong_BC, *shown).item()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_candidate_only(name: str, label: float) -> None:
    scores_BC = torch.tensor([[0.3]], requires_grad=True)
    loss_B = named(name)(scores_BC, torch.tensor([[label]]), torch.ones(1, 1).bool(), 0.05)
    loss_B.sum().backward()
    assert loss_B.isfinite().all()
    assert scores_BC.grad is not None
    assert scores_BC.grad.isfinite().all()
    assert label or loss_B.item() == 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_raised_to_float32_and_float64_is_kept(name: str) -> None:
    half_BC = scores().bfloat16()
    loss_B = named(name)(half_BC, LABELS, MASK, 0.05)
    assert loss_B.dtype is torch.float32
    assert torch.equal(loss_B, named(name)(half_BC.float(), LABELS, MASK, 0.05))
    assert named(name)(scores(), LABELS, MASK, 0.05).dtype is torch.float64


class Table(Ranker):
    """A ranker of bare item vectors; the user is the first click."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.items_UD = nn.Parameter(torch.randn(6, 4, generator=generator))

    def forward(self, batch: Batch) -> RankerOutput:
        items_UD = normalize(self.items_UD, dim=-1)
        history_BHD = embedding(batch.history_index_BH, items_UD)
        candidates_BCD = embedding(batch.candidate_index_BC, items_UD)
        scores_BC = torch.einsum("bd,bcd->bc", history_BHD[:, 0], candidates_BCD)
        return RankerOutput(scores_BC, items_UD, history_BHD, candidates_BCD, history_BHD[:, 0])


@pytest.fixture
def batch() -> Batch:
    """Three impressions, the last of which does not count."""
    valid_B = torch.tensor([True, True, False])
    return Batch(
        item_ids_U=torch.arange(6),
        item_tokens_UT=torch.ones(6, 1, dtype=torch.int64),
        item_mask_UT=torch.ones(6, 1, dtype=torch.bool),
        history_index_BH=torch.tensor([[0, 1], [2, 0], [0, 0]]),
        history_mask_BH=torch.tensor([[True, True], [True, False], [False, False]]),
        candidate_index_BC=torch.tensor([[3, 4, 5], [1, 3, 0], [0, 0, 0]]),
        candidate_mask_BC=torch.tensor([[True, True, True], [True, True, False], [False, False, False]]),
        labels_BC=torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        impression_mask_B=valid_B,
        rows_B=torch.tensor([0, 1, -1]),
    )


@pytest.mark.parametrize("auxiliary", [None, *sorted(Auxiliary.members)])
@pytest.mark.parametrize("name", LOSSES)
def test_any_auxiliary_is_added_to_any_loss_and_every_parameter_gets_a_gradient(
    batch: Batch, name: str, auxiliary: str | None
) -> None:
    loss, ranker = named(name), Table()
    term = None
    if auxiliary is not None:
        extra = {"threshold": 0.0} if auxiliary == "redundancy" else {}
        term = Auxiliary.named(auxiliary, weight=0.7, **extra)
    objective = ObjectiveConfig(loss, (term,) if term else (), temperature=0.2, learnable_temperature=True)
    module = TrainingModule(ranker, objective, contrast_size=3)
    total, parts = module(batch, Normaliser(impressions=2.0, groups=1.0))
    total.backward()

    output, valid_B = ranker(batch), batch.impression_mask_B
    shown = (output.scores_BC, batch.labels_BC, batch.candidate_mask_BC)
    expected = loss(*shown, 0.2)[valid_B].sum() / 2
    if isinstance(term, AuxiliaryLoss) and term.of_users:
        clicks_PD = output.item_vectors_UD[[3, 3]]  # the item that both clicked, and none of the padded impression
        owners = (torch.tensor([[0, 1]]), torch.ones(1, 2).bool())
        expected = expected + 0.7 * term.user_loss(output.users_BD[None], clicks_PD[None], *owners)[0, :2].sum() / 2
    elif isinstance(term, AuxiliaryLoss) and term.coupled:
        distinct_UD = output.item_vectors_UD[[1, 3, 4, 5]]
        expected = expected + 0.7 * term.group_loss(distinct_UD[None], torch.ones(1, 4).bool()).sum()
    elif isinstance(term, AuxiliaryLoss):
        vectors = (output.history_BHD, batch.history_mask_BH, output.candidates_BCD, batch.candidate_mask_BC)
        expected = expected + 0.7 * term.impression_loss(*vectors)[valid_B].sum() / 2
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(parts["loss"], expected.detach())
    assert set(parts) == {loss.name, "loss"} | ({auxiliary} if auxiliary else set())
    assert {key for key, p in module.named_parameters() if p.grad is None} == set()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in ranker.parameters())
