"""The temperature that divides similarities before they enter a loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOWEST, HIGHEST = 0.005, 1.0


class Temperature(nn.Module):
    """A temperature, fixed or learned through its logarithm, within [.005, 1] if learned (methods.md §4)."""

    def __init__(self, start: float, learnable: bool = False) -> None:
        """Start at `start`; raises `ValueError` if it is not above 0, or is learnable outside [.005, 1]."""
        super().__init__()
        check_temperature(start, learnable)
        log_start = torch.tensor(math.log(start))
        self.learnable = learnable
        self.log_value: Tensor
        if learnable:
            self.log_value = nn.Parameter(log_start)
        else:
            self.register_buffer("log_value", log_start)

    def forward(self) -> Tensor:
        """Return the temperature, a scalar; beyond a bound it is held there, and only a gradient back inside passes."""
        value = self.log_value.exp()
        if not self.learnable:
            return value
        # A plain clamp has no gradient beyond its bound: a temperature that overshot could never come back.
        held = value + (value.clamp(LOWEST, HIGHEST) - value).detach()
        if held.requires_grad:
            low, high = (value < LOWEST).detach(), (value > HIGHEST).detach()
            held.register_hook(lambda grad: torch.where((low & (grad > 0)) | (high & (grad < 0)), 0.0, grad))
        return held


def check_temperature(start: float, learnable: bool = False) -> None:
    """Raise `ValueError` for a temperature that no loss can divide by; needs no model."""
    if not start > 0.0 or math.isinf(start):
        raise ValueError(f"The temperature is {start}: choose a number above 0, such as 0.05.")
    if learnable and not LOWEST <= start <= HIGHEST:
        raise ValueError(f"The learnable temperature starts at {start}: choose a number from {LOWEST} to {HIGHEST}.")
