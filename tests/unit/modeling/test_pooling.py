"""Item pooling against slow loops that follow the definitions, and its edge cases.

Shape letters: B impressions, H history slots, C candidate slots, D width.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Pooling
from tastelab.modeling.attention import Attention
from tastelab.modeling.pooling import ItemPooling, Mean, Mix, MixPool, TopK
from tastelab.modeling.sasrec import SASRec
from tastelab.modeling.scorers import MLP, Cosine, VectorScorer

D = 6
HISTORY = (5, 3, 0, 1)
ORDERLESS = [Mean(), TopK(k=2), Mix(k=2, weight=0.3, learnable=False), Mix(k=2), Attention(query_width=5)]
POOLINGS = [*ORDERLESS, SASRec(num_heads=2)]
SCORERS = [Cosine(), MLP(hidden=4)]


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    history_BHD = normalize(torch.randn(4, 5, D, generator=generator, dtype=dtype), dim=-1)
    candidates_BCD = normalize(torch.randn(4, 3, D, generator=generator, dtype=dtype), dim=-1)
    return history_BHD, torch.arange(5) < torch.tensor(HISTORY)[:, None], candidates_BCD


def trained(component: ItemPooling | VectorScorer, empty: float = 0.0) -> nn.Module:
    """Build in float64, every time with the same parameters, none of them where it starts but the mix weight's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = component.build(D).double()
        for name, parameter in module.named_parameters():
            if name == "empty_D":
                parameter.data.fill_(empty)
            elif name != "weight_logit":
                parameter.data += 0.5 * torch.randn_like(parameter)
    return module


def pool(pooling: ItemPooling, *tensors: Tensor, empty: float = 0.0) -> Tensor:
    scores_BC: Tensor = trained(pooling, empty)(*tensors, Cosine().build(D))
    return scores_BC


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def slow_mean(history: list[Tensor], candidate: Tensor, k: int) -> float:
    return cosine(torch.stack(history).mean(dim=0), candidate)


def slow_top_k(history: list[Tensor], candidate: Tensor, k: int) -> float:
    nearest = sorted(history, key=lambda vector: -cosine(vector, candidate))[:k]
    return cosine(torch.stack(nearest).mean(dim=0), candidate)


def slow_mix(history: list[Tensor], candidate: Tensor, k: int, weight: float) -> float:
    return weight * slow_top_k(history, candidate, k) + (1 - weight) * slow_mean(history, candidate, k)


@pytest.mark.parametrize(
    ("pooling", "slow"),
    [
        (Mean(), slow_mean),
        (TopK(k=2), slow_top_k),
        (TopK(k=4), slow_top_k),
        (Mix(k=2, weight=0.3, learnable=False), lambda h, c, k: slow_mix(h, c, k, 0.3)),
        (Mix(k=2), lambda h, c, k: slow_mix(h, c, k, 0.5)),
    ],
)
def test_scores_equal_a_slow_loop(pooling: ItemPooling, slow: object) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    scores = pool(pooling, history_BHD, mask_BH, candidates_BCD).tolist()
    for b, length in enumerate(HISTORY):
        for c in range(3):
            past = list(history_BHD[b, :length])
            expected = slow(past, candidates_BCD[b, c], getattr(pooling, "k", 0)) if past else 0.0  # type: ignore[operator]
            assert scores[b][c] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_masked_slots_change_nothing(pooling: ItemPooling) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    other_BHD = torch.where(mask_BH.unsqueeze(-1), history_BHD, candidates_BCD[:, :1])
    args = (mask_BH, candidates_BCD)
    assert torch.equal(pool(pooling, history_BHD, *args, empty=0.1), pool(pooling, other_BHD, *args, empty=0.1))
    longer_BHD = torch.cat([history_BHD, history_BHD], dim=1)
    for masks in ((mask_BH, torch.zeros_like(mask_BH)), (torch.zeros_like(mask_BH), mask_BH)):
        longer_BC = pool(pooling, longer_BHD, torch.cat(masks, dim=1), candidates_BCD)
        torch.testing.assert_close(longer_BC, pool(pooling, history_BHD, *args))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("garbage", [1e308, -1e308])
def test_even_huge_values_in_masked_slots_change_no_score_and_no_gradient(pooling: ItemPooling, garbage: float) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    grads = []
    for filled_BHD in (history_BHD, history_BHD.masked_fill(~mask_BH.unsqueeze(-1), garbage)):
        module = trained(pooling, empty=0.1)
        leaf_BHD = filled_BHD.clone().requires_grad_()
        scores_BC = module(leaf_BHD, mask_BH, candidates_BCD, Cosine().build(D))
        scores_BC.square().sum().backward()
        grads.append([scores_BC.detach(), leaf_BHD.grad, *(p.grad for p in module.parameters())])
    for clean, dirty in zip(*grads, strict=True):
        assert torch.equal(clean, dirty)
    assert not grads[0][1][~mask_BH].any()


@pytest.mark.parametrize("pooling", ORDERLESS)
def test_the_order_of_the_history_changes_nothing(pooling: ItemPooling) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    reversed_ = pool(pooling, history_BHD.flip(1), mask_BH.flip(1), candidates_BCD)
    torch.testing.assert_close(reversed_, pool(pooling, history_BHD, mask_BH, candidates_BCD))


