"""Batches written as texts, for the architectures that join texts or let their tokens meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tastelab.modeling.encoders import load_tokenizer
from tastelab.schema import Batch

BatchOf = Callable[..., Batch]


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
