"""ActivityPub: threads of Lemmy, Mastodon and the like as JSON, and the views of posts that Lemmy's own API gives.

A file holds one document or one on each line. A document is an object (Note, Article, Page, Question), an activity
around one (Create, Announce, Like, Dislike), a collection of these such as a page of an outbox, an array, or a view.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from tastelab.data.feeds.base import MAX_LINE, BadRecords, Feed, Kind, Piece
from tastelab.data.feeds.lemmy import is_view, view_entry
from tastelab.data.feeds.lines import COMPRESSED, PLAIN, ranges, read_lines
from tastelab.data.feeds.records import (
    Entry,
    LeftOut,
    Malformed,
    Record,
    clean,
    entries,
    feed_files,
    host,
    identifier,
    item,
    moment,
    name,
    plain,
    reaction,
    reply,
    tables,
)
from tastelab.data.feeds.text import without_personal

MAX_DOCUMENT = 256 * 2**20
"""Bytes of a file that holds one document, which is read whole."""
MAX_TITLE_CHARS = 120
_POSTS = frozenset({"Note", "Article", "Page", "Question"})
_VOTES = {"Like": ("like", 1.0), "Dislike": ("dislike", -1.0), "Announce": ("boost", 1.0)}
_PUBLIC = frozenset({"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"})
_LISTS = ("orderedItems", "items", "posts", "comments")
_LIST = re.compile(rb'^\s*\[|"(?:orderedItems|items|posts|comments)"\s*:\s*\[')
_GROUP = re.compile(r"^https?://([^/]+)/(?:c|m|groups)/([^/@?#]+)")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026\u061f\u06d4](?=\s|$)|[\u3002\uff01\uff1f])")
_FILES = "documents"
_DOCUMENTS = 5_000
"""Files of one document that a task reads."""


class ActivityPub(Feed):
    """Public posts without `inReplyTo` as items, the others as replies; Like +1, Announce +1, Dislike −1.

    An item without a name, as all of Mastodon's, takes the first sentence of its content as title, cut at 120
    characters. Its community is its group, else the host of its id. Left out: posts that are not addressed to the
    public, votes without a time (most servers send none), what a group passes on as itself, and other activities, Undo
    among them. A time without a zone is UTC.
    """

    name: ClassVar[str] = "activitypub"
    takes: ClassVar[str] = (
        "file of ActivityPub or Lemmy API documents, one (.json) or one on each line (.jsonl, .ndjson, .zst, .gz), or "
        "folder of such"
    )
    licence: ClassVar[str] = "unknown: differs by server and author, whose posts they are; ask before passing them on"

    def pieces(self, path: Path) -> list[Piece]:
        """Cut files of lines into ranges, and take single documents together by the thousand."""
        files = feed_files(path, self.name, self.takes, (*PLAIN, *COMPRESSED))
        if path.is_file() and _is_document(path):
            return [Piece(self.name, path, _FILES)]
        documents = {file for file in files if _is_document(file)}
        starts = range(0, len(_json_files(path)) if documents else 0, _DOCUMENTS)
        found = [Piece(self.name, path, _FILES, start, start + _DOCUMENTS) for start in starts]
        return found + [
            Piece(self.name, file, "", *cut) for file in files if file not in documents for cut in ranges(file)
        ]

    def read(self, piece: Piece, bad: BadRecords) -> Iterator[tuple[Kind, pa.Table]]:
        """Read documents, numbered from 1 in the piece, and what they hold."""
        if piece.part == _FILES:
            files = _json_files(piece.path)[piece.start : piece.stop]
            documents = _documents(filter(_is_document, files), bad)
        else:
            documents = _line_documents(piece, bad)
        return tables(entries(_flat(documents, bad), _convert, bad))


def _json_files(path: Path) -> list[Path]:
    return feed_files(path, ActivityPub.name, ActivityPub.takes, (".json",))


def _is_document(path: Path) -> bool:
    """Whether a .json file is one document: its first line is no whole one, or the only one."""
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        first = file.readline(MAX_LINE + 1)
        if not file.read(1):
            return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return False


def _documents(files: Iterator[Path], bad: BadRecords) -> Iterator[tuple[int, bytes, Any]]:
    for number, file in enumerate(files, 1):
        if file.stat().st_size > MAX_DOCUMENT:
            bad.num_records += 1
            bad.add(number, f"document longer than {MAX_DOCUMENT:,} bytes: give it as JSON lines")
            continue
        raw = file.read_bytes()
        try:
            yield number, raw, json.loads(raw)
        except UnicodeDecodeError:
            bad.num_records += 1
            bad.add(number, "not UTF-8", raw)
        except (ValueError, RecursionError):
            yield number, raw, list(_salvaged(raw))
            bad.num_records += 1
            bad.add(number, "the file ends within this record", raw)
            bad.cut_short = True


def _salvaged(raw: bytes) -> Iterator[Any]:
    """Read the whole elements of the first list of a document that is cut."""
    start = _LIST.search(raw)
    text = raw[start.end() :].decode("utf-8", "ignore") if start else ""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        place += len(text[place : place + 4096]) - len(text[place : place + 4096].lstrip(" \t\r\n,"))
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        yield value


def _line_documents(piece: Piece, bad: BadRecords) -> Iterator[tuple[int, bytes, Any]]:
    for number, line in read_lines(piece.path, bad, piece.start, piece.stop):
        bad.num_records -= 1  # what the document holds is counted instead
        try:
            yield number, line, json.loads(line)
        except (ValueError, RecursionError):
            bad.num_records += 1
            bad.add(number, "no JSON object", line)


def _flat(documents: Iterator[tuple[int, bytes, Any]], bad: BadRecords) -> Iterator[tuple[int, bytes, Record]]:
    """Take arrays and collections apart; a record's bytes are its document's."""
    for number, raw, document in documents:
        stack = [document]
        while stack:
            value = stack.pop()
            listed = value if isinstance(value, list) else _listed(value)
            if listed is not None:
                stack.extend(reversed(listed))
                continue
            bad.num_records += 1
            if isinstance(value, dict):
                yield number, raw, value
            elif isinstance(value, str):
                bad.left_out["address of a document that is not given"] += 1
            else:
                bad.add(number, "no JSON object", raw)


def _listed(value: Any) -> list[Any] | None:
    """Return what a collection, or an answer of Lemmy's API, lists; None if `value` is neither."""
    if not isinstance(value, dict) or _type(value) in _POSTS:
        return None
    found = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)
    if found is None and isinstance(value.get("first"), dict):
        return [value["first"]]
    single = value.get("post_view") or value.get("comment_view")
    return [single] if found is None and isinstance(single, dict) else found


