"""A ranker as both stages of a recommender: retrieve k items of the whole catalogue, rank them, measure both.

A user is asked for with the normalised mean of what they liked, which is all that an index of item vectors can be asked
with; the retrieved items are then ordered by the ranker's own score, whatever its pooling. What was clicked stays
retrievable.

Shape letters: B impressions, H history slots, M items of the catalogue, K retrieved items, P clicks, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import embedding

from tastelab.data.order import row_groups
from tastelab.data.ragged import flat, padded
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore
from tastelab.evaluation.collectives import gather_objects, rank, sum_over_ranks, world_size
from tastelab.evaluation.encode import autocast, encode_items
from tastelab.evaluation.evaluate import CHUNK_FLOATS, Evaluation, no_labels, signs, tables
from tastelab.evaluation.whitening import Whitening
from tastelab.metrics import ranking
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.pooling import mean_users
from tastelab.modeling.ranker import Ranker

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SHOWN = 10
"""Items of the ranked list that a user is shown: `pipeline_hr@10` counts clicks among them."""
CUTOFFS = (10, 50)
"""HR is measured at these and at the number retrieved."""
DIVERSE = 50
"""Diversity counts the distinct items among so many of each user, or among all retrieved where these are fewer."""

COLUMNS = ["history", "feedback", "candidates", "labels"]


def pipeline(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    split: str,
    retrieve: int,
    *,
    rows: Ints | None = None,
    max_history: int = 50,
    device: torch.device | None = None,
    precision: str = "auto",
    whitening: Whitening | None = None,
    index_MD: Tensor | None = None,
) -> Evaluation:
    """Measure retrieval and the pipeline of both stages on the labelled impressions of a split.

    Values of an impression, over its clicked candidates (an item may be clicked that is not retrieved): `hr@10`,
    `hr@50`, `hr@<retrieve>`, the share of them among the first retrieved; `pipeline_hr@10`, their share among the first
    ranked; `pipeline_mrr`, the mean of 1 / rank in the ranked list, 0 for what is not in it. An impression without a
    click, or whose user liked nothing before, has none. `diversity` is the number of distinct items that all users
    retrieve together: a count over these very users, so its bounds are itself. See methods.md §1.

    Args:
        ranker: the model; it gives every item a vector of its own.
        data: the prepared data set.
        store: its tokens for this model's encoder.
        split: train, dev or test.
        retrieve: number K of items to retrieve: at least `SHOWN`, at most the whole catalogue.
        rows: sorted rows of the split to measure; None measures all.
        max_history: most recent clicks that the model sees.
        device: where the model is; None asks the model.
        precision: of the encoder's matrix products.
        whitening: transform of the item vectors, if any.
        index_MD: unit vectors of all items to retrieve by, those of another model, see `catalogue`; None takes the
            ranker's own.

    Returns:
        Values and metrics of all impressions, the same on every worker, which all have to call it; no counts.

    Raises:
        ValueError: fewer items than are shown or more than there are, a split without labels, a ranker without item
            vectors, or vectors that are not finite.
    """
    check_retrieve(retrieve, data, ranker)
    if not data.has_labels(split):
        raise ValueError(no_labels(data, split))
    device = device or next(ranker.parameters()).device
    rows = np.arange(data.num_impressions(split)) if rows is None else rows
    was_training = ranker.training
    ranker.eval()
    items, own_MD = catalogue(ranker, data, store, device, precision, whitening)
    index_MD = own_MD if index_MD is None else index_MD
    if not index_MD.isfinite().all():
        raise ValueError("Some item vectors are not finite, so nothing is near them: train at a lower learning rate.")
    stages = _Stages(ranker, items, index_MD, retrieve, max_history, device, precision)
    mine = np.array_split(rows, world_size())[rank()]
    parts = [stages.measure(table) for table in tables(row_groups(data, split, mine), COLUMNS)]
    ranker.train(was_training)
    return _gathered(mine, parts, stages)


def check_retrieve(retrieve: int, data: PreparedData, ranker: Ranker) -> None:
    """Raise `ValueError` where so many items cannot be retrieved, or none by its vector."""
    if ranker.item_vectors != "all":
        raise ValueError("Retrieval looks items up by their vectors, and this model has none: choose bi_encoder.")
    if not SHOWN <= retrieve <= data.num_items:
        raise ValueError(
            f"evaluation.retrieve is {retrieve}, and '{data.name}' has {data.num_items} items: retrieve at least the "
            f"{SHOWN} that are shown, and at most all."
        )


@torch.no_grad()
def catalogue(
    ranker: Ranker,
    data: PreparedData,
    store: TokenStore,
    device: torch.device,
    precision: str = "auto",
    whitening: Whitening | None = None,
) -> tuple[Items, Tensor]:
    """Represent every item of the data, the workers sharing the work: the items and their unit vectors (M, D)."""
    items = encode_items(ranker, store, np.arange(data.num_items), device, precision)
    if whitening is not None:
        assert items.vectors_UD is not None
        items = dataclasses.replace(items, vectors_UD=whitening(items.vectors_UD))
    vectors_MD = ranker.unit_vectors(items)
    assert vectors_MD is not None
    return items, vectors_MD


def nearest(users_BD: Tensor, vectors_MD: Tensor, num: int) -> Tensor:
    """Return the `num` items of the highest inner product with each user, best first, int64 (B, K).

    Of items that tie, as those of one text do, the one of the lower row comes first.
    """
    scores_BM = users_BD @ vectors_MD.T
    least_B1 = scores_BM.topk(num, dim=1).values[:, -1:]
    above_BM, tied_BM = scores_BM > least_B1, scores_BM == least_B1
    room_B1 = num - above_BM.sum(dim=1, keepdim=True)
    chosen_BM = above_BM | (tied_BM & (tied_BM.cumsum(dim=1) <= room_B1))
    items_BK = chosen_BM.nonzero()[:, 1].view(len(users_BD), num)
    return items_BK.gather(1, _order(scores_BM.gather(1, items_BK)))


def places(lists_BK: Tensor, impression_P: Tensor, items_P: Tensor) -> Tensor:
    """Return at which place, from 0, each click stands in its impression's list, int64 (P,); K where it does not."""
    found_PK = lists_BK[impression_P] == items_P[:, None]
    return torch.where(found_PK.any(dim=1), found_PK.int().argmax(dim=1), lists_BK.shape[1])


