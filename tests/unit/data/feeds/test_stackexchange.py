"""Site dumps: rows written after the published layout, three real sites, and whatever form the files come in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import py7zr
import pyarrow as pa
import pytest

from tastelab.data.feeds import stackexchange
from tastelab.data.feeds.base import BLOCK_ROWS, SCHEMAS, BadRecords, feed
from tastelab.data.feeds.stackexchange import community_of

SITE = "ai.stackexchange.com"
POSTS = """
<row Id="1" PostTypeId="1" CreationDate="2016-08-02T15:39:14.947" Score="5" Body="&lt;p&gt;What &lt;b&gt;is&lt;/b&gt;
 it, @kim? &lt;/p&gt;&lt;pre&gt;x = 1&lt;/pre&gt;" OwnerUserId="8" Title="Is &lt;T&gt; &amp;amp; so a &quot;net&quot;?"
 Tags="&lt;neural-networks&gt;&lt;c++&gt;" />
<row Id="2" PostTypeId="2" ParentId="1" CreationDate="2016-08-02T15:40:24.820" Body="&lt;p&gt;Yes&lt;/p&gt;"
 OwnerUserId="4" Title="never" Tags="never" />
<row Id="3" PostTypeId="1" CreationDate="2016-08-03T00:00:00.000" Title="Nobody's" Tags="|a|b|" />
<row Id="4" PostTypeId="2" ParentId="99" CreationDate="2016-08-03T00:00:01" OwnerUserId="-1" />
<row Id="5" PostTypeId="5" CreationDate="2016-08-03T00:00:01" OwnerUserId="-1" Body="a tag wiki" />
<row Id="6" PostTypeId="17" CreationDate="2016-08-03T00:00:01" />
<row Id="7" PostTypeId="1" CreationDate="yesterday" Title="x" />
<row Id="8" PostTypeId="2" CreationDate="2016-08-03T00:00:01" />
<row PostTypeId="1" CreationDate="2016-08-03T00:00:01" Title="x" />
<row Id="10" CreationDate="2016-08-03T00:00:01" Title="x" />
<row Id="11" PostTypeId="1" CreationDate="2016-08-03T00:00:01" OwnerUserId="kim" Title="x" />
"""
COMMENTS = """
<row Id="1" PostId="2" Score="0" Text="by &lt;kim@example.org&gt;" CreationDate="2016-08-02T16:00:00.1" UserId="8" />
<row Id="2" PostId="1" CreationDate="2016-08-02T16:00:00.1" UserDisplayName="kim" />
<row Id="3" CreationDate="2016-08-02T16:00:00.1" UserId="8" />
"""
VOTES = """
<row Id="1" PostId="1" VoteTypeId="2" CreationDate="2016-08-02T00:00:00.000" />
<row Id="2" PostId="1" VoteTypeId="3" CreationDate="2016-08-02T00:00:00.000" />
<row Id="3" PostId="1" VoteTypeId="5" CreationDate="2016-08-02T00:00:00.000" UserId="4" />
<row Id="4" PostId="3" VoteTypeId="8" CreationDate="2016-08-02T13:00:00.000" UserId="8" BountyAmount="50" />
<row Id="5" PostId="3" VoteTypeId="5" CreationDate="2016-08-02T00:00:00.000" />
<row Id="6" PostId="3" VoteTypeId="5" CreationDate="2016-08-02T00:00:00.000" UserId="-1" />
<row Id="7" VoteTypeId="5" CreationDate="2016-08-02T00:00:00.000" UserId="4" />
<row Id="8" PostId="3" CreationDate="2016-08-02T00:00:00.000" UserId="4" />
"""
USERS = """
<row Id="-1" DisplayName="Community" AccountId="-1" CreationDate="2016-08-02T00:00:00.000" />
<row Id="8" DisplayName="Kim" AccountId="77" CreationDate="2016-08-02T15:00:00.000" />
<row Id="4" DisplayName="Lee" CreationDate="2016-08-02T15:00:00.000" />
<row Id="9" AccountId="x" CreationDate="2016-08-02T15:00:00.000" />
"""
CONTENT = {"Posts.xml": POSTS, "Comments.xml": COMMENTS, "Votes.xml": VOTES, "Users.xml": USERS}
READER = feed("stackexchange")


def _xml(part: str) -> bytes:
    root = part.removesuffix(".xml").lower()
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n<{root}>{CONTENT[part]}</{root}>'.encode()


def _site(folder: Path, *parts: str) -> Path:
    folder.mkdir(parents=True)
    for part in parts or CONTENT:
        (folder / part).write_bytes(_xml(part))
    (folder / "Badges.xml").write_bytes(b"<badges/>")
    return folder


def _archive(path: Path, *parts: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with py7zr.SevenZipFile(path, "w") as archive:
        for part in parts or CONTENT:
            archive.writestr(_xml(part), part)
    return path


def _read(path: Path) -> tuple[dict[str, list[dict[str, Any]]], dict[str, BadRecords]]:
    """Rows by kind of table, and the malformed records by the piece's label."""
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}
    bads = {}
    for piece in READER.pieces(path):
        bad = bads.setdefault(piece.label, BadRecords())
        for kind, table in READER.read(piece, bad):
            assert table.schema == SCHEMAS[kind] and 0 < table.num_rows <= BLOCK_ROWS
            table.validate(full=True)
            rows[kind] += table.to_pylist()
    return rows, bads


