"""Exact search of the whole catalogue, against sorting the whole matrix of scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.retrieval.merge import Excluded, merge
from tastelab.retrieval.search import search

N, K, D, M = 23, 3, 8, 157


@pytest.fixture
def users() -> Tensor:
    return normalize(torch.randn((N, K, D), generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.fixture
def items() -> Tensor:
    return normalize(torch.randn((M, D), generator=torch.Generator().manual_seed(1)), dim=-1)


def by_sorting(users: Tensor, items: Tensor, k: int, excluded: list[list[int]]) -> list[list[int]]:
    found = []
    for vectors, gone in zip(users, excluded, strict=True):
        scores = (vectors @ items.T).amax(dim=0).tolist()
        order = sorted(range(len(items)), key=lambda item: (-scores[item], item))
        left = [item for item in order if item not in gone][:k]
        found.append(left + [-1] * (k - len(left)))
    return found


def ragged(rows: list[list[int]]) -> Excluded:
    return Excluded([item for row in rows for item in row], np.cumsum([0, *map(len, rows)]))


@pytest.mark.parametrize("k", [1, 10, M])
@pytest.mark.parametrize(("floats", "block"), [(10_000_000, M), (400, 40), (1, 1), (1_000, 33)])
def test_blocks_change_nothing(users: Tensor, items: Tensor, k: int, floats: int, block: int) -> None:
    rows, scores = search(users, items, k, block_floats=floats, block_items=block)
    assert rows.tolist() == by_sorting(users, items, k, [[]] * N)
    assert torch.allclose(scores, (users @ items.T).amax(dim=1).gather(1, rows), atol=1e-6)
    assert (scores[:, 1:] <= scores[:, :-1]).all()


@pytest.mark.parametrize("block", [M, 50])
def test_excluded_items_make_room_for_the_next_best(users: Tensor, items: Tensor, block: int) -> None:
    rng = np.random.default_rng(0)
    gone = [rng.choice(M, size, replace=False).tolist() for size in rng.integers(0, 30, N)]
    gone[4] = list(range(M))
    gone[5] = list(range(3, M))
    rows, scores = search(users, items, 12, ragged(gone), block_floats=2_000, block_items=block)
    assert rows.tolist() == by_sorting(users, items, 12, gone)
    assert rows[4].tolist() == [-1] * 12
    assert torch.isneginf(scores[4]).all()
    assert sorted(rows[5].tolist())[-3:] == [0, 1, 2]


@pytest.mark.parametrize("block", [M, 7])
def test_ties_go_to_the_lower_row(block: int) -> None:
    """Scores of whole numbers: what is equal is equal to the last bit."""
    items = torch.randint(0, 3, (M, 1), generator=torch.Generator().manual_seed(2)).float()
    users = torch.tensor([[[1.0]], [[-1.0]], [[0.0]]])
    rows, _ = search(users, items, 20, block_items=block)
    assert rows.tolist() == by_sorting(users, items, 20, [[]] * 3)
    assert rows[2].tolist() == list(range(20))


def test_the_best_of_several_vectors_is_the_merge_of_their_lists(users: Tensor, items: Tensor) -> None:
    lists = [search(users[:, v : v + 1], items, 9) for v in range(K)]
    merged, scores = merge(*(torch.cat([part[i] for part in lists], dim=1).numpy() for i in range(2)), k=9)
    rows, exact = search(users, items, 9)
    assert merged.tolist() == rows.tolist()
    assert scores == pytest.approx(exact.numpy())


@pytest.mark.parametrize("k", [0, M + 1])
def test_k_beyond_the_catalogue_is_refused(users: Tensor, items: Tensor, k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k} and the catalogue has {M} items: choose k from 1 to {M}."):
        search(users, items, k)


def test_vectors_that_are_no_numbers_are_counted(users: Tensor, items: Tensor) -> None:
    items[3, 1], items[9, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=f"2 of {M} item vectors are NaN or infinite"):
        search(users, items, 5)
    users[2, 1] = torch.nan
    with pytest.raises(ValueError, match=f"1 of {N * K} user vectors are NaN"):
        search(users, items, 5)


def test_no_user_gets_no_list(items: Tensor) -> None:
    rows, scores = search(torch.empty((0, K, D)), items, 5)
    assert rows.shape == scores.shape == (0, 5)
