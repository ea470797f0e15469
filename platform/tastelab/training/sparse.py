"""Sparse gradients of tables under data parallelism: DDP leaves them alone, one gather per step joins them.

Shape letters: N rows of a table, D width, K rows that a batch touched.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tastelab.evaluation.collectives import gather_ragged, world_size
from tastelab.modeling.item_table import named_tables


def ignore_tables(module: nn.Module) -> None:
    """Tell DDP, before it wraps `module`, to leave tables and queues alone; every rank must start with equal ones."""
    apart = tuple(f"{name}." for name in getattr(module, "kept_apart", ()))
    queues = [name for name, _ in module.named_buffers() if apart and name.startswith(apart)]
    if names := [*named_tables(module), *queues]:
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def sync_tables(module: nn.Module) -> None:
    """Replace each table's gradient by its mean over ranks, which is what DDP makes of the others; all ranks call it.

    The gradient is coalesced, its rows distinct and in order. Rows of zeros are dropped: that a row stood in some
    rank's batch without a say in the loss must not move it, or the number of ranks would change the result.
    """
    for table in named_tables(module).values():
        if table.requires_grad:
            table.grad = _mean_over_ranks(table)


def _mean_over_ranks(table: nn.Parameter) -> Tensor:
    rows_K, values_KD = _touched(table)
    if world_size() > 1:
        rows_K = torch.cat(gather_ragged(rows_K))
        values_KD = torch.cat(gather_ragged(values_KD)) / world_size()
        return torch.sparse_coo_tensor(rows_K[None], values_KD, table.shape, check_invariants=False).coalesce()
    return torch.sparse_coo_tensor(rows_K[None], values_KD, table.shape, is_coalesced=True, check_invariants=False)


def _touched(table: nn.Parameter) -> tuple[Tensor, Tensor]:
    if table.grad is None:
        return torch.empty(0, dtype=torch.int64, device=table.device), table.new_empty((0, table.shape[1]))
    grad = table.grad.coalesce()
    rows_K, values_KD = grad.indices()[0], grad.values()
    kept_K = values_KD.any(dim=1)
    return rows_K[kept_K], values_KD[kept_K]
