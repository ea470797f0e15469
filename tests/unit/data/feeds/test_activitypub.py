from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tastelab.data.feeds import activitypub
from tastelab.data.feeds.activitypub import ActivityPub
from tastelab.data.feeds.base import POSTS, REACTIONS, BadRecords, feed

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
HOST = "https://m.example"
ANN, BOB = f"{HOST}/users/ann", f"{HOST}/users/bob"
RTL = "\u0645\u0631\u062d\u0628\u0627"
NOTE: dict[str, Any] = {
    "@context": "https://www.w3.org/ns/activitystreams",
    "id": f"{HOST}/users/ann/statuses/1",
    "type": "Note",
    "summary": None,
    "inReplyTo": None,
    "published": "2023-06-01T12:00:00Z",
    "url": f"{HOST}/@ann/1",
    "attributedTo": ANN,
    "to": [PUBLIC],
    "cc": [f"{ANN}/followers"],
    "content": f"<p>Look at\u202e v1.2, {RTL}\x07! It is <b>new</b>.</p><p>Write to jo@mail.example</p>",
    "attachment": [{"type": "Document", "mediaType": "image/png", "url": f"{HOST}/a.png"}],
    "tag": [{"type": "Hashtag", "name": "#News"}, {"type": "Mention", "name": "@bob"}],
}
ANSWER = NOTE | {
    "id": f"{HOST}/2",
    "inReplyTo": NOTE["id"],
    "attributedTo": BOB,
    "published": "2023-06-01T14:00:30+02:00",
}
PAGE: dict[str, Any] = {
    "id": "https://l.example/post/55",
    "type": "Page",
    "attributedTo": "https://l.example/u/cyd",
    "to": ["https://l.example/c/tech", PUBLIC],
    "name": "R&amp;D at home",
    "content": "<p>Why &lt;not&gt;</p>",
    "attachment": [{"type": "Link", "href": "https://a.example/x"}],
    "published": "2021-02-26T12:35:34.292626Z",
}


def _activity(kind: str, inner: Any, actor: str = BOB, **more: Any) -> dict[str, Any]:
    return {"type": kind, "id": f"{HOST}/{kind}/1", "actor": actor, "object": inner, "to": [PUBLIC], **more}


def _write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document, indent=1))
    return path


def _read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], BadRecords]:
    reader, bad = ActivityPub(), BadRecords()
    found: dict[str, list[dict[str, Any]]] = {"posts": [], "reactions": []}
    for piece in reader.pieces(path):
        for kind, table in reader.read(piece, bad):
            assert table.schema == {"posts": POSTS, "reactions": REACTIONS}[kind]
            table.validate(full=True)
            found[kind] += table.to_pylist()
    return found["posts"], found["reactions"], bad


def _one(path: Path, document: Any) -> dict[str, Any]:
    (row,), _, bad = _read(_write(path / "one.json", document))
    assert bad.lines == []
    return row


def _check_thread(posts: list[dict[str, Any]], bad: BadRecords) -> None:
    item, answer = posts
    assert (item["post_id"], item["parent_id"], item["user"], item["kind"]) == (NOTE["id"], None, ANN, "post")
    assert item["title"] == f"Look at v1.2, {RTL}!"
    assert item["text"] == f"Look at v1.2, {RTL}! It is new. Write to [e-mail]"
    assert (item["community"], item["url"], item["tags"]) == ("m.example", "", "News")
    assert (answer["post_id"], answer["parent_id"], answer["user"], answer["kind"]) == (
        f"{HOST}/2",
        NOTE["id"],
        BOB,
        "comment",
    )
    assert (answer["title"], answer["text"], answer["community"]) == ("", "", "")
    assert (answer["time"] - item["time"]).total_seconds() == 30
    assert (bad.num_records, bad.lines, bad.cut_short) == (2, [], False)


@pytest.mark.parametrize(
    "document",
    [
        [NOTE, ANSWER],
        {"type": "OrderedCollection", "orderedItems": [NOTE, ANSWER]},
        {"type": "Collection", "items": [_activity("Create", NOTE, ANN), _activity("Create", ANSWER)]},
        {"type": "OrderedCollection", "first": {"type": "OrderedCollectionPage", "orderedItems": [NOTE, ANSWER]}},
    ],
)
def test_a_thread_of_one_document(tmp_path: Path, document: Any) -> None:
    posts, _, bad = _read(_write(tmp_path / "a.json", document))
    _check_thread(posts, bad)
    (tmp_path / "a.json").write_text(json.dumps(document) + "\n")
    posts, _, bad = _read(tmp_path / "a.json")
    _check_thread(posts, bad)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz"])
