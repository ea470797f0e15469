"""Stack Exchange site dumps: `Posts.xml`, `Comments.xml`, `Votes.xml` and `Users.xml` of a site, in a folder or a .7z.

Votes that carry a user are favourites (type 5) and started bounties (type 8); up- and down-votes name nobody and are
left out. An account is a user of one site; `AccountId` is the same for all accounts of one person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import compress
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pyarrow as pa

from tastelab.data.feeds.archives import members, open_member
from tastelab.data.feeds.base import ACCOUNTS, POSTS, REACTIONS, BadRecords, Feed, Kind, Piece
from tastelab.data.feeds.columns import in_blocks, times
from tastelab.data.feeds.text import MAX_TEXT_CHARS, clean_title, plain_text, without_personal
from tastelab.data.feeds.xml_rows import Row, read_rows

FILES = ("Posts.xml", "Comments.xml", "Votes.xml", "Users.xml")
RANGE_BYTES = 256 * 2**20
"""Bytes of an XML file that one task reads; a member of an archive is read by one task whatever its size."""
POST_KINDS = {"1": "post", "2": "answer"}
VOTE_KINDS = {"5": "favourite", "8": "bounty"}
NOBODY = "-1"
"""The account that stands for the site itself."""


class StackExchange(Feed):
    """Questions are items; answers and comments are replies; favourites and bounties are reactions of weight 1."""

    name: ClassVar[str] = "stackexchange"
    takes: ClassVar[str] = "a folder with a site's Posts.xml, a site's .7z, or a folder of several of either"
    licence: ClassVar[str] = "CC BY-SA (2.5, 3.0 or 4.0 by date of posting); link to each question as <site>/q/<Id>"
    persons_span_sources = True
    seen_real: ClassVar[bool] = True

    def pieces(self, path: Path) -> list[Piece]:
        """Cut the dump at `path`: a piece is an archive's member or `RANGE_BYTES` of a file.

        Raises:
            ValueError: `path` holds no `Posts.xml`, one site twice, or an archive that cannot be read.
        """
        sites: dict[str, dict[str, Path]] = {}
        for place in _places(path):
            parts = members(place) if place.is_file() else [file.name for file in place.iterdir()]
            for part in FILES:
                if part not in parts:
                    continue
                other = sites.setdefault(community_of(place), {}).setdefault(part, place)
                if other != place:
                    raise ValueError(f"{other} and {place} both hold {part} of one site: keep one of them.")
        for site, files in sites.items():
            if "Posts.xml" not in files:
                raise ValueError(f"{path} holds no Posts.xml of the site '{site}': download the site's whole dump.")
        if not sites:
            raise ValueError(f"{path} holds no Posts.xml: give {self.takes}.")
        found = [(files[part], part) for files in sites.values() for part in FILES if part in files]
        return [piece for place, part in found for piece in _cut(place, part)]

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read a piece: posts of `Posts.xml` and `Comments.xml`, reactions of `Votes.xml`, accounts of `Users.xml`."""
        kind, convert = _CONVERTERS[piece.part]
        site = community_of(piece.path)
        with _open(piece) as stream:
            blocks = read_rows(stream, piece.label, bad, piece.start, piece.stop)
            for table in in_blocks(convert(rows, site, bad) for rows in blocks):
                yield kind, table


def community_of(place: Path) -> str:
    """Return a site's name: "ai" of ai.stackexchange.com, "ai.meta" of ai.meta.stackexchange.com."""
    host = place.resolve().name.removesuffix(".7z")
    for part in FILES:
        host = host.removesuffix(f"-{part.removesuffix('.xml')}")
    for ending in (".stackexchange.com", ".com", ".net"):
        if host != (host := host.removesuffix(ending)):
            break
    labels = host.split(".")
    if len(labels) > 1 and "meta" in labels:
        labels = [label for label in labels if label != "meta"] + ["meta"]
    return ".".join(labels)


def _places(path: Path) -> list[Path]:
    """Return the folders and archives that hold sites."""
    if not path.exists():
        raise ValueError(f"There is no {path}: give stackexchange {StackExchange.takes}.")
    if path.is_file():
        if path.suffix != ".7z":
            raise ValueError(f"{path.name} is no .7z archive and no folder: give stackexchange {StackExchange.takes}.")
        return [path]
    if (path / "Posts.xml").is_file():
        return [path]
    return sorted(p for p in path.iterdir() if (p / "Posts.xml").is_file() or (p.suffix == ".7z" and p.is_file()))


def _cut(place: Path, part: str) -> list[Piece]:
    if place.is_file():
        return [Piece(StackExchange.name, place, part)]
    starts = range(0, max((place / part).stat().st_size, 1), RANGE_BYTES)
    stops = [*starts[1:], None]
    return [Piece(StackExchange.name, place, part, start, stop) for start, stop in zip(starts, stops, strict=True)]


def _open(piece: Piece) -> AbstractContextManager[IO[bytes]]:
    if piece.path.is_file():
        return open_member(piece.path, piece.part)
    return (piece.path / piece.part).open("rb")


