"""Item texts → item vectors: every item once, split over the workers."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tastelab.data.tokens import TokenStore
from tastelab.evaluation.collectives import gather_ragged, rank, world_size
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
ITEMS_PER_CALL = 2_048


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 where `precision` says so: "bf16", "fp32", or "auto" (bf16 where the hardware has it)."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"Unknown precision '{precision}': choose auto, bf16 or fp32.")
    if precision == "fp32" or (precision == "auto" and not has_bf16(device)):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def has_bf16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@torch.inference_mode()
def encode_items(ranker: Ranker, store: TokenStore, items: Ints, device: torch.device, precision: str) -> Tensor:
    """Encode the given item rows with every worker doing its share.

    Returns:
        `vectors_ND` float32 on `device`, in the order of `items`, the same on every worker.
    """
    by_length = np.argsort(-store.lengths[items], kind="stable")
    order = np.concatenate([by_length[r :: world_size()] for r in range(world_size())])
    mine = items[by_length[rank() :: world_size()]]
    vectors = [
        _encode(ranker, store, mine[start : start + ITEMS_PER_CALL], device, precision)
        for start in range(0, len(mine), ITEMS_PER_CALL)
    ]
    local = torch.cat(vectors) if vectors else torch.zeros((0, ranker.width), device=device)
    gathered_ND = torch.cat(gather_ragged(local))
    vectors_ND = torch.empty_like(gathered_ND)
    vectors_ND[torch.from_numpy(order).to(device)] = gathered_ND
    return vectors_ND


def _encode(ranker: Ranker, store: TokenStore, items: Ints, device: torch.device, precision: str) -> Tensor:
    tokens_UT, mask_UT = (torch.from_numpy(array).to(device) for array in store.gather(items))
    with autocast(precision, device):
        return ranker.encode_items(tokens_UT, mask_UT).float()
