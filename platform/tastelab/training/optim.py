"""AdamW, warm-up with cosine decay, and the gradient norm before clipping (methods.md §4)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from tastelab.config import OptimConfig


def build_optimizer(module: nn.Module, config: OptimConfig) -> AdamW:
    """Build AdamW over what is trained; matrices decay, vectors and scalars (norms, biases, temperature) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


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


def clip_gradients(module: nn.Module, max_norm: float) -> torch.Tensor:
    """Clip the global gradient norm and return it as it was before."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return nn.utils.clip_grad_norm_(trained, max_norm)
