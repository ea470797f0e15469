"""AdamW, warm-up with cosine decay, and the gradient norm before clipping (methods.md §4).

Shape letters: N rows of a table, D width, K rows that a step touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from tastelab.config import OptimConfig
from tastelab.modeling.item_table import named_tables


class LazyAdamW(AdamW):
    """AdamW; a parameter whose gradient is sparse follows lazy Adam instead, without weight decay.

    Lazy: a step changes moments and values of the rows that it touched, and of no other row. As in
    `torch.optim.SparseAdam`, bias correction counts the steps of the parameter, not of the row, and comes after ε.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        tables = [
            (group, p, p.grad)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None and p.grad.is_sparse
        ]
        for _, p, _ in tables:
            p.grad = None  # AdamW passes over what has no gradient
        super().step()
        for group, p, grad in tables:
            self._lazy_step(group, p, grad.coalesce())
            p.grad = grad
        return loss

    def _lazy_step(self, group: dict[str, Any], rows_ND: Tensor, grad: Tensor) -> None:
        state, (beta1, beta2) = self.state[rows_ND], group["betas"]
        if not state:
            state["step"] = torch.zeros((), device=rows_ND.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(rows_ND), torch.zeros_like(rows_ND)
        state["step"] += 1
        touched_K, grad_KD = grad.indices()[0], grad.values()
        mean_KD = state["exp_avg"][touched_K].lerp_(grad_KD, 1 - beta1)
        square_KD = state["exp_avg_sq"][touched_K].lerp_(grad_KD.square(), 1 - beta2)
        state["exp_avg"][touched_K], state["exp_avg_sq"][touched_K] = mean_KD, square_KD
        steps = state["step"].double()  # 1 - β₂ᵗ of the first steps is a few thousandths
        size = group["lr"] * (1 - beta2**steps).sqrt() / (1 - beta1**steps)
        rows_ND.index_add_(0, touched_K, mean_KD / square_KD.sqrt_().add_(group["eps"]) * -size.to(rows_ND.dtype))


def build_optimizer(module: nn.Module, config: OptimConfig) -> AdamW:
    """Build AdamW over what is trained; matrices decay, vectors and scalars (norms, biases, temperature) do not.

    Nor do tables of items and words: few of their rows are touched in a step, and what training added to an item's
    text, or to a given word vector, is no size to be kept small.
    """
    tables = [p for p in named_tables(module).values() if p.requires_grad]
    rows = set(map(id, tables))
    trained = [p for p in module.parameters() if p.requires_grad and id(p) not in rows]
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
        {"params": tables, "weight_decay": 0.0},
    ]
    return LazyAdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def schedule(config: OptimConfig, total_steps: int) -> list[float]:
    """Learning-rate factors of all steps: linear warm-up, then a cosine towards zero.

    >>> schedule(OptimConfig(warmup_steps=1), 3)
    [1.0, 1.0, 0.5]
    """
    warmup = min(config.warmup_steps, total_steps // 10 or 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total_steps - warmup)))

    return [round(factor(step), 12) for step in range(total_steps)]


def build_scheduler(optimizer: AdamW, config: OptimConfig, total_steps: int, step: int) -> LambdaLR:
    """Build the schedule, standing at `step` of `total_steps`."""
    factors = schedule(config, total_steps)
    scheduler = LambdaLR(optimizer, lambda i: factors[min(i, total_steps - 1)] if factors else 0.0)
    for group, base in zip(optimizer.param_groups, scheduler.base_lrs, strict=True):
        group["lr"] = base * factors[min(step, total_steps - 1)]
    scheduler.last_epoch = step
    return scheduler


def clip_gradients(module: nn.Module, max_norm: float) -> Tensor:
    """Clip the global gradient norm, sparse gradients included, and return it as it was before."""
    trained = [p for p in module.parameters() if p.requires_grad]
    tables = [p for p in trained if p.grad is not None and p.grad.is_sparse]
    if not tables:
        return nn.utils.clip_grad_norm_(trained, max_norm)
    for table in tables:
        assert table.grad is not None
        table.grad = table.grad.coalesce()  # the norm of a sum is not that of its parts
    gradients = [p.grad.values() if p.grad.is_sparse else p.grad for p in trained if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale)
    return norm
