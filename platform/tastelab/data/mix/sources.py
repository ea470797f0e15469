"""What `--source feed:path` names: a reader, a path, and a label that no other source of the build has."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tastelab.data.feeds.base import FEEDS, Feed, Piece, feed


@dataclass(frozen=True)
class Source:
    """One feed at one path."""

    feed: str
    path: Path
    label: str
    """Name of the file or folder; the second of the same name is "name#2"."""

    def reader(self) -> Feed:
        """Return the reader of this feed."""
        return feed(self.feed)


@dataclass(frozen=True)
class SourcePiece:
    """A piece, and the number of the source that it belongs to."""

    source: int
    piece: Piece
    number: int
    """Its place among the pieces of all sources."""


def parse_sources(texts: Sequence[str]) -> list[Source]:
    """Read `feed:path` texts.

    Raises:
        ValueError: There is none, one has no known feed, or its path is not there.
    """
    if not texts:
        raise ValueError(f"Name at least one --source as FEED:PATH, where FEED is one of {', '.join(FEEDS)}.")
    sources, labels = list[Source](), set[str]()
    for text in texts:
        name, colon, place = text.partition(":")
        if not colon or not place:
            raise ValueError(f"--source '{text}' is not FEED:PATH, such as stackexchange:dumps/beer.")
        feed(name)
        path = Path(place).expanduser()
        if not path.exists():
            raise ValueError(f"--source {text}: there is no {path}.")
        label = _unused(path.absolute().name, labels)
        labels.add(label)
        sources.append(Source(name, path, label))
    return sources


def _unused(label: str, labels: Set[str]) -> str:
    """Return `label`, or it with the first number that makes it another than those before."""
    numbered = (label, *(f"{label}#{number}" for number in range(2, len(labels) + 3)))
    return next(each for each in numbered if each not in labels)


def cut(sources: Sequence[Source]) -> list[SourcePiece]:
    """Cut every source into the pieces that single tasks read; a path that is not its feed raises `ValueError`."""
    pieces = [(number, piece) for number, source in enumerate(sources) for piece in source.reader().pieces(source.path)]
    return [SourcePiece(source, piece, number) for number, (source, piece) in enumerate(pieces)]