def _convert(record: Record) -> list[Entry]:
    if is_view(record):
        return [view_entry(record)]
    kind, inner = _type(record), record.get("object")
    if kind in _POSTS:
        return [_post(record, record)]
    if kind in ("Create", "Announce") and isinstance(inner, dict) and _type(inner) in ("Create", *_VOTES):
        return _convert(inner)  # a group passes on what its members do
    if kind == "Create":
        if isinstance(inner, dict) and _type(inner) in _POSTS:
            return [_post(inner, record)]
        raise LeftOut("Create of something that is no post")
    if kind in _VOTES:
        return _vote(record, inner, *_VOTES[kind])
    if kind:
        raise LeftOut("Tombstone of a deleted post" if kind == "Tombstone" else "object or activity of another type")
    raise Malformed("no type of object or activity, and no view of a post")


def _vote(activity: Record, inner: Any, kind: str, weight: float) -> list[Entry]:
    user = _first_id(activity.get("actor"))
    if user is None:
        raise Malformed("vote without an actor")
    found = [_post(inner, {})] if _type(inner) in _POSTS else []
    if _GROUP.match(user):
        if found:
            return found
        raise LeftOut("activity of a group")
    post_id = identifier(_first_id(inner))
    if activity.get("published") is None:
        if found:
            return found
        raise LeftOut("vote without a time")
    return [*found, reaction(post_id, user, moment(activity["published"]), kind, weight)]


def _post(post: Record, activity: Record) -> Entry:
    post_id = identifier(post.get("id"))
    addressed = [*_ids(post.get("to")), *_ids(post.get("cc"))]
    if addressed and not _PUBLIC.intersection(addressed):
        raise LeftOut("post that is not addressed to the public")
    user = _first_id(post.get("attributedTo")) or _first_id(activity.get("actor"))
    time = moment(post.get("published") or activity.get("published"))
    parent = _first_id(post.get("inReplyTo"))
    if parent is not None:
        return reply(post_id, parent, user, time)
    content = without_personal(plain(post.get("content")))
    title = clean(post.get("name")) or _first_sentence(content)
    community = _community([*_ids(post.get("audience")), *addressed], post_id, _first_id(post.get("audience")))
    return item(post_id, user, time, community, title, content, _link(post, post_id), _tags(post))


def _first_sentence(text: str) -> str:
    found = _SENTENCE.match(text)
    sentence = found[0] if found else text
    if len(sentence) <= MAX_TITLE_CHARS:
        return sentence
    whole_words, _, _ = sentence[: MAX_TITLE_CHARS + 1].rpartition(" ")
    return whole_words or sentence[:MAX_TITLE_CHARS]


def _community(addressed: list[str], post_id: str, audience: str | None) -> str:
    """Return "name@host" of the group that a post is addressed to, else the host of its id.

    An audience whose address does not say that it is a group may be a person, whose name is kept nowhere.
    """
    for address in [*addressed, *([audience] if audience else [])]:
        if group := _GROUP.match(address):
            return f"{group[2]}@{group[1]}"
    return host(post_id)


def _link(post: Record, post_id: str) -> str:
    """Return what a link post points at: the Link among its attachments, or, of a Page, a `url` elsewhere."""
    attachments = post.get("attachment")
    for attachment in attachments if isinstance(attachments, list) else [attachments]:
        if isinstance(attachment, dict) and attachment.get("type") == "Link":
            return str(attachment.get("href") or "")
    url = post.get("url") if _type(post) == "Page" else None
    return url if isinstance(url, str) and host(url) != host(post_id) else ""


def _tags(post: Record) -> list[str]:
    tags = post.get("tag") if isinstance(post.get("tag"), list) else [post.get("tag")]
    names = (tag.get("name") for tag in tags or [] if isinstance(tag, dict) and tag.get("type") == "Hashtag")
    hashtags = [tag.removeprefix("#") for tag in names if isinstance(tag, str)]
    return [*hashtags, "nsfw"] if post.get("sensitive") is True else hashtags


def _type(value: Any) -> str:
    """Return the type of an object, of several the first that is read here; "" if it has none."""
    found = value.get("type") if isinstance(value, dict) else None
    types = [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]
    return next((each for each in types if each in _POSTS or each in _VOTES or each == "Create"), next(iter(types), ""))


def _ids(value: Any) -> list[str]:
    """Return the ids that a property names: texts, objects with an id, or a list of these."""
    values = value if isinstance(value, list) else [value]
    found = (name(each.get("id") if isinstance(each, dict) else each) for each in values)
    return [each for each in found if each is not None]


def _first_id(value: Any) -> str | None:
    return next(iter(_ids(value)), None)