def test_a_thread_of_lines(tmp_path: Path, name: str) -> None:
    text = f"{json.dumps(NOTE)}\n{json.dumps([_activity('Create', ANSWER)])}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    posts, _, bad = _read(tmp_path / name)
    _check_thread(posts, bad)


def test_a_folder_of_documents_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activitypub, "_DOCUMENTS", 3)
    for number in range(7):
        _write(tmp_path / f"{number}.json", NOTE | {"id": f"{HOST}/d/{number}"})
    lines = [json.dumps(NOTE | {"id": f"{HOST}/l/{number}"}) + "\n" for number in range(4)]
    (tmp_path / "4l.json").write_text("".join(lines[:2]))
    (tmp_path / "x.jsonl").write_text("".join(lines[2:]))
    posts, _, bad = _read(tmp_path)
    expected = [f"{HOST}/d/{number}" for number in range(7)] + [f"{HOST}/l/{number}" for number in range(4)]
    assert [row["post_id"] for row in posts] == expected
    assert (bad.num_records, bad.lines) == (11, [])


def test_a_lemmy_page(tmp_path: Path) -> None:
    row = _one(tmp_path, _activity("Create", PAGE, "https://l.example/u/cyd"))
    assert (row["title"], row["text"], row["url"]) == ("R&D at home", "Why <not>", "https://a.example/x")
    assert (row["community"], row["user"]) == ("tech@l.example", "https://l.example/u/cyd")
    old = {key: value for key, value in PAGE.items() if key != "attachment"} | {"url": "https://b.example/y"}
    assert _one(tmp_path, old)["url"] == "https://b.example/y"


@pytest.mark.parametrize(
    ("change", "community"),
    [
        ({"audience": "https://l.example/c/books"}, "books@l.example"),
        ({"audience": {"id": "https://k.example/m/cats", "type": "Group"}}, "cats@k.example"),
        ({"audience": ["https://n.example/groups/chess"], "to": [PUBLIC]}, "chess@n.example"),
        ({"to": [PUBLIC], "cc": "https://l.example/c/films"}, "films@l.example"),
        ({"to": PUBLIC}, "l.example"),
    ],
)
def test_the_community_is_the_group_else_the_host(tmp_path: Path, change: dict[str, Any], community: str) -> None:
    assert _one(tmp_path, PAGE | change)["community"] == community


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("<p>Is it 3.5? Yes.</p>", "Is it 3.5?"),
        ("no end", "no end"),
        ("\u4e2d\u6587\u3002\u53e5\u5b50\u3002", "\u4e2d\u6587\u3002"),
        ("word " * 40, " ".join(["word"] * 24)),
        ("x" * 200, "x" * 120),
        ("<p>@ann asks jo@mail.example why.</p>", "[name] asks [e-mail] why."),
        (None, ""),
    ],
)
def test_a_note_takes_its_first_sentence_as_title(tmp_path: Path, content: Any, title: str) -> None:
    assert _one(tmp_path, NOTE | {"content": content})["title"] == title


def test_votes_have_their_sign(tmp_path: Path) -> None:
    when = {"published": "2023-06-02T00:00:00Z"}
    activities = [
        _activity("Like", NOTE["id"], **when),
        _activity("Dislike", {"id": NOTE["id"]}, ANN, **when),
        _activity("Announce", NOTE["id"], **when),
        _activity("Like", NOTE["id"]),
        _activity("Undo", _activity("Like", NOTE["id"])),
        _activity("Like", NOTE["id"], None, **when),
        _activity("Like", None, **when),
    ]
    posts, votes, bad = _read(_write(tmp_path / "a.json", activities))
    assert posts == []
    assert [(vote["user"], vote["kind"], vote["weight"]) for vote in votes] == [
        (BOB, "like", 1.0),
        (ANN, "dislike", -1.0),
        (BOB, "boost", 1.0),
    ]
    assert {vote["post_id"] for vote in votes} == {NOTE["id"]}
    assert not any(vote["date_only"] for vote in votes)
    assert bad.left_out == {"vote without a time": 1, "object or activity of another type": 1}
    assert [line.reason for line in bad.lines] == ["vote without an actor", "no id"]
    assert bad.num_records == 7


def test_what_a_group_passes_on_is_its_members(tmp_path: Path) -> None:
    group, when = "https://l.example/c/tech", {"published": "2023-06-02T00:00:00Z"}
    activities = [
        _activity("Announce", _activity("Create", PAGE), group, **when),
        _activity("Announce", _activity("Dislike", PAGE["id"], ANN, **when), group),
        _activity("Announce", PAGE | {"id": "https://l.example/post/56"}, group, **when),
        _activity("Announce", PAGE["id"], group, **when),
        _activity("Announce", NOTE, BOB, **when),
    ]
    posts, votes, bad = _read(_write(tmp_path / "a.json", activities))
    assert [row["post_id"] for row in posts] == [PAGE["id"], "https://l.example/post/56", NOTE["id"]]
    assert [(vote["post_id"], vote["user"], vote["weight"]) for vote in votes] == [
        (PAGE["id"], ANN, -1.0),
        (NOTE["id"], BOB, 1.0),
    ]
    assert (bad.lines, bad.left_out) == ([], {"activity of a group": 1})


