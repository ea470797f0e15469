"""What candidate losses share: similarities, sums over many items in blocks, checks of their settings.

Shape letters: N examples, C items contrasted with, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tastelab.losses.contrast import DISTRIBUTIONS, Contrast

BLOCK = 2**25
"""The most logits that are held at once: more are computed in blocks of rows, and again in the backward pass."""


def similarities(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products `left @ rightᵀ` over the last axis, in float32 or better whatever autocast says."""
    with torch.autocast(left.device.type, enabled=False):
        return _real(left) @ _real(right).transpose(-1, -2)


def positive_logits(contrast: Contrast) -> Tensor:
    """Return `phi(x, y) = <f(x), g(y)> / temperature` of each example and its positive, shape (N,)."""
    return (_real(contrast.users_ND) * _real(contrast.positives_ND)).sum(dim=-1) / contrast.temperature


def log_likelihood(contrast: Contrast) -> Tensor:
    """Return log p(y|x) of each positive under the softmax over the whole catalogue, shape (N,).

    The positive's vector is that of the catalogue, so that the probabilities sum to 1.
    """
    assert contrast.catalogue_MD is not None, "the catalogue was not encoded"
    users_ND, items_MD, ids_N = contrast.users_ND, contrast.catalogue_MD, contrast.positive_ids_N

    def block(rows: slice) -> Tensor:
        logits_RM = similarities(users_ND[rows], items_MD) / contrast.temperature
        return logits_RM.gather(1, ids_N[rows].unsqueeze(1)).squeeze(1) - logits_RM.logsumexp(dim=1)

    return in_blocks(block, len(users_ND), len(items_MD))


def in_blocks(block: Callable[[slice], Tensor], num_rows: int, per_row: int) -> Tensor:
    """Return `block(rows)` of all rows, computed for as many rows at a time as have at most `BLOCK` logits.

    Args:
        block: what is computed of a slice of rows, one value a row.
        num_rows: how many rows there are.
        per_row: logits that `block` holds for each row.
    """
    step = max(1, BLOCK // max(1, per_row))
    if step >= num_rows:
        return block(slice(0, num_rows))
    slices = [slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step)]
    return torch.cat([checkpoint(block, rows, use_reentrant=False, preserve_rng_state=False) for rows in slices])


def check_count(count: int, what: str, least: int, example: int) -> None:
    """Raise `ValueError` where a number of things is below the least that makes sense."""
    if count < least:
        raise ValueError(f"The number of {what} is {count}: choose {least} or more, such as {example:,}.")


def check_distribution(distribution: str, what: str) -> None:
    """Raise `ValueError` for a distribution over items that does not exist."""
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"The {what} is '{distribution}': choose one of {', '.join(DISTRIBUTIONS)}.")


def check_queue(places: int, num_clicks: int) -> None:
    """Raise `ValueError` for a queue that the clicks of the data never fill."""
    if places > num_clicks:
        raise ValueError(
            f"The queue has {places:,} places and the data have {num_clicks:,} clicks to train on: "
            f"choose a queue of at most {num_clicks:,}."
        )


def check_weight(weight: float, what: str) -> None:
    """Raise `ValueError` for a weight that no sum of losses can have."""
    if not 0.0 <= weight < math.inf:
        raise ValueError(f"The weight {what} is {weight}: choose 0 or more, such as 0.1.")


def _real(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
