"""A model's scores → one row of metrics per impression → means with intervals.

Items are encoded once, split over the workers; each worker then scores and measures its part of the impressions in
padded chunks. There is no loop over impressions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tastelab.data.order import RowGroup, row_groups
from tastelab.data.ragged import flat, last_slots, padded
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore
from tastelab.evaluation.collectives import gather_objects, rank, world_size
from tastelab.evaluation.encode import autocast, encode_items
from tastelab.evaluation.whitening import Whitening
from tastelab.metrics import ranking
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CHUNK_FLOATS = 16_000_000
"""Floats of gathered item vectors in one scoring chunk: 64 MB."""


@dataclass(frozen=True)
class Scored:
    """Scores of impressions, flat in candidate order; impression i owns `offsets[i]:offsets[i + 1]`."""

    rows: Ints
    scores: Floats
    offsets: Ints
    labels: Ints | None
    history_lengths: Ints


@dataclass(frozen=True)
class Evaluation:
    """Per-impression values of one model on one set of impressions, and what they sum up to."""

    rows: Ints
    values: dict[str, Floats]
    counts: dict[str, int]
    metrics: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """Return `{"metrics": {name: {"mean", "low", "high", "n"}}, "counts": {…}}`."""
        return {"metrics": self.metrics, "counts": self.counts}

    def joined(self, other: Evaluation) -> Evaluation:
        """Add what else was measured on the same rows."""
        assert np.array_equal(self.rows, other.rows)
        metrics, counts = self.metrics | other.metrics, self.counts | other.counts
        return Evaluation(self.rows, self.values | other.values, counts, metrics)


def evaluate(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    split: str,
    *,
    rows: Ints | None = None,
    max_history: int = 50,
    ks: Sequence[int] = (5, 10),
    ties: str = "expected",
    device: torch.device | None = None,
    precision: str = "auto",
    whitening: Whitening | None = None,
) -> Evaluation:
    """Measure a model on the labelled impressions of a split (methods.md §1).

    Args:
        ranker: the model.
        data: the prepared data set.
        store: its tokens for this model's encoder.
        split: train, dev or test.
        rows: sorted rows of the split to measure; None measures all.
        max_history: most recent clicks that the model sees.
        ks: cut-offs of nDCG.
        ties: "expected" or "official", see `metrics.ranking.per_impression`.
        device: where the model is; None asks the model.
        precision: of the encoder's matrix products; scores are always float32 or better.
        whitening: transform of the item vectors, if any (methods.md §5).

    Returns:
        The evaluation of all impressions, the same on every worker.
    """
    if not data.has_labels(split):
        raise ValueError(no_labels(data, split))
    scored = score_split(ranker, data, store, split, rows, max_history, device, precision, whitening)
    assert scored.labels is not None
    local = ranking.per_impression(scored.scores, scored.labels, scored.offsets, ks=tuple(ks), ties=ties)
    counted = ranking.counts(scored.labels, scored.offsets, scored.history_lengths)
    parts = gather_objects((scored.rows, local, counted))
    values = {name: np.concatenate([part[1][name] for part in parts]) for name in local}
    counts = {name: sum(part[2][name] for part in parts) for name in counted}
    return Evaluation(np.concatenate([part[0] for part in parts]), values, counts, ranking.summary(values))


def no_labels(data: PreparedData, split: str) -> str:
    """Say that a split cannot be measured."""
    return f"The {split} split of '{data.name}' has no labels: score it with `tastelab submit` instead."


@torch.no_grad()
def score_split(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    split: str,
    rows: Ints | None = None,
    max_history: int = 50,
    device: torch.device | None = None,
    precision: str = "auto",
    whitening: Whitening | None = None,
) -> Scored:
    """Score every candidate of this worker's contiguous part of a split's impressions."""
    device = device or next(ranker.parameters()).device
    was_training = ranker.training
    ranker.eval()
    rows = np.arange(data.num_impressions(split)) if rows is None else rows
    rows_of_items, wanted = _items_of(row_groups(data, split, rows), max_history, data.num_items)
    alone = None if ranker.item_vectors == "all" else wanted
    items = encode_items(ranker, store, rows_of_items, device, precision, alone)
    if whitening is not None:
        assert items.vectors_UD is not None
        items = dataclasses.replace(items, vectors_UD=whitening(items.vectors_UD))
    place = np.zeros(data.num_items, np.int64)
    place[rows_of_items] = np.arange(len(rows_of_items))
    scorer = _Scorer(ranker, items, place, max_history, device, precision)
    mine = np.array_split(rows, world_size())[rank()]
    parts = [scorer.score_group(group) for group in row_groups(data, split, mine)]
    ranker.train(was_training)
    return _concatenate(mine, parts)


def items_of(data: PreparedData, split: str, rows: Ints, max_history: int) -> Ints:
    """Return the item rows that some impressions name, sorted."""
    return _items_of(row_groups(data, split, rows), max_history, data.num_items)[0]


def _items_of(groups: list[RowGroup], max_history: int, num_items: int) -> tuple[Ints, Bools]:
    """Item rows that the impressions name, sorted, and which of them are a candidate anywhere."""
    clicked, shown = np.zeros(num_items, np.bool_), np.zeros(num_items, np.bool_)
    for table in tables(groups, ["history", "candidates"]):
        history, offsets = flat(table["history"])
        position_BH, mask_BH = last_slots(offsets, max_history)
        clicked[history[position_BH[mask_BH]]] = True
        shown[flat(table["candidates"])[0]] = True
    rows = np.flatnonzero(clicked | shown)
    return rows, shown[rows]


def tables(groups: list[RowGroup], columns: list[str]) -> Iterator[Any]:
    """Read columns of the rows of each group in turn."""
    for group in groups:
        with pq.ParquetFile(group.file) as file:
            yield file.read_row_group(group.index, columns).take(group.rows)


Part = tuple[Floats, Ints, Ints | None, Ints]


@dataclass(frozen=True)
class _Scorer:
    """What every group of impressions is scored with."""

    ranker: Ranker
    items: Items
    place: Ints
    """Position of each item row in `items`."""
    max_history: int
    device: torch.device
    precision: str

    def score_group(self, group: RowGroup) -> Part:
        """Score the impressions of one row group in padded chunks."""
        table = next(tables([group], ["history", "feedback", "candidates", "labels"]))
        candidates, offsets = flat(table["candidates"])
        history, history_offsets = flat(table["history"])
        labels = None if table["labels"].null_count else flat(table["labels"])[0]
        history_BH, history_mask_BH = padded(history, history_offsets, self.max_history)
        feedback_BH = signs(table["feedback"], history_mask_BH, self.max_history)
        sizes = np.diff(offsets)
        scores = np.zeros(len(candidates), np.float64)
        by_size = np.argsort(sizes, kind="stable")  # impressions of like size share a chunk, so padding costs little
        for chunk in _chunks(by_size, sizes, history_BH.shape[1], self.ranker.width):
            slots_C = np.arange(int(sizes[chunk].max(initial=1)))
            mask_BC = slots_C < sizes[chunk][:, None]
            position_BC = np.where(mask_BC, offsets[:-1][chunk][:, None] + slots_C, 0)
            index_BC = self.place[candidates[position_BC]]
            slots = [self.place[history_BH[chunk]], history_mask_BH[chunk], index_BC, mask_BC]
            slots += [] if feedback_BH is None else [feedback_BH[chunk]]
            with autocast(self.precision, self.device):
                scores_BC = self.ranker.scores(
                    self.items, Slots(*(torch.from_numpy(array).to(self.device) for array in slots))
                )
            scores[position_BC[mask_BC]] = scores_BC.double().cpu().numpy()[mask_BC]
        return scores, sizes, labels, np.diff(history_offsets)


def signs(feedback: pa.ChunkedArray, history_mask_BH: Bools, max_history: int) -> Ints | None:
    """Return the signs of the history slots, 0 where masked; an impression without feedback likes all it clicked."""
    if feedback.null_count == len(feedback):
        return None
    given_B = feedback.is_valid().to_numpy()
    signs_BH = history_mask_BH.astype(np.int64)
    kept_BH, mask_BH = padded(*flat(feedback), max_history)
    signs_BH[:, : kept_BH.shape[1]][mask_BH & given_B[:, None]] = kept_BH[mask_BH & given_B[:, None]]
    return signs_BH


def _chunks(by_size: Ints, sizes: Ints, num_history: int, width: int) -> Iterator[Ints]:
    start = 0
    while start < len(by_size):
        # The chunk's largest impression decides its padding; a generous first guess is cut to what it really holds.
        longest = sizes[by_size[min(len(by_size), start + 256) - 1]]
        count = max(1, min(256, int(CHUNK_FLOATS // (width * (num_history + longest)))))
        yield by_size[start : start + count]
        start += count


def _concatenate(rows: Ints, parts: list[Part]) -> Scored:
    scores = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0)
    sizes = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
    labelled = all(part[2] is not None for part in parts)
    labels = np.concatenate([part[2] for part in parts]) if parts and labelled else np.zeros(0, np.int64)
    histories = np.concatenate([part[3] for part in parts]) if parts else np.zeros(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Scored(rows, scores, offsets, labels if labelled else None, histories)
