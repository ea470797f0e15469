"""Rows of tokens cut into slices of nearly one length, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor


def longest_first(mask_UT: Tensor) -> Tensor:
    """Return the order of rows by length, longest first; rows of one length keep their order."""
    return mask_UT.sum(dim=1).argsort(descending=True, stable=True)


def token_slices(lengths: Sequence[int], token_budget: int) -> Iterator[tuple[slice, int]]:
    """Cut items into consecutive slices of at most `token_budget` padded tokens; yield each with its longest length.

    An item longer than the budget is a slice of its own.
    """
    start, width = 0, 1
    for stop, length in enumerate(lengths):
        if stop > start and (stop + 1 - start) * max(width, length) > token_budget:
            yield slice(start, stop), width
            start, width = stop, 1
        width = max(width, length)
    if lengths:
        yield slice(start, len(lengths)), width
