"""Batches written as texts, for architectures that join texts or let their tokens meet; histories for user towers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tastelab.modeling.encoders import load_tokenizer
from tastelab.modeling.histories import Histories
from tastelab.schema import UNKNOWN_TIME, Batch

BatchOf = Callable[..., Batch]
HistoriesOf = Callable[..., Histories]


@pytest.fixture(scope="session")
def batch_of(tiny_bert: Path) -> BatchOf:
    """Function `batch_of(titles, histories, candidates, max_tokens=16)`; the last two name titles by their place."""
    tokenizer = load_tokenizer(str(tiny_bert))

    def padded(lists: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        lengths = np.array([len(row) for row in lists])
        mask = np.arange(max(1, lengths.max())) < lengths[:, None]
        index = np.zeros(mask.shape, np.int64)
        index[mask] = [place for row in lists for place in row]
        return torch.from_numpy(index), torch.from_numpy(mask)

    def build(
        titles: Sequence[str],
        histories: Sequence[Sequence[int]],
        candidates: Sequence[Sequence[int]],
        max_tokens: int = 16,
    ) -> Batch:
        rows = tokenizer(list(titles), truncation=True, max_length=max_tokens)["input_ids"]
        tokens_UT, mask_UT = padded(rows)
        history_BH, history_mask_BH = padded(histories)
        shown_BC, shown_mask_BC = padded(candidates)
        labels_BC = (torch.arange(shown_BC.shape[1]) == 0) * shown_mask_BC.float()
        return Batch(
            item_ids_U=torch.arange(len(titles)),
            item_tokens_UT=tokens_UT,
            item_mask_UT=mask_UT,
            history_index_BH=history_BH,
            history_mask_BH=history_mask_BH,
            candidate_index_BC=shown_BC,
            candidate_mask_BC=shown_mask_BC,
            labels_BC=labels_BC,
            impression_mask_B=shown_mask_BC.any(dim=1),
            rows_B=torch.arange(len(histories)),
        )

    return build


@pytest.fixture
def batch(batch_of: BatchOf) -> Batch:
    """Four impressions: three clicks, one, none, and three of which two are the same; candidates from one to three."""
    titles = ["stars above", "a red fox", "the old mill pond", "salt", "how to bake", "moon", "x y z"]
    histories = [[1, 2, 5], [4], [], [3, 6, 3]]
    return batch_of(titles, histories, [[3, 0, 6], [2, 3], [1, 0, 5], [0]])


@pytest.fixture(scope="session")
def histories_of() -> HistoriesOf:
    """Function `histories_of(lengths, queries, width=6, category_width=4, slots=None)` of random clicks.

    `queries` are pairs (window, clicks seen); None asks each window once, at its end. Masked slots hold NaN, every
    fifth click has no category, every fourth no time, every third no dwell time.
    """

    def build(
        lengths: Sequence[int],
        queries: Sequence[tuple[int, int]] | None = None,
        width: int = 6,
        category_width: int = 4,
        slots: int | None = None,
    ) -> Histories:
        num_slots = max(lengths) if slots is None else slots
        generator = torch.Generator().manual_seed(5)
        shape = (len(lengths), max(lengths))  # drawn alike however wide the padding is
        vectors = torch.nn.functional.normalize(torch.randn(*shape, width, generator=generator), dim=-1)
        categories = torch.randn(*shape, category_width, generator=generator)
        number = torch.arange(shape[0] * shape[1]).view(shape)
        categories[number % 5 == 1] = 0.0
        times = 1_700_000_000 + 5_000 * number
        times[number % 4 == 2] = UNKNOWN_TIME
        dwell = 300 * torch.rand(*shape, generator=generator)
        dwell[number % 3 == 1] = torch.nan
        mask = torch.arange(num_slots) < torch.tensor(lengths)[:, None]
        asked = [(row, length) for row, length in enumerate(lengths)] if queries is None else queries
        row_N, end_N = (torch.tensor([query[part] for query in asked], dtype=torch.int64) for part in (0, 1))

        def padded(values: Tensor, hole: float) -> Tensor:
            wide = values.new_full((len(values), num_slots, *values.shape[2:]), hole)
            wide[:, : shape[1]] = values[:, :num_slots]
            return wide.masked_fill(~mask.view(*mask.shape, *[1] * (values.dim() - 2)), hole)

        return Histories(
            padded(vectors, torch.nan),
            mask,
            row_N,
            end_N,
            padded(categories, torch.nan),
            padded(times, 12345),
            padded(dwell, torch.nan),
            1_700_500_000 + 60 * (10 * row_N + end_N),
        )

    return build