def _post(
    post_id: str, parent_id: str | None, user: str | None, time: datetime, kind: str, **texts: str
) -> dict[str, Any]:
    rest = {"title": "", "text": "", "url": "", "tags": ""} | texts
    known = {"post_id": post_id, "parent_id": parent_id, "user": user, "time": time, "kind": kind, "community": "ai"}
    return known | rest


def test_questions_answers_and_comments(tmp_path: Path) -> None:
    rows, bads = _read(_site(tmp_path / SITE))
    second, third, noon = datetime(2016, 8, 2), datetime(2016, 8, 3), datetime(2016, 8, 2, 16)
    title, text = 'Is <T> & so a "net"?', "What is it, [name]?"
    first = second.replace(hour=15, minute=39, second=14)
    assert rows["posts"] == [
        _post("ai/1", None, "ai/8", first, "post", title=title, text=text, tags="neural-networks,c++"),
        _post("ai/2", "ai/1", "ai/4", second.replace(hour=15, minute=40, second=24), "answer"),
        _post("ai/3", None, None, third, "post", title="Nobody's", tags="a,b"),
        _post("ai/4", "ai/99", None, third.replace(second=1), "answer"),
        _post("ai/comment/1", "ai/2", "ai/8", noon, "comment"),
        _post("ai/comment/2", "ai/1", None, noon, "comment"),
    ]
    bad = bads[f"{SITE}:Posts.xml"]
    assert [(line.number, line.reason) for line in bad.lines] == [
        (10, "no PostTypeId"),
        (7, "no CreationDate"),
        (8, "no ParentId"),
        (9, "no Id"),
        (11, "no OwnerUserId"),
    ]
    assert bad.num_records == 11 and dict(bad.left_out) == {"other PostTypeId": 2}
    assert [line.reason for line in bads[f"{SITE}:Comments.xml"].lines] == ["no PostId"]


def test_votes_and_accounts(tmp_path: Path) -> None:
    rows, bads = _read(_site(tmp_path / SITE))
    day = datetime(2016, 8, 2)
    assert rows["reactions"] == [
        {"post_id": "ai/1", "user": "ai/4", "time": day, "date_only": True, "kind": "favourite", "weight": 1.0},
        {
            "post_id": "ai/3",
            "user": "ai/8",
            "time": day.replace(hour=13),
            "date_only": False,
            "kind": "bounty",
            "weight": 1.0,
        },
    ]
    assert rows["accounts"] == [{"user": "ai/8", "person": "account:77"}]
    votes, users = bads[f"{SITE}:Votes.xml"], bads[f"{SITE}:Users.xml"]
    assert [line.reason for line in votes.lines] == ["no VoteTypeId", "no PostId"]
    assert dict(votes.left_out) == {"other VoteTypeId": 2, "votes without a user": 2}
    assert [line.reason for line in users.lines] == ["no AccountId"]
    assert dict(users.left_out) == {"users without an account": 2}


