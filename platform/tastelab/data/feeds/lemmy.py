"""Views of posts and comments, as Lemmy's own API answers with them, read as part of an ActivityPub feed."""

from __future__ import annotations

from typing import Any

from tastelab.data.feeds.records import (
    Entry,
    LeftOut,
    Malformed,
    Record,
    clean,
    host,
    identifier,
    item,
    moment,
    name,
    reply,
)


def is_view(record: Record) -> bool:
    """Whether a record is a view: {"post": …, "creator": …, "community": …}, for a comment with "comment" as well."""
    return "type" not in record and (isinstance(record.get("post"), dict) or isinstance(record.get("comment"), dict))


def view_entry(view: Record) -> Entry:
    """Return the row of a view.

    Ids are those of the federation (`ap_id`), so that views and activities of the same post meet. A comment is a reply
    to the post of its view, whatever it answers there, so that no chain of comments can break.
    """
    post, comment = _part(view, "post"), _part(view, "comment")
    subject = comment or post
    if subject.get("deleted") is True or subject.get("removed") is True:
        raise LeftOut("removed or deleted post")
    creator, community = _part(view, "creator"), _part(view, "community")
    user = _federated(creator) or name(creator.get("name"))
    time = moment(subject.get("published") or subject.get("published_at"))
    if comment:
        return reply(_id(comment, "comment"), _id(post or {"id": comment.get("post_id")}, "post"), user, time)
    title = clean(post.get("name"))
    if not title:
        raise Malformed("post without a name")
    link, tags = post.get("url"), ["nsfw"] if post.get("nsfw") is True else []
    url = link if isinstance(link, str) else ""
    return item(_id(post, "post"), user, time, _community(community, post), title, clean(post.get("body")), url, tags)


def _part(view: Record, key: str) -> dict[str, Any]:
    value = view.get(key)
    return value if isinstance(value, dict) else {}


def _federated(value: Record) -> str | None:
    return name(value.get("ap_id")) or name(value.get("actor_id"))


def _id(value: Record, kind: str) -> str:
    return name(value.get("ap_id")) or f"{kind}:{identifier(value.get('id'))}"


def _community(community: Record, post: Record) -> str:
    server = host(_federated(community) or name(post.get("ap_id")) or "")
    label = name(community.get("name"))
    return f"{label}@{server}" if label and server else label or server
