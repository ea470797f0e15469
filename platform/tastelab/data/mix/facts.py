"""What a build of a mix counted, for its data card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict


class SourceFacts(TypedDict):
    """What one source held."""

    feed: str
    """Name of its reader."""
    label: str
    """Name of the source's file or folder; with "#2" and so on where several are called the same."""
    path: str
    """The last part of its path only."""
    licence: str
    seen_real: bool
    """Whether the reader was ever run on real files of that source."""
    posts: int
    """Items and replies, the ones left out included."""
    items: int
    """Posts that became items."""
    replies: int
    """Posts with a parent."""
    reactions: int
    accounts: int
    """Rows that say whose account a user is."""
    bad: int
    """Malformed records, set aside."""
    cut_short: list[str]
    """Files that end within a record: what they hold before the cut is kept."""


class CommunityFacts(TypedDict):
    """What one community held."""

    items: int
    engagements: int
    people: int
    """People with at least one engagement there."""


@dataclass(frozen=True)
class Facts:
    """Counts of a build: what was read, what was dropped and why, and what is left."""

    sources: list[SourceFacts]
    dropped: Counter[str]
    """Reason, in words that a card can print, → number of posts, replies, reactions, engagements or windows."""
    engagements: dict[str, int]
    """Kind → first engagements of people with items that are kept; negative ones are also counted as "disliked"."""
    people: int
    """People with at least one engagement."""
    communities: dict[str, CommunityFacts]
    """By number of items, largest first."""
    options: Mapping[str, Any]
    """Options of the build; of the salt only whether it was given."""
    timings: dict[str, float] = field(default_factory=dict)
    """Stage → seconds."""
    notes: dict[str, int] = field(default_factory=dict)
    """Further counts that are no losses: windows shifted at the ends of a timeline, accounts joined, …"""
