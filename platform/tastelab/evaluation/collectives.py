"""The few collective operations that the package needs; each is the identity for a single process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes of the default group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Rank in the default group, 0 without one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum a tensor over all ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def any_rank(flag: bool, device: torch.device) -> bool:
    """Tell whether any rank raised a flag; every rank gets the same answer."""
    return bool(sum_over_ranks(torch.tensor([float(flag)], device=device)).item())


def gather_equal(values: Tensor) -> Tensor:
    """Concatenate tensors of equal shape over ranks along dim 0, in rank order, without gradient."""
    if world_size() == 1:
        return values.detach()
    parts = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(parts, values.detach().contiguous())
    return torch.cat(parts)


def gather_ragged(values: Tensor) -> list[Tensor]:
    """Gather tensors that differ in dim 0: one tensor per rank, in rank order, without gradient."""
    if world_size() == 1:
        return [values.detach()]
    sizes = gather_equal(torch.tensor([len(values)], device=values.device)).tolist()
    padded = values.new_zeros((max(sizes), *values.shape[1:]))
    padded[: len(values)] = values.detach()
    return [part[:size] for part, size in zip(gather_equal(padded[None]), sizes, strict=True)]


def gather_objects(value: Any) -> list[Any]:
    """Gather one Python object per rank, in rank order."""
    if world_size() == 1:
        return [value]
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, value)
    return parts