def test_only_public_posts_are_read(tmp_path: Path) -> None:
    private = [NOTE | {"to": [BOB], "cc": []}, ANSWER | {"to": f"{ANN}/followers", "cc": None}]
    posts, _, bad = _read(_write(tmp_path / "a.json", [*private, NOTE | {"to": "as:Public", "cc": []}]))
    assert len(posts) == 1
    assert bad.left_out == {"post that is not addressed to the public": 2}


def test_other_things_are_left_out(tmp_path: Path) -> None:
    document = [{"type": "Tombstone", "id": "x"}, {"type": "Person", "id": ANN}, _activity("Create", {"type": "Video"})]
    posts, _, bad = _read(_write(tmp_path / "a.json", [*document, NOTE["id"]]))
    assert posts == []
    assert bad.left_out == {
        "Tombstone of a deleted post": 1,
        "object or activity of another type": 1,
        "Create of something that is no post": 1,
        "address of a document that is not given": 1,
    }
    assert (bad.lines, bad.num_records) == ([], 4)


def test_a_deleted_author_is_nobody(tmp_path: Path) -> None:
    assert _one(tmp_path, NOTE | {"attributedTo": None})["user"] is None
    assert _one(tmp_path, NOTE | {"attributedTo": [{"type": "Person", "id": ANN}]})["user"] == ANN
    assert _one(tmp_path, _activity("Create", NOTE | {"attributedTo": None}, ANN))["user"] == ANN


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (NOTE | {"id": None}, "no id"),
        (NOTE | {"published": None}, "no time"),
        (NOTE | {"published": "yesterday"}, "time that is no number and no ISO 8601"),
        (NOTE | {"published": "1969-12-31T00:00:00Z"}, "time before 1990"),
        ({"id": "x"}, "no type of object or activity, and no view of a post"),
        (7, "no JSON object"),
        (None, "no JSON object"),
    ],
)
def test_malformed_records_are_set_aside(tmp_path: Path, record: Any, reason: str) -> None:
    posts, _, bad = _read(_write(tmp_path / "a.json", [record, NOTE, NOTE]))
    assert len(posts) == 2  # the same id twice: the builder judges it
    assert [line.reason for line in bad.lines] == [reason]
    assert bad.num_records == 3
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(NOTE)}\n{{\n{json.dumps(record)}\n")
    posts, _, bad = _read(tmp_path / "b.jsonl")
    assert [(line.number, line.reason) for line in bad.lines] == [(2, "no JSON object"), (3, reason)]
    assert bad.num_records == 3


@pytest.mark.parametrize(
    "wrap", [lambda notes: notes, lambda notes: {"type": "OrderedCollection", "orderedItems": notes}]
)
def test_a_cut_document_yields_its_whole_elements(tmp_path: Path, wrap: Any) -> None:
    path = _write(tmp_path / "a.json", wrap([NOTE | {"id": f"{HOST}/{number}"} for number in range(5)]))
    path.write_bytes(path.read_bytes()[:-200])
    posts, _, bad = _read(path)
    assert [row["post_id"] for row in posts] == [f"{HOST}/{number}" for number in range(4)]
    assert (bad.cut_short, bad.num_records) == (True, 5)
    assert [line.reason for line in bad.lines] == ["the file ends within this record"]


def test_a_document_that_is_none_is_one_bad_record(tmp_path: Path) -> None:
    for raw, reason in ((b'{"id": "\xff"}', "not UTF-8"), (b"<html>", "the file ends within this record")):
        (tmp_path / "a.json").write_bytes(raw)
        posts, _, bad = _read(tmp_path / "a.json")
        assert (posts, bad.num_records, [line.reason for line in bad.lines]) == ([], 1, [reason])


def test_a_giant_document_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activitypub, "MAX_DOCUMENT", 100)
    posts, _, bad = _read(_write(tmp_path / "a.json", NOTE))
    assert (posts, bad.num_records) == ([], 1)
    assert bad.lines[0].reason == "document longer than 100 bytes: give it as JSON lines"


LEMMY_POST = {
    "post": {
        "id": 55,
        "name": "R&D by @jo",
        "body": "Why Vec<T>?",
        "url": "https://a.example/x",
        "ap_id": PAGE["id"],
        "published": "2023-06-01T12:00:00.123456",
        "nsfw": True,
    },
    "creator": {"id": 3, "name": "cyd", "actor_id": "https://l.example/u/cyd"},
    "community": {"id": 4, "name": "tech", "actor_id": "https://l.example/c/tech"},
    "counts": {"score": 3},
}
LEMMY_COMMENT = LEMMY_POST | {
    "comment": {
        "id": 9,
        "post_id": 55,
        "content": "private words",
        "path": "0.7.9",
        "ap_id": "https://m.example/comment/9",
        "published_at": "2023-06-01T12:01:00Z",
    },
    "creator": {"name": "dee"},
}


@pytest.mark.parametrize(
    "document",
    [
        [LEMMY_POST, LEMMY_COMMENT],
        [{"posts": [LEMMY_POST]}, {"comments": [LEMMY_COMMENT]}],
        [{"post_view": LEMMY_POST, "community_view": {}}, {"comment_view": LEMMY_COMMENT}],
    ],
)
def test_views_of_lemmy(tmp_path: Path, document: Any) -> None:
    (item, comment), _, bad = _read(_write(tmp_path / "a.json", document))
    assert (item["post_id"], item["title"], item["text"]) == (PAGE["id"], "R&D by [name]", "Why Vec<T>?")
    assert (item["community"], item["user"], item["tags"]) == ("tech@l.example", "https://l.example/u/cyd", "nsfw")
    assert item["url"] == "https://a.example/x"
    assert (comment["post_id"], comment["parent_id"]) == ("https://m.example/comment/9", PAGE["id"])
    assert (comment["user"], comment["text"]) == ("dee", "")
    assert (comment["time"] - item["time"]).total_seconds() == 60
    assert (bad.lines, bad.num_records) == ([], 2)


def test_views_without_federation_and_removed_ones(tmp_path: Path) -> None:
    post = {"post": {"id": 55, "name": "T", "published": "2023-06-01T12:00:00Z"}}
    comment = {"comment": {"id": 9, "post_id": 55, "published": "2023-06-01T12:00:00Z"}}
    gone = {"post": post["post"] | {"removed": True}}
    unnamed = {"post": post["post"] | {"name": None}}
    posts, _, bad = _read(_write(tmp_path / "a.json", [post, comment, gone, unnamed]))
    assert [(row["post_id"], row["parent_id"]) for row in posts] == [("post:55", None), ("comment:9", "post:55")]
    assert bad.left_out == {"removed or deleted post": 1}
    assert [line.reason for line in bad.lines] == ["post without a name"]


@pytest.mark.parametrize("kind", [["Note"], ["https://x.example/ns#Odd", "Note"]])
def test_a_type_may_be_a_list(tmp_path: Path, kind: list[str]) -> None:
    listed = NOTE | {"type": kind}
    documents = [
        listed,
        _activity("Create", ANSWER | {"type": kind}),
        _activity("Like", listed, published=NOTE["published"]),
    ]
    posts, reactions, bad = _read(_write(tmp_path / "a.json", documents))
    assert [row["post_id"] for row in posts] == [NOTE["id"], ANSWER["id"], NOTE["id"]]
    assert [row["kind"] for row in reactions] == ["like"]
    assert not bad.lines


@pytest.mark.parametrize("link", ["https://[half/1", "https://a\u2100b/1"])
def test_a_link_that_is_none_costs_its_host_alone(tmp_path: Path, link: str) -> None:
    view = {
        "post": {"id": 5, "name": "T", "published": NOTE["published"]},
        "community": {"actor_id": link, "name": "c"},
    }
    documents = [NOTE | {"id": link}, PAGE | {"attachment": [], "url": link}, view]
    posts, _, bad = _read(_write(tmp_path / "a.json", documents))
    assert [row["community"] for row in posts] == ["", "tech@l.example", "c"]
    assert not bad.lines


@pytest.mark.parametrize("kind", [{"a": 1}, [], [5], 7])
def test_a_type_that_is_none_is_malformed(tmp_path: Path, kind: object) -> None:
    posts, _, bad = _read(_write(tmp_path / "a.json", [NOTE | {"type": kind}]))
    assert not posts
    assert [line.reason for line in bad.lines] == ["no type of object or activity, and no view of a post"]


def test_a_wrong_path_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*none: give activitypub a file of ActivityPub or Lemmy API"):
        ActivityPub().pieces(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no file that ends in \.jsonl, .*: give activitypub a file"):
        ActivityPub().pieces(tmp_path)


def test_it_is_registered_and_honest() -> None:
    reader = feed("activitypub")
    assert isinstance(reader, ActivityPub)
    assert not reader.seen_real
    assert reader.licence.startswith("unknown")
