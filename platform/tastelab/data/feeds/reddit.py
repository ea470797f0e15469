"""Reddit: submissions and comments as JSON lines, as the public monthly dumps (RS_*, RC_*) have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tastelab.data.feeds.base import BadRecords, Feed, Kind, Piece
from tastelab.data.feeds.lines import COMPRESSED, PLAIN, ranges
from tastelab.data.feeds.records import (
    Entry,
    LeftOut,
    Malformed,
    Record,
    clean,
    entries,
    feed_files,
    identifier,
    item,
    moment,
    name,
    objects,
    reply,
    tables,
)

SUBMISSIONS, COMMENTS = "submissions", "comments"
BOTS = frozenset({"AutoModerator"})
"""Accounts that engage with nothing: they answer everything."""
_GONE = frozenset({"[deleted]", "[removed]"})
_GONE_TITLES = frozenset({"[deleted]", "[removed]", "[deleted by user]", "[ Removed by Reddit ]"})


class Reddit(Feed):
    """Submissions as items, comments as replies to their submission; votes are sums without users, so none are read.

    A comment is a reply to the submission that its `link_id` names, whatever it answers there, so that no chain of
    comments can break. Removed submissions are left out, and the comments of AutoModerator, whose submissions have no
    user. Tags are the flair of the link and "nsfw".
    """

    name: ClassVar[str] = "reddit"
    takes: ClassVar[str] = "file of submissions or comments (.jsonl, .ndjson, .json, .zst, .gz), or a folder of both"
    licence: ClassVar[str] = (
        "unknown: posts belong to their authors; Reddit's user agreement and data terms apply, ask before passing "
        "them on"
    )

    def pieces(self, path: Path) -> list[Piece]:
        """Cut files into ranges of bytes; the first record of a file says whether it has submissions or comments."""
        files = feed_files(path, self.name, self.takes, (*PLAIN, *COMPRESSED))
        return [Piece(self.name, file, part, *cut) for file in files for part in [_part(file)] for cut in ranges(file)]

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read a range of submissions or comments."""
        convert = _comment if piece.part == COMMENTS else _submission
        return tables(entries(objects(piece.path, bad, piece.start, piece.stop), convert, bad))


def _part(path: Path) -> str:
    for _, _, record in objects(path, BadRecords()):
        if "link_id" in record or "parent_id" in record:
            return COMMENTS
        if "title" in record:
            return SUBMISSIONS
        break
    raise ValueError(
        f"The first record of {path.name} is no Reddit submission (it has a title) and no comment (it has a link_id): "
        "give reddit files of these."
    )


def _submission(record: Record) -> list[Entry]:
    post_id, title, author = _fullname(record.get("id"), "t3_"), record.get("title"), _author(record)
    if not isinstance(title, str):
        raise Malformed("submission without a title")
    if record.get("removed") is True or record.get("removed_by_category") or title in _GONE_TITLES:
        raise LeftOut("removed or deleted submission")
    text, url = record.get("selftext"), record.get("url")
    is_link = isinstance(url, str) and record.get("is_self") is not True and f"/comments/{post_id[3:]}" not in url
    tags = [tag for tag in (record.get("link_flair_text"),) if isinstance(tag, str)]
    return [
        item(
            post_id,
            None if author in BOTS else author,
            moment(record.get("created_utc")),
            _subreddit(record),
            clean(title),
            "" if isinstance(text, str) and text in _GONE else clean(text),
            str(url) if is_link else "",
            [*tags, "nsfw"] if record.get("over_18") is True else tags,
        )
    ]


def _comment(record: Record) -> list[Entry]:
    comment_id, author = _fullname(record.get("id"), "t1_"), _author(record)
    if author in BOTS:
        raise LeftOut("comment of a bot")
    return [reply(comment_id, _parent(record), author, moment(record.get("created_utc")), _subreddit(record))]


def _parent(record: Record) -> str:
    """Return the submission, or, if a record does not name it, what the comment answers."""
    for key in ("link_id", "parent_id"):
        value = record.get(key)
        if isinstance(value, str) and value.startswith(("t3_", "t1_")) and len(value) > 3:
            return identifier(value)
    raise Malformed("comment without a parent")


def _fullname(value: object, prefix: str) -> str:
    return prefix + identifier(value).removeprefix(prefix)


def _author(record: Record) -> str | None:
    author = name(record.get("author"))
    return None if author in _GONE else author


def _subreddit(record: Record) -> str:
    subreddit = name(record.get("subreddit"))
    if not subreddit:
        raise Malformed("no subreddit")
    if subreddit.lower().startswith("u_"):  # named after its owner, and no community
        raise LeftOut("post on a profile")
    return subreddit
