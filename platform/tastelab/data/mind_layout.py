"""Where MIND's files lie: folders or zips named after their split, at the top or under one wrapping folder."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tastelab.schema import SPLITS

Node = Path | zipfile.Path

HOLDS = "train/news.tsv and train/behaviors.tsv (also dev and test, MINDsmall_train/… and the like, or their zips)"
_SPLIT_NAME = re.compile(r"(?:.*[_-])?(train|dev|valid|validation|val|test)", re.IGNORECASE)
_ALIASES = {"valid": "dev", "validation": "dev", "val": "dev"}


class NotMind(ValueError):
    """Nothing of MIND's layout is there."""


@dataclass(frozen=True)
class RawFile:
    """One table as a text file, on disk or inside a zip."""

    label: str  # how messages and records name it, relative to the folder given
    node: Node
    origin: Path  # the file on disk: itself, or the zip it is a member of

    @property
    def size(self) -> int:
        """Number of bytes when unpacked."""
        if isinstance(self.node, Path):
            return self.node.stat().st_size
        return self.node.root.getinfo(self.node.at).file_size

    def open(self) -> BinaryIO:
        """Open the file for reading; a member of a zip is unpacked as it is read."""
        return cast(BinaryIO, self.node.open("rb"))


@dataclass(frozen=True)
class RawSplit:
    """The two files of one split."""

    split: str
    news: RawFile
    behaviors: RawFile


def find_splits(source: Path) -> list[RawSplit]:
    """Find the splits of a folder or zip, in the order train, dev, test.

    Raises:
        ValueError: Nothing of MIND's layout is there, a split lacks one of its files, or two folders claim one split.
    """
    source = source.absolute()  # "." has no name
    root = as_node(source)
    found = _splits_of(root, source)
    if not found:
        wrapped = [(child, splits) for child in folders(root) if (splits := _splits_of(child, source))]
        if len(wrapped) > 1:
            names = ", ".join(_label(child, source) for child, _ in wrapped)
            raise ValueError(f"{source} holds several data sets ({names}): pass one of them.")
        found = wrapped[0][1] if wrapped else {}
    if not found:
        raise NotMind(f"{source} holds no MIND files: it must hold {HOLDS}.")
    return [found[split] for split in SPLITS if split in found]


def _splits_of(node: Node, source: Path) -> dict[str, RawSplit]:
    """Return the splits that lie directly in `node`, or `node` itself where it is one."""
    if _holds_tables(node):
        if (split := split_of(node.name)) is None:
            raise ValueError(
                f"{_label(node, source)} holds one split but its name does not tell which: "
                f"rename it to train, dev or test."
            )
        return {split: _as_split(split, node, source)}
    found: dict[str, Node] = {}
    for child in folders(node):
        if (split := split_of(child.name)) is None:
            continue
        if split in found and _stem(child) != _stem(found[split]):
            raise ValueError(
                f"{_label(found[split], source)} and {_label(child, source)} are both '{split}': "
                f"pass a folder that holds one of them."
            )
        found.setdefault(split, child)  # folders come first: what was unpacked is preferred to its zip
    if not any(_holds_tables(_inner(child)) for child in found.values()):
        return {}  # folders that happen to have such names
    return {split: _as_split(split, child, source) for split, child in found.items()}


def split_of(name: str) -> str | None:
    """Return the split that a folder's or zip's name stands for: 'dev' for 'MINDsmall_dev.zip'; None for others."""
    match = _SPLIT_NAME.fullmatch(name.removesuffix(".zip"))
    return _ALIASES.get(match[1].lower(), match[1].lower()) if match else None


def _as_split(split: str, node: Node, source: Path) -> RawSplit:
    holder = _inner(node)
    for name in ("behaviors.tsv", "news.tsv"):
        if not (holder / name).is_file():
            raise ValueError(f"{_label(node, source)} holds no {name}: the split '{split}' needs it.")
    return RawSplit(split, as_file(holder / "news.tsv", source), as_file(holder / "behaviors.tsv", source))


def _inner(node: Node) -> Node:
    """Return the only folder inside a folder or zip that holds no tables itself; some mirrors wrap them so."""
    inner = [] if _holds_tables(node) else list(folders(node))
    return inner[0] if len(inner) == 1 else node


def as_file(node: Node, source: Path) -> RawFile:
    """Return the file at `node`, labelled by its place in `source`."""
    origin = node if isinstance(node, Path) else Path(str(node.root.filename))
    return RawFile(_label(node, source), node, origin)


def as_node(path: Path) -> Node:
    """Return a folder as it is and a zip as the tree inside it; raise `ValueError` where it is no complete zip."""
    if path.is_dir():
        return path
    try:
        return zipfile.Path(path)
    except (zipfile.BadZipFile, IsADirectoryError) as error:
        raise ValueError(f"{path} is no complete zip file ({error}): download it again.") from None


def folders(node: Node) -> Iterator[Node]:
    """Yield the folders in `node`, then the zips beside them, each by name."""
    children = sorted((c for c in node.iterdir() if not c.name.startswith((".", "__MACOSX"))), key=lambda c: c.name)
    yield from (child for child in children if child.is_dir())
    yield from (as_node(c) for c in children if isinstance(c, Path) and c.suffix == ".zip" and c.is_file())


def _holds_tables(node: Node) -> bool:
    return (node / "behaviors.tsv").is_file() or (node / "news.tsv").is_file()


def _stem(node: Node) -> str:
    return node.name.removesuffix(".zip")


def _label(node: Node, source: Path) -> str:
    """Return the place of a node relative to the folder given: 'MINDsmall_dev.zip/news.tsv'."""
    place = Path(str(node))
    return str(place.relative_to(source)) if place != source else source.name
