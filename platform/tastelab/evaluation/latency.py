"""How long one impression takes to score, as a feed would see it.

*Warm*: what an architecture computes of each item alone is kept, as a feed keeps it; what is left is what every new
like or dislike costs. *Cold*: nothing is kept but the tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from tastelab.data.order import row_groups
from tastelab.data.ragged import flat, padded
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore
from tastelab.evaluation.encode import autocast
from tastelab.evaluation.evaluate import tables
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
B = TypeVar("B")

BATCHES = (1, 64)
REPEATS = 10
SECONDS = 1.5
"""Time after which a model is not measured again; one that takes longer for a single batch is measured once."""


@torch.inference_mode()
def latency(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    split: str,
    rows: Ints,
    max_history: int,
    device: torch.device,
    precision: str,
) -> dict[str, float]:
    """Measure milliseconds per impression at batch 1 and 64, of impressions spread evenly over `rows`.

    Returns:
        `warm_1`, `warm_64`, `cold_1`, `cold_64`; a batch larger than the rows is left out.
    """
    was_training = ranker.training
    ranker.eval()
    found: dict[str, float] = {}
    for size in BATCHES:
        if size > len(rows):
            continue
        batches = [_batch(ranker, data, store, split, part, max_history, device) for part in _parts(rows, size)]

        def cold(batch: tuple[Items, Slots, torch.Tensor | None]) -> object:
            items, slots, wanted_U = batch
            nobody_U = torch.full_like(items.ids_U, -1)  # by its id an item's frozen layers would be known
            with autocast(precision, device):
                return ranker.scores(ranker.represent(nobody_U, items.tokens_UT, items.mask_UT, wanted_U), slots)

        with autocast(precision, device):
            known = [(ranker.represent(i.ids_U, i.tokens_UT, i.mask_UT, w), s) for i, s, w in batches]

        def warm(batch: tuple[Items, Slots]) -> object:
            with autocast(precision, device):
                return ranker.scores(*batch)

        found[f"warm_{size}"] = _median_ms(warm, known, device) / size
        # An architecture that computes nothing of an item alone has nothing to keep.
        alone = ranker.item_vectors != "none"
        found[f"cold_{size}"] = _median_ms(cold, batches, device) / size if alone else found[f"warm_{size}"]
    ranker.train(was_training)
    return found


def _parts(rows: Ints, size: int) -> list[Ints]:
    """Cut evenly spaced rows into as many batches as will be timed at most."""
    count = min(REPEATS if size == 1 else 2, len(rows) // size)
    chosen = rows[np.linspace(0, len(rows) - 1, count * size).round().astype(np.int64)]
    return [np.unique(part) for part in chosen.reshape(count, size)]


def _median_ms(call: Callable[[B], object], batches: list[B], device: torch.device) -> float:
    """Time a call on each batch in turn and return the median in milliseconds; the first, a warm-up, is left out."""
    taken: list[float] = []
    while len(taken) <= REPEATS and sum(taken) < 1e3 * SECONDS:
        start = time.perf_counter()
        call(batches[len(taken) % len(batches)])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken[1:] or taken)


def _batch(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    split: str,
    rows: Ints,
    max_history: int,
    device: torch.device,
) -> tuple[Items, Slots, torch.Tensor | None]:
    table = pa.concat_tables(tables(row_groups(data, split, rows), ["history", "candidates"]))
    history_BH, history_mask_BH = padded(*flat(table["history"]), max_history)
    shown_BC, shown_mask_BC = padded(*flat(table["candidates"]), 2**31)
    named = np.concatenate([history_BH[history_mask_BH], shown_BC[shown_mask_BC]])
    items = np.unique(named)
    index_BH = np.searchsorted(items, np.where(history_mask_BH, history_BH, items[0]))
    index_BC = np.searchsorted(items, np.where(shown_mask_BC, shown_BC, items[0]))
    slots = Slots(*(torch.from_numpy(a).to(device) for a in (index_BH, history_mask_BH, index_BC, shown_mask_BC)))
    tokens_UT, mask_UT = (torch.from_numpy(array) for array in store.gather(items))
    wanted_U = None if ranker.item_vectors == "all" else slots.candidates(len(items))
    return Items(torch.from_numpy(items), tokens_UT, mask_UT).to(device), slots, wanted_U
