"""Where MovieLens' files lie, in GroupLens' layouts and in RecBole's, and how their lines are cut."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tastelab.data.mind_layout import Node, RawFile, as_file, as_node, folders

HOLDS = (
    "ratings.csv and movies.csv, ratings.dat and movies.dat, u.data and u.item, or <name>.inter and <name>.item as "
    "RecBole has them"
)


@dataclass(frozen=True)
class Layout:
    """How the two files of a release are written."""

    name: str
    ratings: str
    items: str
    """Names of the files; `*` stands for the same word in both."""
    ratings_separator: str
    rating_columns: tuple[str, str, str, str]
    """User, item, rating and time: names in the header, or what stands in their place where there is none."""
    has_header: bool
    split_item: Callable[[str], list[str]]
    genre_separator: str
    """What stands between genres; "": a column of 0 or 1 for each of them."""


def _csv_fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _cut(separator: str) -> Callable[[str], list[str]]:
    return lambda line: line.split(separator)


PLACES = ("0", "1", "2", "3")
LAYOUTS = (
    Layout(
        "csv", "ratings.csv", "movies.csv", ",", ("userId", "movieId", "rating", "timestamp"), True, _csv_fields, "|"
    ),
    Layout("dat", "ratings.dat", "movies.dat", "::", PLACES, False, _cut("::"), "|"),
    Layout("u.data", "u.data", "u.item", "\t", PLACES, False, _cut("|"), ""),
    Layout("recbole", "*.inter", "*.item", "\t", ("user_id", "item_id", "rating", "timestamp"), True, _cut("\t"), " "),
)


@dataclass(frozen=True)
class RawMovieLens:
    """The two files of a release."""

    layout: Layout
    ratings: RawFile
    items: RawFile


def find_release(source: Path) -> RawMovieLens | None:
    """Find a release in a folder or zip, or in one folder in it; None where there is nothing of MovieLens.

    Raises:
        ValueError: There are several, one lacks its file of items, or a zip is damaged.
    """
    source = source.absolute()
    root = as_node(source)
    found = _releases(root, source)
    if not found:
        found = [release for child in folders(root) for release in _releases(child, source)]
    if len(found) > 1:
        names = ", ".join(release.ratings.label for release in found)
        raise ValueError(f"{source} holds several data sets ({names}): pass a folder that holds one of them.")
    return found[0] if found else None


def _releases(node: Node, source: Path) -> list[RawMovieLens]:
    files = {child.name: child for child in node.iterdir() if child.is_file()}
    found = []
    for layout in LAYOUTS:
        start, end = layout.ratings.split("*") if "*" in layout.ratings else (layout.ratings, "")
        for name in sorted(files):
            if not (name.startswith(start) and name.endswith(end) and (end or name == start)):
                continue
            items = layout.items.replace("*", name.removesuffix(end)) if end else layout.items
            if items not in files:
                raise ValueError(f"{source} holds {name} and no {items}: MovieLens needs both for titles and ratings.")
            found.append(RawMovieLens(layout, as_file(files[name], source), as_file(files[items], source)))
    return found
