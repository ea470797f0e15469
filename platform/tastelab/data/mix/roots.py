"""Replies → the item that each stands under, through chains of parents, for all posts of a build at once.

Posts are 64-bit hashes in sorted order; a chain is followed by pointer jumping, which halves what is left of every
chain at each step. At rest this takes 20 bytes a post: its hash, a second hash, its root.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tastelab.data.mix.hashing import NO_HASH, U64

Rows = npt.NDArray[np.int32]
MISSING, CYCLE, NO_ITEM = -1, -2, -3
"""Instead of a row: a parent is missing, the parents form a cycle, the root is left out as an item."""
UNKNOWN = -4
"""Instead of a row: no post has this id."""
REASONS = {
    MISSING: "reply whose parent, or a parent's parent, is missing",
    CYCLE: "reply whose parents form a cycle",
    NO_ITEM: "reply to, or reaction on, a post that is no item",
    UNKNOWN: "reaction on a post that is not there",
}


@dataclass(frozen=True)
class Posts:
    """Distinct posts, sorted by hash."""

    ids: U64
    roots: Rows
    """Position of each post's root in `ids`, or `MISSING` or `CYCLE`."""
    first: npt.NDArray[np.int64]
    """Where each was first among the posts as given."""
    dropped: Counter[str]
    """Posts that were left out, by reason."""

    def find(self, hashes: U64) -> npt.NDArray[np.int64]:
        """Position of each hash in `ids`, −1 where it is none."""
        return positions(self.ids, hashes)


def positions(ids: U64, hashes: U64) -> npt.NDArray[np.int64]:
    """Position of each hash in sorted `ids`, −1 where it is none."""
    if not len(ids):
        return np.full(len(hashes), -1)
    found = np.minimum(np.searchsorted(ids, hashes), len(ids) - 1)
    return np.where(ids[found] == hashes, found, -1)


def resolve(ids: U64, checks: npt.NDArray[np.uint32], parents: U64) -> Posts:
    """Find the root of every post.

    Args:
        ids: Hash of each post's id; of posts that share one, the first counts.
        checks: A second hash of the same id. Where it differs under one `ids`, two ids collide, and the later is left
            out.
        parents: Hash of what each replies to; `NO_HASH` for an item.
    """
    if len(ids) >= np.iinfo(np.int32).max:
        raise ValueError(f"{len(ids):,} posts are more than one build takes: build parts of the sources.")
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    new = np.ones(len(ids), bool)
    new[1:] = sorted_ids[1:] != sorted_ids[:-1]
    first = order[new]
    same = checks[order] == checks[first][np.cumsum(new) - 1]
    repeated, collided = int((~new & same).sum()), int((~same).sum())
    dropped = Counter({"post whose id came before": repeated, "post whose id has the hash of another": collided})
    kept = sorted_ids[new]
    return Posts(kept, _roots(kept, parents[first]), first, +dropped)


def _roots(ids: U64, parents: U64) -> Rows:
    """Follow parents to their end: after step k a pointer stands 2^k parents above its post, or at the root."""
    num = len(ids)
    missing = num  # a node of its own, at which chains end as at a root
    found = positions(ids, parents)
    up = np.empty(num + 1, np.int32)
    up[:num] = np.where(parents == NO_HASH, np.arange(num), np.where(found < 0, missing, found))
    up[missing] = missing
    # Not "its pointer stands still": on a cycle of two posts, each stands at itself after one step.
    ends = np.append(parents == NO_HASH, True)
    moving = np.flatnonzero(~ends[up])
    for _ in range(num.bit_length() + 1):
        up[moving] = up[up[moving]]
        moving = moving[~ends[up[moving]]]
    roots = np.where(up[:num] == missing, MISSING, up[:num]).astype(np.int32)
    roots[moving] = CYCLE  # a chain without a cycle has ended by now
    return roots
