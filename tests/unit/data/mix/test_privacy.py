"""Names, addresses, handles, ids and profiles are planted in every feed; none may be in any byte of what is built."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow.parquet as pq
import pytest

from tastelab.data.mix.build import MixOptions, build_mix
from tastelab.data.mix.tasks import here
from tastelab.data.tables import PreparedData, open_prepared

NUM_ITEMS, NUM_PEOPLE, NUM_CLICKS = 8, 5, 5
SECRET = "zqx"
"""Part of everything planted that is spelled; nothing else has it."""
NUMBER = 888_123_000
"""Every numeric id is near it; nothing else is."""
START = 1_500_000_000
FEEDS = ("stackexchange", "hackernews", "reddit", "activitypub", "generic")

Click = tuple[int, int, int]
"""Person, item and time of an engagement."""


def words(feed: str, item: int) -> str:
    """A title or text with what must go: it stays recognisable by its word for the item."""
    place = "abcdefgh"[item]
    return f"{feed}-{place}: write {SECRET}.{place}@example.org, ask @{SECRET}{place} or u/{SECRET}_{place} about"


def created(item: int) -> int:
    return START + 60 * item


def clicks(feed: str) -> list[Click]:
    """Engagements with items that are all there, each at a time of its own over all feeds, so that it tells who."""
    order = itertools.product(range(NUM_CLICKS), range(NUM_PEOPLE))
    first = START + 86_400 * (1 + FEEDS.index(feed))
    return [(person, (person + click) % NUM_ITEMS, first + 60 * n) for n, (click, person) in enumerate(order)]


def iso(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def xml(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = (" ".join(f"{name}={quoteattr(str(value))}" for name, value in row.items()) for row in rows)
    body = "\n".join(f"  <row {line} />" for line in lines)
    path.write_text(f"<?xml version='1.0' encoding='utf-8'?>\n<{path.stem.lower()}>\n{body}\n</{path.stem.lower()}>\n")


def jsonl(path: Path, rows: Iterable[dict[str, Any]], *more: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in [*map(json.dumps, rows), *more]))


def stackexchange(folder: Path) -> Path:
    """Two sites; person p is user 10 p + site there, with one account on both."""
    named = {"OwnerDisplayName": f"{SECRET} Owner", "LastEditorDisplayName": f"{SECRET} Editor"}
    for site, name in enumerate(("tea.stackexchange.com", "ale.stackexchange.com")):
        place = folder / "stackexchange" / name
        place.mkdir(parents=True)
        users = [NUMBER + 10 * person + site for person in range(NUM_PEOPLE)]
        xml(
            place / "Users.xml",
            (
                {
                    "Id": user,
                    "AccountId": NUMBER + 500 + person,
                    "CreationDate": iso(START),
                    "DisplayName": f"{SECRET} Jane Doe {person}",
                    "AboutMe": f"I am {SECRET}, born in {SECRET}ville",
                    "Location": f"{SECRET}ville",
                    "WebsiteUrl": f"https://{SECRET}.example.org",
                    "EmailHash": f"{SECRET}ff00",
                }
                for person, user in enumerate(users)
            ),
        )
        posts = [
            {
                "Id": NUMBER + 100 + item,
                "PostTypeId": 1,
                "CreationDate": iso(created(item)),
                "Title": words("stackexchange", item),
                "Body": f"<p>{words('stackexchange', item)}</p>",
                "Tags": "<hops>",
                "OwnerUserId": NUMBER + 900,
            }
            | named
            for item in range(NUM_ITEMS)
        ]
        nobody = {"PostTypeId": 1, "Title": f"No id by {SECRET}", "OwnerUserId": NUMBER} | named
        xml(place / "Posts.xml", [*posts, nobody])
        comments = [
            {
                "Id": NUMBER + 200 + number,
                "PostId": NUMBER + 100 + item,
                "UserId": users[person],
                "CreationDate": iso(time + site),
                "Text": f"Said {SECRET}",
                "UserDisplayName": f"{SECRET} Jane",
            }
            for number, (person, item, time) in enumerate(clicks("stackexchange"))
        ]
        xml(place / "Comments.xml", comments)
    return folder / "stackexchange"


def hackernews(folder: Path) -> Path:
    stories = [
        {
            "id": NUMBER + item,
            "type": "story",
            "by": f"{SECRET}_op",
            "time": created(item),
            "title": words("hackernews", item),
            "text": words("hackernews", item),
            "url": f"https://{SECRET}.example.org/{item}",
        }
        for item in range(NUM_ITEMS)
    ]
    comments = [
        {
            "id": NUMBER + 100 + number,
            "type": "comment",
            "by": f"{SECRET}{person}",
            "time": time,
            "parent": NUMBER + item,
            "text": f"{SECRET} says",
        }
        for number, (person, item, time) in enumerate(clicks("hackernews"))
    ]
    jsonl(folder / "hn.jsonl", stories + comments, f'{{"by": "{SECRET}_cut"', f'{{"id": 1, "by": "{SECRET}"}}')
    return folder / "hn.jsonl"


def reddit(folder: Path, own_page: bool = False) -> Path:
    submissions = [
        {
            "id": f"{SECRET}{item}",
            "author": f"{SECRET}_op",
            "author_fullname": f"t2_{SECRET}",
            "author_flair_text": f"{SECRET} of {SECRET}ville",
            "title": words("reddit", item),
            "selftext": words("reddit", item),
            "subreddit": f"u_{SECRET}_op" if own_page and item == 3 else "tea",
            "created_utc": created(item),
            "link_flair_text": f"asked by u/{SECRET}_op",
            "url": f"https://www.reddit.com/user/{SECRET}_op",
        }
        for item in range(NUM_ITEMS)
    ]
    comments = [
        {
            "id": f"{SECRET}c{number}",
            "author": f"{SECRET}_{person}",
            "body": f"{SECRET} says",
            "link_id": f"t3_{SECRET}{item}",
            "subreddit": "tea",
            "created_utc": time,
        }
        for number, (person, item, time) in enumerate(clicks("reddit"))
    ]
    jsonl(folder / "reddit" / "RS.jsonl", submissions, f'{{"author": "{SECRET}_cut"')
    jsonl(folder / "reddit" / "RC.jsonl", comments)
    return folder / "reddit"


def activitypub(folder: Path, own_page: bool = False) -> Path:
    public = ["https://www.w3.org/ns/activitystreams#Public"]
    mention = {"type": "Mention", "href": f"https://m.example/users/{SECRET}_m", "name": f"@{SECRET}_m@m.example"}
    hello = f'<a href="https://m.example/@{SECRET}_m" class="mention">@<span>{SECRET}_m</span></a>'
    notes = [
        {
            "id": f"https://m.example/users/{SECRET}_op/statuses/{NUMBER + item}",
            "type": "Note",
            "attributedTo": f"https://m.example/users/{SECRET}_op",
            "content": f"<p>{hello} {words('activitypub', item)}</p>",
            "published": f"{iso(created(item))}Z",
            "to": public,
            "audience": f"https://m.example/users/{SECRET}_op" if own_page and item == 3 else None,
            "tag": [mention],
        }
        for item in range(NUM_ITEMS)
    ]
    replies = [
        {
            "id": f"https://m.example/users/{SECRET}{person}/statuses/{NUMBER + 100 + number}",
            "type": "Note",
            "attributedTo": {"id": f"https://m.example/users/{SECRET}{person}", "name": f"{SECRET} Jane"},
            "inReplyTo": notes[item]["id"],
            "content": f"<p>{SECRET} says</p>",
            "published": f"{iso(time)}Z",
            "to": public,
        }
        for number, (person, item, time) in enumerate(clicks("activitypub"))
    ]
    jsonl(folder / "threads.jsonl", notes + replies, json.dumps({"id": f"https://{SECRET}/1", "actor": SECRET}))
    return folder / "threads.jsonl"


def generic(folder: Path, name: str = "generic") -> Path:
    items = [
        (
            f"{SECRET}-{item}",
            words("generic", item),
            words("generic", item),
            "tea",
            iso(created(item)),
            f"{SECRET}op",
            f"@{SECRET},tea",
        )
        for item in range(NUM_ITEMS)
    ]
    events = [
        (f"{SECRET} Jane {person}", f"{SECRET}-{item}", time, -1 if item == 0 else 1)
        for person, item, time in clicks("generic")
    ]
    accounts = [(f"{SECRET} Jane {person}", f"{SECRET}{person}@example.org") for person in range(NUM_PEOPLE)]
    rows(folder / name / "items.csv", ("id", "title", "text", "community", "time", "user", "tags"), items)
    broken = (f"{SECRET} Jane", f"{SECRET}-0", "no time", 1)
    rows(folder / name / "events.csv", ("user", "item", "time", "weight"), [*events, broken])
    rows(folder / name / "accounts.csv", ("user", "person"), accounts)
    return folder / name


def rows(path: Path, header: Sequence[str], values: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *values])


def built(folder: Path, salt: str, feeds: Sequence[str] = FEEDS) -> PreparedData:
    sources = [f"{feed}:{globals()[feed](folder / 'feeds')}" for feed in feeds]
    options = MixOptions(window=4, dev_share=0.4, salt=salt, max_bad_share=0.5, progress=False)
    return build_mix(sources, folder / "mix", options, here)


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return built(tmp_path_factory.mktemp("private"), f"{SECRET} salt")


def texts(path: Path) -> Iterator[str]:
    """All that a file says: its bytes as they are, and of Parquet every value of every column as text."""
    yield path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield json.dumps(table.to_pydict(), default=str, ensure_ascii=False)
        yield str(pq.read_schema(path).metadata)


def test_nothing_that_was_planted_is_anywhere(mix: PreparedData) -> None:
    files = [path for path in mix.path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"card.md", "card.json", "meta.json", "quarantine.tsv", "items.parquet"}
    for path in files:
        for text in texts(path):
            for planted in (SECRET, str(NUMBER)[:6], f"{NUMBER:,}"[:7], "ville", "Jane", "example.org"):
                assert planted.lower() not in text.lower(), f"'{planted}' is in {path.name}"


def test_what_was_planted_had_been_read(mix: PreparedData) -> None:
    """The test above would pass on an empty folder: every feed must have come through, its texts scrubbed."""
    titles = mix.items(["title"])["title"].to_pylist()
    assert len(titles) == (len(FEEDS) + 1) * NUM_ITEMS  # two sites of Stack Exchange
    for feed in FEEDS:
        assert any(f"{feed}-c: write [e-mail], ask [name] or [name]" in title for title in titles), feed
    assert all(
        "write [e-mail], ask [name] or [name] about" in text for text in mix.items(["abstract"])["abstract"].to_pylist()
    )
    lines = (mix.path / "quarantine.tsv").read_text().splitlines()
    assert len({line.split("\t")[0] for line in lines[1:]}) == len(FEEDS)  # one malformed record of each, at least


@pytest.mark.parametrize("write", [reddit, activitypub])
def test_a_page_of_ones_own_is_no_community(tmp_path: Path, write: Callable[[Path, bool], Path]) -> None:
    options = MixOptions(window=4, dev_share=0.4, salt="s", max_bad_share=0.5, progress=False)
    source = f"{write.__name__}:{write(tmp_path / 'feeds', True)}"
    data = build_mix([source], tmp_path / "mix", options, here)
    assert not [name for name in data.items(["community"])["community"].to_pylist() if SECRET in name]


def people(data: PreparedData) -> dict[str, set[tuple[str, int]]]:
    """User id → the people (feed and number) whose clicks it stands for, told by their times."""
    whole = open_prepared(data.path / "all")
    who = {time + site: (feed, person) for feed in FEEDS for person, _, time in clicks(feed) for site in (0, 1)}
    found: dict[str, set[tuple[str, int]]] = {}
    for split in whole.splits:
        for row in whole.impressions(split, ["user_id", "time"]).to_pylist():
            found.setdefault(row["user_id"], set()).add(who[int(row["time"].replace(tzinfo=UTC).timestamp())])
    return found


def test_one_person_has_one_id_and_one_id_is_one_person(mix: PreparedData) -> None:
    found = people(mix)
    assert all(len(persons) == 1 for persons in found.values())
    persons = [next(iter(each)) for each in found.values()]
    assert sorted(persons) == sorted(itertools.product(FEEDS, range(NUM_PEOPLE)))


def test_ids_are_hashes(mix: PreparedData) -> None:
    ids = set(people(mix)) | set(mix.items(["item_id"])["item_id"].to_pylist())
    assert len(ids) == len(FEEDS) * NUM_PEOPLE + mix.num_items
    assert all(len(each) == 17 and set(each[1:]) <= set("0123456789abcdef") for each in ids)


def test_another_salt_gives_other_ids_and_another_order_of_people(tmp_path: Path) -> None:
    first, again, other = (
        built(tmp_path / name, salt, ["generic"]) for name, salt in (("1", "one"), ("2", "one"), ("3", "two"))
    )
    assert first.fingerprint == again.fingerprint
    for column in ("user_id", "item_id"):
        ids = [set(values(data, column)) for data in (first, again, other)]
        assert ids[0] == ids[1]
        assert not ids[0] & ids[2]
        assert len(ids[0]) == len(ids[2])
    # Who stands where must not follow from names: two builds could be joined row by row, or with a list of names.
    orders = [[next(iter(persons)) for persons in people(data).values()] for data in (first, again, other)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def values(data: PreparedData, column: str) -> list[Any]:
    whole = open_prepared(data.path / "all")
    if column == "item_id":
        return whole.items([column])[column].to_pylist()  # type: ignore[no-any-return]
    return [each for split in whole.splits for each in whole.impressions(split, [column])[column].to_pylist()]


def test_one_name_in_two_sources_is_two_people(tmp_path: Path) -> None:
    sources = [f"generic:{generic(tmp_path, name)}" for name in ("one", "two")]
    options = MixOptions(window=4, dev_share=0.4, salt="s", max_bad_share=0.5, progress=False)
    data = build_mix(sources, tmp_path / "mix", options, here)
    users = {user for split in data.splits for user in data.impressions(split)["user_id"].to_pylist()}
    assert len(users) == 2 * NUM_PEOPLE


def test_dislikes_are_told_and_never_clicked(mix: PreparedData) -> None:
    whole = open_prepared(mix.path / "all")
    signs = [row["feedback"] for split in whole.splits for row in whole.impressions(split).to_pylist()]
    assert any(-1 in each for each in signs if each is not None)


def test_the_salt_is_written_nowhere(mix: PreparedData) -> None:
    assert json.loads((mix.path / "card.json").read_text())["options"]["salt"] == "given"