def test_a_site_without_votes_users_and_comments(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    rows, _ = _read(_site(tmp_path / SITE, "Posts.xml"))
    assert len(rows["posts"]) == 4 and not rows["reactions"] and not rows["accounts"] and not recwarn.list


def test_all_forms_of_a_dump_read_alike(tmp_path: Path) -> None:
    folder = _site(tmp_path / "one" / SITE)
    (tmp_path / "split").mkdir()
    for part in CONTENT:
        _archive(tmp_path / "split" / f"{SITE}-{part.removesuffix('.xml')}.7z", part)
    forms = [
        folder,
        folder.parent,
        _archive(tmp_path / "packed" / f"{SITE}.7z"),
        tmp_path / "packed",
        tmp_path / "split",
    ]
    expected = _read(folder)[0]
    for form in forms:
        assert _read(form)[0] == expected, form
    labels = [piece.label for piece in READER.pieces(tmp_path / "split")]
    assert labels == [f"{SITE}-{part.removesuffix('.xml')}.7z:{part}" for part in CONTENT]


def test_ranges_of_a_file_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _site(tmp_path / SITE)
    expected, bads = _read(folder)
    monkeypatch.setattr(stackexchange, "RANGE_BYTES", 300)
    assert len(READER.pieces(folder)) > 8
    rows, found = _read(folder)
    assert rows == expected
    assert {label: bad.num_records for label, bad in found.items()} == {k: bad.num_records for k, bad in bads.items()}


@pytest.mark.parametrize(
    ("place", "community"),
    [
        ("ai.stackexchange.com", "ai"),
        ("ai.stackexchange.com.7z", "ai"),
        ("ai.meta.stackexchange.com", "ai.meta"),
        ("meta.stackexchange.com.7z", "meta"),
        ("stackoverflow.com-Posts.7z", "stackoverflow"),
        ("stackoverflow.com-Votes.7z", "stackoverflow"),
        ("meta.stackoverflow.com", "stackoverflow.meta"),
        ("pt.meta.stackoverflow.com", "pt.stackoverflow.meta"),
        ("mathoverflow.net", "mathoverflow"),
        ("my-own", "my-own"),
    ],
)
def test_communities(place: str, community: str) -> None:
    assert community_of(Path("/dumps") / place) == community


def test_sites_keep_their_ids_apart_and_join_people(tmp_path: Path) -> None:
    _site(tmp_path / SITE)
    _archive(tmp_path / "beer.stackexchange.com.7z")
    (tmp_path / "notes.txt").write_text("not a site")
    rows, _ = _read(tmp_path)
    ids = [row["post_id"] for row in rows["posts"]]
    assert len(set(ids)) == len(ids) == 12
    assert rows["accounts"] == [{"user": "ai/8", "person": "account:77"}, {"user": "beer/8", "person": "account:77"}]


def test_a_cut_dump_and_an_entity(tmp_path: Path) -> None:
    folder = _site(tmp_path / SITE, "Posts.xml")
    whole = (folder / "Posts.xml").read_bytes()
    (folder / "Posts.xml").write_bytes(whole[: whole.index(b'Id="3"') + 30])
    rows, bads = _read(folder)
    assert [row["post_id"] for row in rows["posts"]] == ["ai/1", "ai/2"]
    bad = bads[f"{SITE}:Posts.xml"]
    assert bad.cut_short and [line.reason for line in bad.lines] == ["the file ends before its closing tag"]
    (folder / "Posts.xml").write_bytes(b'<!DOCTYPE posts [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + whole[40:])
    with pytest.raises(ValueError, match=r"ai\.stackexchange\.com:Posts\.xml declares a document type or an entity"):
        _read(folder)


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*nowhere: give stackexchange a folder"):
        READER.pieces(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no Posts\.xml: give a folder"):
        READER.pieces(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"x\.zip is no \.7z archive and no folder"):
        READER.pieces(tmp_path / "x.zip")
    _archive(tmp_path / "votes" / "stackoverflow.com-Votes.7z", "Votes.xml")
    with pytest.raises(ValueError, match=r"votes holds no Posts\.xml of the site 'stackoverflow'"):
        READER.pieces(tmp_path / "votes")
    _site(tmp_path / "twice" / SITE, "Posts.xml")
    _archive(tmp_path / "twice" / f"{SITE}.7z", "Posts.xml")
    with pytest.raises(ValueError, match=r"both hold Posts\.xml of one site: keep one of them"):
        READER.pieces(tmp_path / "twice")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / f"{SITE}.7z").write_bytes((tmp_path / "twice" / f"{SITE}.7z").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"ai\.stackexchange\.com\.7z is no whole \.7z archive"):
        READER.pieces(tmp_path / "cut")


def test_three_real_sites(test_data: Path) -> None:
    """Questions, accounts that engage and first engagements of accounts, as published with the sites' reduced dumps."""
    tables: dict[str, list[pa.Table]] = {kind: [] for kind in SCHEMAS}
    for piece in READER.pieces(test_data / "stackexchange"):
        bad = BadRecords()
        for kind, table in READER.read(piece, bad):
            tables[kind].append(table)
        assert not bad.lines and not bad.cut_short
    posts, reactions, accounts = (pl.DataFrame(pl.from_arrow(pa.concat_tables(tables[kind]))) for kind in SCHEMAS)
    roots = posts.select("post_id", "community", root="parent_id")
    for _ in range(2):  # comment → answer → question
        above = posts.select(root="post_id", above="parent_id")
        roots = roots.join(above, on="root", how="left").with_columns(root=pl.coalesce("above", "root")).drop("above")
    items = posts.filter(pl.col("parent_id").is_null())["post_id"]
    engaged = pl.concat([table.select("post_id", "user").drop_nulls() for table in (posts, reactions)])
    first = (
        engaged.join(roots, on="post_id")
        .with_columns(root=pl.coalesce("root", "post_id"))
        .filter(pl.col("root").is_in(items.implode()))
        .unique(["user", "root"])
    )
    per_site = {
        site: (
            posts.filter((pl.col("community") == site) & pl.col("parent_id").is_null()).height,
            first.filter(pl.col("community") == site)["user"].n_unique(),
            first.filter(pl.col("community") == site).height,
        )
        for site in ("ai", "beer", "quantumcomputing")
    }
    assert per_site == {"ai": (604, 715, 2_501), "beer": (591, 908, 3_030), "quantumcomputing": (612, 555, 3_114)}
    assert accounts["user"].is_unique().all() and accounts["person"].n_unique() < accounts.height