def _order(scores_BK: Tensor) -> Tensor:
    """Sort descending, ties in the order that they came in."""
    return scores_BK.sort(dim=1, descending=True, stable=True).indices


@dataclass
class _Stages:
    """What every row group of impressions is retrieved and ranked with."""

    ranker: Ranker
    items: Items
    index_MD: Tensor
    retrieve: int
    max_history: int
    device: torch.device
    precision: str

    def __post_init__(self) -> None:
        self.retrieved_M = torch.zeros(len(self.items), dtype=torch.bool, device=self.device)
        """Which items some user of this worker retrieved."""
        self.num_users = 0
        """Impressions of this worker whose user has a history."""

    @torch.no_grad()
    def measure(self, table: pa.Table) -> dict[str, Floats]:
        """Return the values of the impressions of a row group."""
        history_BH, mask_BH = padded(*flat(table["history"]), self.max_history)
        feedback_BH = signs(table["feedback"], mask_BH, self.max_history)
        candidates, offsets = flat(table["candidates"])
        clicks = np.flatnonzero(flat(table["labels"])[0] == 1)
        impression_P = np.searchsorted(offsets, clicks, side="right") - 1
        places_2P = np.zeros((2, len(clicks)), np.int64)
        known_B = np.zeros(len(history_BH), np.bool_)
        for chunk in self._chunks(len(history_BH), history_BH.shape[1]):
            shown = [history_BH[chunk], mask_BH[chunk], *([] if feedback_BH is None else [feedback_BH[chunk]])]
            own = slice(*np.searchsorted(impression_P, [chunk.start, chunk.stop]))
            targets = (impression_P[own] - chunk.start, candidates[clicks[own]])
            places_2P[:, own], known_B[chunk] = self._chunk(*map(self._tensor, (*targets, *shown)))
        self.num_users += int(known_B.sum())
        return self._values(impression_P, places_2P, known_B)

    def _chunks(self, num: int, num_history: int) -> Iterator[slice]:
        floats = len(self.items) + self.ranker.width * (num_history + self.retrieve)
        size = max(1, CHUNK_FLOATS // floats)
        return (slice(start, min(num, start + size)) for start in range(0, num, size))

    def _chunk(
        self,
        impression_P: Tensor,
        items_P: Tensor,
        history_BH: Tensor,
        mask_BH: Tensor,
        feedback_BH: Tensor | None = None,
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return each click's place among the retrieved and among the ranked (2, P), and who has a history (B,)."""
        liked_BH = mask_BH if feedback_BH is None else mask_BH & (feedback_BH >= 0)
        known_B = liked_BH.any(dim=1)
        retrieved_BK = nearest(mean_users(embedding(history_BH, self.index_MD), liked_BH), self.index_MD, self.retrieve)
        self.retrieved_M[retrieved_BK[known_B, :DIVERSE]] = True
        all_BK = torch.ones_like(retrieved_BK, dtype=torch.bool)
        with autocast(self.precision, self.device):
            scores_BK = self.ranker.scores(self.items, Slots(history_BH, mask_BH, retrieved_BK, all_BK, feedback_BH))
        ranked_BK = retrieved_BK.gather(1, _order(scores_BK))
        found = [places(lists_BK, impression_P, items_P) for lists_BK in (retrieved_BK, ranked_BK)]
        return torch.stack(found).cpu().numpy(), known_B.cpu().numpy()

    def _values(self, impression_P: Ints, places_2P: Ints, known_B: npt.NDArray[np.bool_]) -> dict[str, Floats]:
        retrieved_P, ranked_P = places_2P
        worths = {f"hr@{k}": retrieved_P < k for k in cutoffs(self.retrieve)}
        worths[f"pipeline_hr@{SHOWN}"] = ranked_P < SHOWN
        worths["pipeline_mrr"] = np.where(ranked_P < self.retrieve, 1.0 / (ranked_P + 1), 0.0)
        num_B = np.where(known_B, np.bincount(impression_P, minlength=len(known_B)), 0)
        sums = {name: np.bincount(impression_P, worth_P, len(known_B)) for name, worth_P in worths.items()}
        return {name: np.where(num_B > 0, sum_B / num_B.clip(1), np.nan) for name, sum_B in sums.items()}

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def cutoffs(retrieve: int) -> list[int]:
    """Return at which k HR is measured where so many items are retrieved."""
    return sorted({k for k in CUTOFFS if k < retrieve} | {retrieve})


def _gathered(mine: Ints, parts: list[dict[str, Floats]], stages: _Stages) -> Evaluation:
    """Join what the workers measured."""
    names = [*(f"hr@{k}" for k in cutoffs(stages.retrieve)), f"pipeline_hr@{SHOWN}", "pipeline_mrr"]
    local = {name: np.concatenate([np.empty(0), *(part[name] for part in parts)]) for name in names}
    everyone = gather_objects((mine, local, stages.num_users))
    rows = np.concatenate([theirs[0] for theirs in everyone])
    values = {name: np.concatenate([theirs[1][name] for theirs in everyone]) for name in names}
    distinct = float((sum_over_ranks(stages.retrieved_M.float()) > 0).sum())
    num_users = sum(theirs[2] for theirs in everyone)
    diversity = {"mean": distinct, "low": distinct, "high": distinct, "n": num_users}
    return Evaluation(rows, values, {}, ranking.summary(values) | {"diversity": diversity})
