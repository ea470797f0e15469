"""Representation health of a model on a fixed sample of impressions (methods.md §5).

Shape letters: N items, D width, P pairs of a history and its positive.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from tastelab.data.order import row_groups
from tastelab.data.ragged import flat, padded
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore
from tastelab.evaluation.encode import encode_items
from tastelab.evaluation.evaluate import tables
from tastelab.metrics.representation import health
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@torch.no_grad()
def representation_health(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    rows: Ints,
    max_history: int,
    device: torch.device,
    precision: str,
) -> dict[str, float]:
    """Measure the distinct candidates of training impressions, and how near positives are to their history's mean.

    Returns:
        `metrics.representation.health`, each name after `health/`; nothing for a model without item vectors. Alignment
        needs vectors of history items, too.
    """
    if ranker.item_vectors == "none" or not len(rows):
        return {}
    group = [table for table in tables(row_groups(data, "train", rows), ["history", "candidates", "labels"])]
    shown = [flat(table["candidates"]) for table in group]
    candidates = np.unique(np.concatenate([items for items, _ in shown]))
    pairs = [_pairs(table, max_history) for table in group] if ranker.item_vectors == "all" else []
    wanted = np.unique(np.concatenate([candidates, *(np.concatenate([h[m], p]) for h, m, p in pairs)]))
    was_training = ranker.training
    ranker.eval()
    items = encode_items(ranker, store, wanted, device, precision)
    ranker.train(was_training)
    vectors_UD = ranker.unit_vectors(items)
    assert vectors_UD is not None
    vectors = vectors_UD.double().cpu().numpy()
    users, positives = _users(vectors, wanted, pairs) if pairs else (None, None)
    found = health(vectors[np.searchsorted(wanted, candidates)], users, positives)
    return {f"health/{name}": float(value) for name, value in found.items()}


def _pairs(table: pa.Table, max_history: int) -> tuple[Ints, npt.NDArray[np.bool_], Ints]:
    """Return the padded history of every positive, and the positives, of impressions with a history."""
    history, history_offsets = flat(table["history"])
    items, offsets = flat(table["candidates"])
    labels, _ = flat(table["labels"])
    history_BH, mask_BH = padded(history, history_offsets, max_history)
    impression = np.repeat(np.arange(len(history_BH)), np.diff(offsets))
    clicked_B = np.asarray(mask_BH.any(axis=1))
    chosen = (labels > 0) & clicked_B[impression]
    return history_BH[impression[chosen]], mask_BH[impression[chosen]], items[chosen]


def _users(
    vectors: Floats, wanted: Ints, pairs: list[tuple[Ints, npt.NDArray[np.bool_], Ints]]
) -> tuple[Floats, Floats]:
    users, positives = [], []
    for history_PH, mask_PH, items_P in pairs:
        place_PH = np.searchsorted(wanted, np.where(mask_PH, history_PH, wanted[0]))
        means_PD = (vectors[place_PH] * mask_PH[..., None]).sum(axis=1)
        users.append(means_PD / np.linalg.norm(means_PD, axis=1, keepdims=True).clip(1e-12))
        positives.append(vectors[np.searchsorted(wanted, items_P)])
    return np.concatenate(users), np.concatenate(positives)
