"""Sampled impressions → `Batch`: every distinct item once, sorted by length, with index maps for the slots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from tastelab.data.ragged import flat, padded
from tastelab.data.sampling import Draw
from tastelab.data.tokens import TokenStore
from tastelab.schema import Batch

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def collate(
    store: TokenStore,
    rows_B: Ints,
    history_BH: Ints,
    history_mask_BH: Bools,
    draw: Draw,
    feedback_BH: Ints | None = None,
) -> Batch:
    """Build a batch; an impression without a positive, or a padding row (row -1), is masked and encodes nothing."""
    valid_B = (rows_B >= 0) & (draw.labels_BC.sum(axis=1) > 0)
    history_mask_BH = history_mask_BH & valid_B[:, None]
    candidate_mask_BC = draw.mask_BC & valid_B[:, None]
    items_U = np.unique(np.concatenate([history_BH[history_mask_BH], draw.items_BC[candidate_mask_BC]]))
    if not len(items_U):
        items_U = np.zeros(1, np.int64)  # an all-masked batch still runs, so that no rank waits for another
    items_U = items_U[np.argsort(-store.lengths[items_U], kind="stable")]
    by_id = np.argsort(items_U)

    def slots(items: Ints, mask: Bools) -> torch.Tensor:
        found = by_id[np.searchsorted(items_U, np.where(mask, items, items_U[by_id[0]]), sorter=by_id)]
        return torch.from_numpy(np.where(mask, found, 0))

    tokens_UT, mask_UT = store.gather(items_U)
    signs = None if feedback_BH is None else torch.from_numpy((feedback_BH * history_mask_BH).astype(np.float32))
    return Batch(
        item_ids_U=torch.from_numpy(items_U),
        item_tokens_UT=torch.from_numpy(tokens_UT),
        item_mask_UT=torch.from_numpy(mask_UT),
        history_index_BH=slots(history_BH, history_mask_BH),
        history_mask_BH=torch.from_numpy(history_mask_BH),
        candidate_index_BC=slots(draw.items_BC, candidate_mask_BC),
        candidate_mask_BC=torch.from_numpy(candidate_mask_BC),
        labels_BC=torch.from_numpy(draw.labels_BC * candidate_mask_BC),
        impression_mask_B=torch.from_numpy(valid_B),
        rows_B=torch.from_numpy(np.where(valid_B, rows_B, -1)),
        feedback_BH=signs,
    )


def collate_sampled(store: TokenStore, sampled: pa.Table) -> Batch:
    """Collate rows of `stream.SAMPLED`: fixed-size candidate lists and capped histories."""
    rows_B = sampled["row"].to_numpy().astype(np.int64)
    items_BC, labels_BC, mask_BC = (_dense(sampled[name]) for name in ("candidates", "labels", "mask"))
    history, offsets = flat(sampled["history"])
    history_BH, history_mask_BH = padded(history, offsets, 2**31)
    feedback = None
    if sampled["feedback"].null_count < len(sampled):
        feedback = _signs(sampled["feedback"], history_mask_BH)
    draw = Draw(items_BC, labels_BC.astype(np.float32), mask_BC.astype(np.bool_))
    return collate(store, rows_B, history_BH, history_mask_BH, draw, feedback)


def _signs(feedback: pa.ChunkedArray, history_mask_BH: Bools) -> Ints:
    """Signs of the history slots; an impression without feedback likes all that it clicked."""
    signs_BH = history_mask_BH.astype(np.int64)
    given_B = feedback.is_valid().to_numpy()
    signs_BH[history_mask_BH & given_B[:, None]] = flat(feedback)[0]
    return signs_BH


def _dense(column: pa.ChunkedArray) -> Ints:
    values, _ = flat(column)
    return values.reshape(len(column), -1)
