"""Item texts → items as a ranker knows them: every item once, split over the workers."""

from __future__ import annotations

import contextlib
import dataclasses
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tastelab.data.tokens import TokenStore
from tastelab.evaluation.collectives import gather_ragged, rank, world_size
from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
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


@torch.no_grad()  # not inference mode: what frozen layers leave behind is trained on later
def encode_items(
    ranker: Ranker,
    store: TokenStore,
    items: Ints,
    device: torch.device,
    precision: str,
    wanted: Bools | None = None,
) -> Items:
    """Represent the given item rows with every worker doing its share.

    Args:
        ranker: the model.
        store: tokens of the items.
        items: distinct item rows.
        device: where the model is.
        precision: see `autocast`.
        wanted: which of the items the model has to compute alone; None means all.

    Returns:
        The items in the order of `items`, the same on every worker.
    """
    asked, first = items, np.arange(len(items))
    copies = first
    if not ranker.has_item_table:  # equal texts get one vector, so that their scores tie to the last bit
        first, copies = distinct_texts(store, items)
        items = items[first]
        if wanted is not None:
            wanted = np.bincount(copies, weights=wanted, minlength=len(first)) > 0
    by_length = np.argsort(-store.lengths[items], kind="stable")
    order = np.concatenate([by_length[r :: world_size()] for r in range(world_size())])
    mine = by_length[rank() :: world_size()]
    parts = []
    for start in range(0, max(1, len(mine)), ITEMS_PER_CALL):
        chosen = mine[start : start + ITEMS_PER_CALL]
        tokens_UT, mask_UT = (torch.from_numpy(array).to(device) for array in store.gather(items[chosen]))
        ids_U = torch.from_numpy(items[chosen]).to(device)
        wanted_U = None if wanted is None else torch.from_numpy(wanted[chosen]).to(device)
        with autocast(precision, device):
            parts.append(ranker.represent(ids_U, tokens_UT, mask_UT, wanted_U))
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.from_numpy(order)] = torch.arange(len(order))
    found = _gathered(Items.concatenate(parts), store, items[order], device)
    found = found.select(place[torch.from_numpy(copies)].to(device))
    return dataclasses.replace(found, ids_U=torch.from_numpy(asked).to(device))


def distinct_texts(store: TokenStore, items: Ints) -> tuple[Ints, Ints]:
    """Find items of one text: positions of the first of each text, and for every item the place of its text in them."""
    tokens_UT, mask_UT = store.gather(items)
    tokens_UT = np.where(mask_UT, tokens_UT + 1, 0).astype(np.uint64)
    multipliers_T = np.random.default_rng(0).integers(1, 2**63, tokens_UT.shape[1], dtype=np.uint64)
    hashes_U = (tokens_UT * multipliers_T).sum(axis=1, dtype=np.uint64)
    _, first, copies = np.unique(hashes_U, return_index=True, return_inverse=True)
    if (tokens_UT[first[copies]] != tokens_UT).any():  # two texts of one hash: encode all
        return np.arange(len(items)), np.arange(len(items))
    return first, copies


def _gathered(local: Items, store: TokenStore, items: Ints, device: torch.device) -> Items:
    """Join the workers' items, in rank order; tokens are read from the store, which every worker has."""
    tokens_UT, mask_UT = (torch.from_numpy(array).to(device) for array in store.gather(items))

    def joined(values: Tensor | None) -> Tensor | None:
        return None if values is None else torch.cat(gather_ragged(values))

    return dataclasses.replace(
        local,
        ids_U=torch.from_numpy(items).to(device),
        tokens_UT=tokens_UT,
        mask_UT=mask_UT,
        vectors_UD=joined(local.vectors_UD),
        token_vectors_MD=joined(local.token_vectors_MD),
        num_tokens_U=joined(local.num_tokens_U),
    )
