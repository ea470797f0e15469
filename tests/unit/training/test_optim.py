"""The schedule by hand, what decays, and the gradient norm before clipping."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tastelab.config import OptimConfig
from tastelab.training.optim import build_optimizer, build_scheduler, clip_gradients, schedule


def test_the_schedule_warms_up_then_falls_like_a_cosine() -> None:
    factors = schedule(OptimConfig(warmup_steps=4), 104)
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[54] == pytest.approx(0.5)
    assert factors[29] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < factors[-1] < 1e-3
    assert factors[3:] == sorted(factors[3:], reverse=True)


@pytest.mark.parametrize(("total", "warmup"), [(1_000, 50), (200, 20), (30, 3), (9, 1), (1, 1)])
def test_warm_up_takes_at_most_a_tenth_of_a_short_run(total: int, warmup: int) -> None:
    factors = schedule(OptimConfig(warmup_steps=50), total)
    assert len(factors) == total
    assert [round(f * warmup) for f in factors[:warmup]] == list(range(1, warmup + 1))
    assert factors[min(warmup, total - 1)] == 1.0


def test_no_warm_up_starts_at_the_top() -> None:
    assert schedule(OptimConfig(warmup_steps=0), 2) == [1.0, 0.5]


def run_schedule(start: int, stop: int, total: int) -> list[float]:
    module = nn.Linear(2, 2)
    config = OptimConfig(learning_rate=0.1, warmup_steps=5)
    optimizer = build_optimizer(module, config)
    scheduler = build_scheduler(optimizer, config, total, start)
    rates = []
    for _ in range(start, stop):
        rates.append(optimizer.param_groups[0]["lr"])
        assert {group["lr"] for group in optimizer.param_groups} == {rates[-1]}
        optimizer.step()
        scheduler.step()
    return rates


def test_the_optimiser_follows_the_schedule() -> None:
    rates = run_schedule(0, 60, 60)
    assert rates == pytest.approx([0.1 * factor for factor in schedule(OptimConfig(warmup_steps=5), 60)])


@pytest.mark.parametrize("start", [1, 3, 5, 41, 59])
def test_a_schedule_goes_on_from_any_step(start: int) -> None:
    assert run_schedule(start, 60, 60) == run_schedule(0, 60, 60)[start:]


def test_matrices_decay_and_vectors_do_not() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    module.temperature = nn.Parameter(torch.tensor(1.0))
    frozen = nn.Linear(2, 2).requires_grad_(False)
    module.append(frozen)
    optimizer = build_optimizer(module, OptimConfig(weight_decay=0.3, learning_rate=0.5))
    matrices, others = optimizer.param_groups
    assert [tuple(p.shape) for p in matrices["params"]] == [(4, 3)]
    assert len(others["params"]) == 4
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert not {id(p) for p in frozen.parameters()} & {id(p) for g in optimizer.param_groups for p in g["params"]}
    before = [p.detach().clone() for p in module.parameters()]
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    moved = [not torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True)]
    assert [tuple(p.shape) for p, m in zip(module.parameters(), moved, strict=True) if m] == [(4, 3)]


def test_a_model_of_matrices_alone_has_one_group() -> None:
    assert len(build_optimizer(nn.Linear(2, 2, bias=False), OptimConfig()).param_groups) == 1


@pytest.mark.parametrize(("most", "after"), [(2.0, 2.0), (100.0, 13.0)])
def test_the_norm_is_that_before_clipping(most: float, after: float) -> None:
    module = nn.Linear(1, 2)
    module.weight.grad, module.bias.grad = torch.tensor([[3.0], [4.0]]), torch.tensor([12.0, 0.0])
    assert clip_gradients(module, most).item() == pytest.approx(13.0)
    norm = torch.cat([module.weight.grad.flatten(), module.bias.grad]).norm().item()
    assert norm == pytest.approx(after, rel=1e-5)
