"""The nouns: Arrow schemas of items and impressions, and the batch that a model sees.

Shape letters, the same everywhere: B impressions, H history slots, C candidate slots, U distinct items of the batch,
T tokens, D width.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:  # readers of tables need the schemas without loading torch
    import torch
    from torch import Tensor

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("abstract", pa.string(), nullable=False),
        pa.field("body", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("subcategory", pa.string(), nullable=False),
        pa.field("entities", pa.string(), nullable=False),  # labels, comma-separated
        pa.field("created", pa.timestamp("s")),  # null where the source has no date
        pa.field("has_text", pa.bool_(), nullable=False),  # False: named by an impression, absent from the item file
    ]
)
"""One row per item; an item is referred to everywhere by its row (int32), 0 … n-1. Absent text is ""."""

ITEM_EXTRAS = pa.schema(
    [
        pa.field("community", pa.string(), nullable=False),  # the feed that the item was posted in
        pa.field("near_duplicate", pa.int32()),  # row of the first item of its group of near-duplicates; null: alone
    ]
)
"""Columns that an item table may have beside `ITEMS`, each present or absent as a whole."""

TEXT_FEATURES = ("title", "abstract", "body", "category", "subcategory", "entities")

FEATURE_BREAK = 2**31 - 1
"""Stands between two features of an item in a row of tokens where each is read by itself: no token has this id."""

IMPRESSIONS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # position in the split, 0 … n-1 in file order
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("s")),
        pa.field("history", pa.list_(pa.int32()), nullable=False),  # item rows, oldest click first
        pa.field("feedback", pa.list_(pa.int8())),  # +1 liked, -1 disliked per history slot; null: all liked
        pa.field("candidates", pa.list_(pa.int32()), nullable=False),  # item rows in the order shown
        pa.field("labels", pa.list_(pa.int8())),  # 1 clicked, 0 not; null where the split has no labels
    ]
)

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Batch:
    """Impressions of one micro-step on one worker, every distinct item once.

    Items are sorted by length, longest first, so that consecutive slices of them pad to little more than their own
    tokens. Index maps point into U; masked slots point at item 0. Rows with `impression_mask_B` False pad the last
    batch of an epoch and never enter a loss.
    """

    item_ids_U: Tensor  # int64, row in items.parquet
    item_tokens_UT: Tensor  # int64
    item_mask_UT: Tensor  # bool
    history_index_BH: Tensor  # int64 into U
    history_mask_BH: Tensor  # bool
    candidate_index_BC: Tensor  # int64 into U
    candidate_mask_BC: Tensor  # bool
    labels_BC: Tensor  # float32, 1 clicked, 0 not or masked
    impression_mask_B: Tensor  # bool
    rows_B: Tensor  # int64, row of the impression in its split, -1 where masked
    feedback_BH: Tensor | None = None  # float32, +1 liked, -1 disliked, 0 masked

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor to `device`."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return dataclasses.replace(self, **moved)


UNKNOWN_TIME = -(2**62)
"""Time of a click that the data do not date."""


@dataclass(frozen=True)
class SequenceBatch:
    """Windows of users' clicks of one step on one worker, every distinct item once.

    Shape letters: B windows, S slots, U distinct items. Slots are left-aligned, the oldest click first. A click with
    `target_mask_BS` is to be predicted from the clicks before it in its window; it has at least one.
    """

    item_ids_U: Tensor  # int64, row in items.parquet
    clicks_BS: Tensor  # int64 into U; masked slots point at 0
    click_mask_BS: Tensor  # bool
    target_mask_BS: Tensor  # bool; all False in a window that pads the last batch
    rows_B: Tensor  # int64, place of the window's last click among all clicks of the data; -1 pads
    users_B: Tensor  # int64, row of the user; -1 pads
    epoch: int
    step: int  # of the epoch, from 0: what is drawn once for a global batch is drawn by it
    times_BS: Tensor | None = None  # int64 seconds, UNKNOWN_TIME where unknown or masked; None: no click has a time
    dwell_BS: Tensor | None = None  # float32 seconds, NaN where unknown or masked; None: the data have none

    def to(self, device: torch.device | str) -> SequenceBatch:
        """Move every tensor to `device`."""
        tensors = (f.name for f in dataclasses.fields(self) if f.name not in ("epoch", "step"))
        moved = {name: v.to(device, non_blocking=True) for name in tensors if (v := getattr(self, name)) is not None}
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True)
class Catalogue:
    """What an item tower reads of every item: codes of its facts and, where it reads text, vectors or tokens.

    Shape letters: N items, M tags, F width of the text vectors, T tokens. All tensors live on the CPU and are read by
    item row.
    """

    num_items: int
    known_N: Tensor  # bool: clicked in training, so its ID embedding was trained
    category_N: Tensor  # int64 code, -1 absent
    num_categories: int
    source_N: Tensor  # int64 code, -1 absent
    num_sources: int
    tags_NM: Tensor  # int32 codes, -1 absent; M may be 0
    num_tags: int
    text_NF: Tensor | None = None  # float32 or float16, unit vectors of a frozen encoder
    tokens_NT: Tensor | None = None  # int32, right-padded
    lengths_N: Tensor | None = None  # int64, real tokens of each item
