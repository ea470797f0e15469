"""What every reader of a feed offers: its path cut into pieces, and each piece read as a stream of tables.

Readers know formats and nothing of impressions: a post with a parent is a reply, one without is an item, a reaction is
a signed vote. `data.mix` makes impressions of them.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa

from tastelab.data.quarantine import MAX_TEXT, BadLine

POSTS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),  # unique within the feed
        pa.field("parent_id", pa.string()),  # what it replies to; null: nothing, it is an item
        pa.field("user", pa.string()),  # null: unknown or deleted; unique within the feed
        pa.field("time", pa.timestamp("s")),  # UTC
        pa.field("kind", pa.string(), nullable=False),  # post, answer or comment
        pa.field("community", pa.string(), nullable=False),  # "": that of its parent
        pa.field("title", pa.string(), nullable=False),  # plain text; "" for a reply
        pa.field("text", pa.string(), nullable=False),  # plain text; "" for a reply, whose text is never kept
        pa.field("url", pa.string(), nullable=False),  # what a link post points at; "": nothing
        pa.field("tags", pa.string(), nullable=False),  # comma-separated
    ]
)

REACTIONS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),  # an item or a reply to it
        pa.field("user", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("s"), nullable=False),  # UTC
        pa.field("date_only", pa.bool_(), nullable=False),  # the hour is not known
        pa.field("kind", pa.string(), nullable=False),  # vote, favourite, bounty, …
        pa.field("weight", pa.float32(), nullable=False),  # below 0: disliked
    ]
)

ACCOUNTS = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("person", pa.string(), nullable=False),  # the same for all accounts of one person
    ]
)

SCHEMAS = {"posts": POSTS, "reactions": REACTIONS, "accounts": ACCOUNTS}
Kind = Literal["posts", "reactions", "accounts"]
BLOCK_ROWS = 16_384
"""Rows of a table that a reader yields at a time, at most."""
MAX_LINE = 16 * 2**20
"""Bytes of a line or element; a longer one is set aside without being held in memory."""


@dataclass(frozen=True)
class Piece:
    """A part of a feed that one task reads: a file, a table of it, or a range of it."""

    feed: str
    """Name of the reader."""
    path: Path
    part: str = ""
    """Which part of the path, in the reader's own words, such as a table or a member of an archive."""
    start: int = 0
    stop: int | None = None
    """Range of the part, in the reader's own units; None: to its end."""

    @property
    def label(self) -> str:
        """Name of the file for messages."""
        return f"{self.path.name}:{self.part}" if self.part else self.path.name


@dataclass
class BadRecords:
    """Malformed records of one piece, collected where it is read."""

    num_records: int = 0
    """Records looked at, malformed ones included."""
    lines: list[BadLine] = field(default_factory=list)
    cut_short: bool = False
    """The file ends within a record."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Sound records that the feed itself withdrew or that are no posts: why → how many."""

    def add(self, number: int, reason: str, text: bytes = b"") -> None:
        """Set a record aside: its number in the piece (from 1), why, and its first bytes."""
        self.lines.append(BadLine(number, reason, text[:MAX_TEXT]))


class Feed:
    """A source of public posts: how it is cut into pieces and read; a subclass per format, registered by name."""

    name: ClassVar[str] = ""
    takes: ClassVar[str] = ""
    """What its path may be, for help texts: "folder of a site dump, or its .7z"."""
    licence: ClassVar[str] = "unknown: ask the source"
    """Licence of the source's content, for the data card."""
    persons_span_sources: ClassVar[bool] = False
    """Whether a `person` of two sources of this feed is the same person, as one account of a network of sites is."""
    seen_real: ClassVar[bool] = False
    """Whether the reader was run on real files, not only on those written from the format's documentation."""

    def pieces(self, path: Path) -> list[Piece]:
        """Cut the feed at `path` into what single tasks read.

        Raises:
            ValueError: `path` is not this feed; the sentence says what it has to hold.
        """
        raise NotImplementedError

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read a piece: tables of `SCHEMAS[kind]` of at most `BLOCK_ROWS` rows; what is malformed goes to `bad`."""
        raise NotImplementedError


FEEDS = {
    "stackexchange": "tastelab.data.feeds.stackexchange:StackExchange",
    "hackernews": "tastelab.data.feeds.hackernews:HackerNews",
    "reddit": "tastelab.data.feeds.reddit:Reddit",
    "activitypub": "tastelab.data.feeds.activitypub:ActivityPub",
    "generic": "tastelab.data.feeds.generic:Generic",
}
"""Name of a source → where its reader is."""


def feed(name: str) -> Feed:
    """Return the reader of a source; a wrong name raises `ValueError` listing the right ones."""
    if name not in FEEDS:
        raise ValueError(f"Unknown source '{name}': choose one of {', '.join(FEEDS)}.")
    module, _, cls = FEEDS[name].partition(":")
    found: Feed = getattr(importlib.import_module(module), cls)()
    return found