def _posts(rows: list[Row], site: str, bad: BadRecords) -> pa.Table:
    """Return questions and answers; posts of other types, such as tag wikis, are left out."""
    rows, created = _sound(_of_types(rows, "PostTypeId", POST_KINDS, bad), ("Id",), "OwnerUserId", bad)
    is_item = [attributes["PostTypeId"] == "1" for _, attributes in rows]
    pairs = list(zip((attributes for _, attributes in rows), is_item, strict=True))
    titles = [clean_title(row.get("Title", "")) if item else "" for row, item in pairs]
    texts = [plain_text(row.get("Body", "")) if item else "" for row, item in pairs]
    return _table(
        POSTS,
        post_id=[f"{site}/{row['Id']}" for row, _ in pairs],
        parent_id=[None if item else f"{site}/{row['ParentId']}" for row, item in pairs],
        user=[_user(row.get("OwnerUserId", NOBODY), site) for row, _ in pairs],
        time=created,
        kind=[POST_KINDS[row["PostTypeId"]] for row, _ in pairs],
        community=[site] * len(pairs),
        title=[without_personal(title)[:MAX_TEXT_CHARS] for title in titles],
        text=[without_personal(text)[:MAX_TEXT_CHARS] for text in texts],
        url=[""] * len(pairs),
        tags=[_tags(row.get("Tags", "")) if item else "" for row, item in pairs],
    )


def _comments(rows: list[Row], site: str, bad: BadRecords) -> pa.Table:
    """Return comments; what they comment on, a question or an answer, is known by its id alone."""
    rows, created = _sound(rows, ("Id", "PostId"), "UserId", bad)
    empty = [""] * len(rows)
    return _table(
        POSTS,
        post_id=[f"{site}/comment/{row['Id']}" for _, row in rows],
        parent_id=[f"{site}/{row['PostId']}" for _, row in rows],
        user=[_user(row.get("UserId", NOBODY), site) for _, row in rows],
        time=created,
        kind=["comment"] * len(rows),
        community=[site] * len(rows),
        title=empty,
        text=empty,
        url=empty,
        tags=empty,
    )


def _votes(rows: list[Row], site: str, bad: BadRecords) -> pa.Table:
    """Return favourites and bounties that name their user."""
    named = _of_types(rows, "VoteTypeId", VOTE_KINDS, bad)
    rows = [row for row in named if not row[1].get("UserId", NOBODY).startswith("-")]
    _leave_out(len(named) - len(rows), "votes without a user", bad)
    rows, created = _sound(rows, ("PostId",), "UserId", bad)
    return _table(
        REACTIONS,
        post_id=[f"{site}/{row['PostId']}" for _, row in rows],
        user=[_user(row["UserId"], site) for _, row in rows],
        time=created,
        date_only=np.asarray(created.cast(pa.int64())) % 86_400 == 0,
        kind=[VOTE_KINDS[row["VoteTypeId"]] for _, row in rows],
        weight=np.ones(len(rows), dtype=np.float32),
    )


def _users(rows: list[Row], site: str, bad: BadRecords) -> pa.Table:
    """Return accounts; the site's own and those without `AccountId` belong to no person."""
    kept = [row for row in rows if not row[1].get("Id", "").startswith("-") and "AccountId" in row[1]]
    _leave_out(len(rows) - len(kept), "users without an account", bad)
    kept, _ = _sound(kept, ("Id", "AccountId"), "Id", bad)
    return _table(
        ACCOUNTS,
        user=[_user(row["Id"], site) for _, row in kept],
        person=[f"account:{row['AccountId']}" for _, row in kept],
    )


_CONVERTERS: dict[str, tuple[Kind, Callable[[list[Row], str, BadRecords], pa.Table]]] = {
    "Posts.xml": ("posts", _posts),
    "Comments.xml": ("posts", _comments),
    "Votes.xml": ("reactions", _votes),
    "Users.xml": ("accounts", _users),
}


def _of_types(rows: list[Row], name: str, types: dict[str, str], bad: BadRecords) -> list[Row]:
    """Return the rows of the types; others are left out, and a row without a type is malformed."""
    kept = []
    for number, row in rows:
        if row.get(name) in types:
            kept.append((number, row))
        elif row.get(name, "").isdigit():
            bad.left_out[f"other {name}"] += 1
        else:
            bad.add(number, f"no {name}", _shown(row))
    return kept


def _sound(rows: list[Row], ids: tuple[str, ...], user: str, bad: BadRecords) -> tuple[list[Row], pa.Array]:
    """Return the rows without a fault, and when they were made; the others go to `bad`."""
    created = times(pa.array([row.get("CreationDate") for _, row in rows], pa.string()))
    sound = np.ones(len(rows), dtype=bool)
    for place, ((number, row), has_time) in enumerate(zip(rows, created.is_valid().to_pylist(), strict=True)):
        if fault := _fault(row, ids, user, has_time):
            bad.add(number, fault, _shown(row))
            sound[place] = False
    return list(compress(rows, sound)), created.filter(pa.array(sound))


def _fault(row: dict[str, str], ids: tuple[str, ...], user: str, has_time: bool) -> str:
    """Return what is wrong with a row; a post may lack its owner, but not name one that is no number."""
    for name in (*ids, "ParentId") if row.get("PostTypeId") == "2" else ids:
        if not row.get(name, "").isdigit():
            return f"no {name}"
    if not row.get(user, NOBODY).removeprefix("-").isdigit():
        return f"no {user}"
    return "" if has_time else "no CreationDate"


def _leave_out(num: int, reason: str, bad: BadRecords) -> None:
    if num:
        bad.left_out[reason] += num


def _user(number: str, site: str) -> str | None:
    return None if number.startswith("-") else f"{site}/{number}"


def _tags(text: str) -> str:
    """Return "a,b" of "<a><b>" (until 2023) and of "|a|b|"."""
    return text.strip("<>|").replace("><", ",").replace("|", ",")


def _shown(row: dict[str, str]) -> bytes:
    return str(row).encode("utf-8", "replace")


def _table(schema: pa.Schema, **columns: Any) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