@pytest.mark.parametrize("k", [5, 6, 100])
def test_top_k_of_the_whole_history_is_the_mean(k: int) -> None:
    torch.testing.assert_close(pool(TopK(k=k), *inputs()), pool(Mean(), *inputs()))


def test_mix_at_weight_0_is_the_mean_and_at_1_top_k() -> None:
    mean_BC, top_BC = pool(Mean(), *inputs()), pool(TopK(k=2), *inputs())
    assert not torch.allclose(mean_BC, top_BC)
    torch.testing.assert_close(pool(Mix(k=2, weight=0.0, learnable=False), *inputs()), mean_BC)
    torch.testing.assert_close(pool(Mix(k=2, weight=1.0, learnable=False), *inputs()), top_BC)


@pytest.mark.parametrize("weight", [0.2, 0.5])
def test_a_learnable_weight_starts_where_it_is_set_and_learns(weight: float) -> None:
    module = Mix(k=2, weight=weight).build(D).double()
    assert isinstance(module, MixPool)
    assert torch.as_tensor(module.weight).item() == pytest.approx(weight, abs=1e-7)
    module(*inputs(), Cosine().build(D)).sum().backward()
    assert module.weight_logit is not None
    assert module.weight_logit.grad is not None
    assert abs(float(module.weight_logit.grad)) > 1e-3


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_empty_history_ties_until_its_vector_is_trained(pooling: ItemPooling) -> None:
    assert pool(pooling, *inputs())[2].tolist() == [0.0, 0.0, 0.0]
    scores_BC = pool(pooling, *inputs(), empty=0.1)
    expected_C = inputs()[2][2] @ torch.full((D,), 0.1, dtype=torch.float64)
    torch.testing.assert_close(scores_BC[2], expected_C)


def test_a_long_empty_vector_is_held_inside_the_unit_ball() -> None:
    expected_C = inputs()[2][2] @ torch.full((D,), 1 / math.sqrt(D), dtype=torch.float64)
    torch.testing.assert_close(pool(Mean(), *inputs(), empty=50.0)[2], expected_C)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_batch_without_any_history_slot_is_scored(pooling: ItemPooling) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    scores_BC = pool(pooling, history_BHD[:, :0], mask_BH[:, :0], candidates_BCD, empty=0.1)
    torch.testing.assert_close(scores_BC[2], pool(pooling, *inputs(), empty=0.1)[2])


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [2], [0, 1]])
def test_every_parameter_takes_part_in_every_batch_with_finite_gradients(
    pooling: ItemPooling, scorer: VectorScorer, rows: list[int]
) -> None:
    """With some histories empty, all of them, none of them; DDP waits for a parameter without a gradient."""
    history_BHD, mask_BH, candidates_BCD = (tensor[rows] for tensor in inputs())
    history_BHD.requires_grad_()
    for build in (lambda component: component.build(D).double(), trained):
        module, score = build(pooling), build(scorer)
        module(history_BHD, mask_BH, candidates_BCD, score).square().sum().backward()
        parameters = [*module.named_parameters(), *score.named_parameters()]
        assert {name for name, p in parameters if p.grad is None} == set()
        assert all(p.grad is not None and p.grad.isfinite().all() for _, p in parameters)
    assert history_BHD.grad is not None
    assert history_BHD.grad.isfinite().all()
    assert not history_BHD.grad[~mask_BH].any()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_parameter_takes_part_in_a_batch_without_any_history_slot(pooling: ItemPooling) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    module = trained(pooling, empty=0.1)
    module(history_BHD[:, :0], mask_BH[:, :0], candidates_BCD, Cosine().build(D)).sum().backward()
    assert {name for name, p in module.named_parameters() if p.grad is None} == set()


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_equal_finite_differences(pooling: ItemPooling, scorer: VectorScorer) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    module, score = trained(pooling, empty=0.1), trained(scorer)
    names = [name for name, _ in module.named_parameters()]

    def scores(history: Tensor, candidates: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        arguments = (history, mask_BH, candidates, score)
        result: Tensor = torch.func.functional_call(module, parameters, arguments)
        return result

    leaves = (history_BHD.requires_grad_(), candidates_BCD.requires_grad_(), *module.parameters())
    assert torch.autograd.gradcheck(scores, leaves, fast_mode=True)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_one_candidate_scores_as_it_does_among_others(pooling: ItemPooling, scorer: VectorScorer) -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    module, score = trained(pooling, empty=0.1), trained(scorer)
    alone_B1 = module(history_BHD, mask_BH, candidates_BCD[:, 1:2], score)
    torch.testing.assert_close(alone_B1, module(history_BHD, mask_BH, candidates_BCD, score)[:, 1:2])


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("top_k", {"k": 0}, "k of 1 or more"),
        ("mix", {"k": -1}, "k of 1 or more"),
        ("attention", {"query_width": 0}, "query is 0: choose 1 or more"),
        ("sasrec", {"num_layers": 0}, "num_layers is 0: choose 1 or more"),
        ("sasrec", {"num_heads": -1}, "num_heads is -1: choose 1 or more"),
        ("sasrec", {"max_positions": 0}, "max_positions is 0: choose 1 or more"),
        ("sasrec", {"dropout": 1.0}, "dropout is 1.0: choose a number"),
        ("mix", {"weight": 1.5, "learnable": False}, "mix weight is 1.5"),
        ("mix", {"weight": 1.0}, "strictly between"),
    ],
)
def test_wrong_values_are_refused(name: str, parameters: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Pooling.named(name, **parameters)
