"""Exact top-k over the whole catalogue, block by block, so that no matrix of users and items is ever whole.

Shape letters: N users, K vectors of a user, D width, M items, k retrieved ones; n users and m items of one block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tastelab.metrics.retrieval import NOTHING
from tastelab.retrieval.merge import Excluded

BLOCK_FLOATS = 16_000_000
"""Scores of one block: 64 MB."""
BLOCK_ITEMS = 65_536


@torch.no_grad()
def search(
    users_NKD: Tensor,
    items_MD: Tensor,
    k: int,
    exclude: Excluded | None = None,
    block_floats: int = BLOCK_FLOATS,
    block_items: int = BLOCK_ITEMS,
) -> tuple[Tensor, Tensor]:
    """Return the k items with the largest inner product with any of a user's vectors, over the whole catalogue.

    The best score of an item over a user's vectors is its score: the same as to retrieve k items by each vector, to
    merge by maximum and to drop duplicates (methods.md §6). Of equal scores the lower row comes first.

    Args:
        users_NKD: vectors of the users.
        items_MD: vectors of all items, by row, on the same device.
        k: how many to retrieve.
        exclude: items that are left out of each user's list; the next best take their places.
        block_floats: most scores that are held at a time.
        block_items: items of a block.

    Returns:
        Item rows, int64 (N, k), and scores, float32 (N, k), the best first; `NOTHING` and −inf where fewer than k items
        are left for a user.

    Raises:
        ValueError: k is below 1 or larger than the catalogue, or a vector is not finite.
    """
    check_k(k, len(items_MD))
    check_finite(users_NKD, "user")
    check_finite(items_MD, "item")
    wide = min(block_items, len(items_MD))
    step = max(1, block_floats // (wide * max(1, users_NKD.shape[1])))
    parts = [
        _search_block(users_NKD[start : start + step], items_MD, k, wide, exclude and exclude[start : start + step])
        for start in range(0, len(users_NKD), step)
    ]
    if not parts:
        return torch.empty((0, k), dtype=torch.int64), torch.empty((0, k))
    return torch.cat([rows for rows, _ in parts]), torch.cat([scores for _, scores in parts])


def check_k(k: int, num_items: int) -> None:
    """Raise `ValueError` unless so many items can be retrieved."""
    if not 1 <= k <= num_items:
        raise ValueError(f"k is {k} and the catalogue has {num_items:,} items: choose k from 1 to {num_items}.")


def check_finite(vectors: Tensor, what: str) -> None:
    """Raise `ValueError` where vectors (…, D) hold NaN or infinity, with their number."""
    # The sum of a row tells without a matrix of booleans beside a catalogue of vectors.
    wrong = int((~torch.isfinite(vectors.sum(dim=-1))).sum())
    if wrong:
        raise ValueError(
            f"{wrong:,} of {vectors[..., 0].numel():,} {what} vectors are NaN or infinite: training diverged, or the "
            "vectors are damaged; lower the learning rate or pass another checkpoint."
        )


def _search_block(
    users_nKD: Tensor, items_MD: Tensor, k: int, wide: int, exclude: Excluded | None
) -> tuple[Tensor, Tensor]:
    num_users, num_vectors, width = users_nKD.shape
    user_E, item_E = _excluded(exclude, items_MD.device)
    rows = torch.empty((num_users, 0), dtype=torch.int64, device=items_MD.device)
    best = torch.empty((num_users, 0), device=items_MD.device)
    for start in range(0, len(items_MD), wide):
        block_mD = items_MD[start : start + wide].float()
        scores_nm = (users_nKD.reshape(-1, width).float() @ block_mD.T).view(num_users, num_vectors, -1).amax(dim=1)
        inside_E = (item_E >= start) & (item_E < start + len(block_mD))
        scores_nm[user_E[inside_E], item_E[inside_E] - start] = -torch.inf
        found, place = _stable_top(scores_nm, k)
        # What came before has lower rows and stands first, so a stable order keeps ties in the order of rows.
        best, order = torch.sort(torch.cat([best, found], dim=1), dim=1, descending=True, stable=True)
        rows = torch.cat([rows, place + start], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
    return rows.masked_fill(torch.isneginf(best), NOTHING), best


def _stable_top(scores_nm: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best of each row (fewer if it is shorter), of equal ones those that come first."""
    k = min(k, scores_nm.shape[1])
    found, place = scores_nm.topk(min(k + 1, scores_nm.shape[1]), dim=1)
    # `topk` takes any of those that tie for the last place: such rows are sorted whole.
    tied_n = (found[:, k - 1 : k] == found[:, k:]).any(dim=1)
    place, by_place = place[:, :k].sort(dim=1)
    found, order = found[:, :k].gather(1, by_place).sort(dim=1, descending=True, stable=True)
    place = place.gather(1, order)
    if tied_n.any():
        whole, order = scores_nm[tied_n].sort(dim=1, descending=True, stable=True)
        found[tied_n], place[tied_n] = whole[:, :k], order[:, :k]
    return found, place


def _excluded(exclude: Excluded | None, device: torch.device) -> tuple[Tensor, Tensor]:
    if exclude is None:
        return torch.empty(0, dtype=torch.int64, device=device), torch.empty(0, dtype=torch.int64, device=device)
    return torch.from_numpy(exclude.users()).to(device), torch.from_numpy(exclude.items).to(device)
