"""A whole build in this process, from a toy feed to two prepared data sets."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix import build as build_module
from tastelab.data.mix import gather
from tastelab.data.mix.build import Facts, MixOptions, build_mix
from tastelab.data.mix.card import write_card
from tastelab.data.mix.sources import parse_sources
from tastelab.data.mix.tasks import here
from tastelab.data.tables import PreparedData, open_prepared

MakeFeed = Callable[..., Path]
Row = dict[str, Any]
REAL_CARD = write_card
START = 1_400_000_000
QUIET = MixOptions(salt="pepper", progress=False, window=4, dev_share=0.3)


def post(post_id: str, at: int, user: str | None = None, **more: Any) -> Row:
    return {"post_id": post_id, "user": user, "time": START + at, "title": f"title of {post_id}", "tags": "x,y"} | more


def reply(post_id: str, parent: str, at: int, user: str | None, kind: str = "answer") -> Row:
    return {"post_id": post_id, "parent_id": parent, "user": user, "time": START + at, "kind": kind}


def vote(post_id: str, user: str, at: int, weight: float = 1.0, **more: Any) -> Row:
    return {"post_id": post_id, "user": user, "time": START + at, "weight": weight} | more


def small_world(seed: int = 0) -> dict[str, list[Row]]:
    """40 items in two communities, 12 users who answer, comment on answers and vote."""
    rng = np.random.default_rng(seed)
    posts = [post(f"q{i}", 100 * i, f"ann{i % 5}", community="ab"[i % 2]) for i in range(40)]
    answers = [reply(f"a{i}", f"q{rng.integers(40)}", 5_000 + i, f"bob{rng.integers(12)}") for i in range(60)]
    comments = [
        reply(f"c{i}", f"a{rng.integers(60)}", 6_000 + i, f"bob{rng.integers(12)}", "comment") for i in range(60)
    ]
    votes = [vote(f"q{rng.integers(40)}", f"bob{rng.integers(12)}", 7_000 + i, rng.choice([1, -1])) for i in range(60)]
    accounts = [{"user": f"bob{i}", "person": f"P{i // 2}"} for i in range(8)]
    for row in votes:
        row["weight"] = float(row["weight"])
    return {"posts": posts + answers + comments, "reactions": votes, "accounts": accounts}


def build(sources: Sequence[Path], out: Path, options: MixOptions = QUIET) -> tuple[PreparedData, PreparedData]:
    final = build_mix([f"toy:{path}" for path in sources], out, options, here)
    return final, open_prepared(out / "all")


def card(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "card.json").read_text())
    return found


@pytest.fixture(autouse=True)
def plain_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the facts as they are instead of the card, whose measurements take most of the time of so small a build."""
    monkeypatch.setattr("tastelab.data.mix.card.write_card", write_facts)


def write_facts(folder: Path, final: PreparedData, every: PreparedData, facts: Facts) -> None:
    (folder / "card.json").write_text(json.dumps(vars(facts)))


@pytest.fixture
def world(make_feed: MakeFeed) -> Path:
    return make_feed("world", **small_world())


def test_both_variants_list_the_same_items_and_share_impressions(world: Path, tmp_path: Path) -> None:
    final, every = build([world], tmp_path / "mix")
    assert final.items().equals(every.items())
    assert final.num_items == 40
    assert (final.name, every.name) == ("mix", "mix-all")
    assert (final.meta["source"], final.meta["variant"], every.meta["variant"]) == ("mix", "final", "all")
    for split in ("train", "dev"):
        whole = {row.pop("impression_id"): row for row in every.impressions(split).drop("row").to_pylist()}
        last = {row.pop("impression_id"): row for row in final.impressions(split).drop("row").to_pylist()}
        assert all(whole[key] == row for key, row in last.items())
        users = [row["user_id"] for row in last.values()]
        assert len(users) == len(set(users))
        latest = {user: max(row["time"] for row in whole.values() if row["user_id"] == user) for user in users}
        assert {row["user_id"]: row["time"] for row in last.values()} == latest
        assert set(users) == {row["user_id"] for row in whole.values()}


def test_splits_follow_each_other_in_time_in_each_community(world: Path, tmp_path: Path) -> None:
    _, every = build([world], tmp_path / "mix")
    community = np.array(every.items(["community"])["community"].to_pylist())
    sizes = []
    for name in "ab":
        of_split = []
        for split in ("train", "dev"):
            table = every.impressions(split)
            first = np.array([row[0] for row in table["candidates"].to_pylist()])
            of_split.append(table["time"].cast("int64").to_numpy()[community[first] == name])
        assert of_split[0].max() < of_split[1].min()
        sizes.append(len(of_split[1]) / sum(map(len, of_split)))
    assert sizes == pytest.approx([0.3, 0.3], abs=0.05)


def test_items_carry_what_the_feed_says(world: Path, tmp_path: Path) -> None:
    items = build([world], tmp_path / "mix")[0].items().to_pylist()
    assert [item["title"] for item in items[:3]] == ["title of q0", "title of q2", "title of q4"]
    one = items[20]
    assert (one["title"], one["category"], one["community"], one["subcategory"]) == ("title of q1", "b", "b", "x")
    assert one["created"] == datetime.fromtimestamp(START + 100, tz=UTC).replace(tzinfo=None)
    assert all(re.fullmatch("i[0-9a-f]{16}", item["item_id"]) for item in items)
    assert len({item["item_id"] for item in items}) == 40


def test_accounts_of_one_person_are_one_user(make_feed: MakeFeed, tmp_path: Path) -> None:
    tables = small_world()
    joined = build([make_feed("one", **tables)], tmp_path / "joined")[1]
    apart = build([make_feed("two", **tables | {"accounts": []})], tmp_path / "apart")[1]
    assert card(tmp_path / "joined")["people"] == 8
    assert card(tmp_path / "apart")["people"] == 12
    assert joined.fingerprint != apart.fingerprint


def test_the_same_salt_and_seed_give_the_same_bytes_however_the_work_is_cut(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, every = build([world], tmp_path / "one")
    monkeypatch.setattr(gather, "PART_ROWS", 3)
    options = dataclasses.replace(QUIET, bucket_events=20, name="one")
    two, again = build([world], tmp_path / "two", options)
    assert (one.fingerprint, every.fingerprint) == (two.fingerprint, again.fingerprint)


def clicks(data: PreparedData) -> list[tuple[str, list[str]]]:
    """Title of the clicked item and titles of the history of every impression, in an order of their own."""
    titles = data.items(["title"])["title"].to_pylist()
    rows = [row for split in data.splits for row in data.impressions(split).to_pylist()]
    return sorted(
        (titles[row["candidates"][row["labels"].index(1)]], sorted(titles[item] for item in row["history"]))
        for row in rows
    )


def test_a_salt_decides_identifiers_and_draws_and_not_who_clicked_what(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order and draws that came from names alone would tell who is who to anybody with a list of names."""
    one = build([world], tmp_path / "one")[1]
    two = build([world], tmp_path / "two", dataclasses.replace(QUIET, salt="other"))[1]
    assert not set(one.impressions("train")["user_id"].to_pylist()) & set(
        two.impressions("train")["user_id"].to_pylist()
    )
    assert not set(one.items()["item_id"].to_pylist()) & set(two.items()["item_id"].to_pylist())
    assert clicks(one) == clicks(two)
    assert not one.impressions("train")["candidates"].equals(two.impressions("train")["candidates"])
    monkeypatch.setenv("TASTELAB_SALT", "other")
    three = build([world], tmp_path / "three", dataclasses.replace(QUIET, salt=None))[1]
    assert three.fingerprint == two.fingerprint
    monkeypatch.delenv("TASTELAB_SALT")
    four, five = (build([world], tmp_path / name, dataclasses.replace(QUIET, salt=None))[1] for name in ("4", "5"))
    assert four.fingerprint != five.fingerprint
    assert card(tmp_path / "4")["options"]["salt"] == "random, not kept"


def test_nothing_of_a_person_is_written(make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastelab.data.mix.card.write_card", REAL_CARD)
    tables = small_world()
    tables["posts"].append({})  # malformed; its text holds an e-mail address
    build([make_feed("world", **tables)], tmp_path / "mix", dataclasses.replace(QUIET, max_bad_share=0.5))
    files = [file for file in (tmp_path / "mix").rglob("*") if file.is_file()]
    assert {"card.md", "card.json", "quarantine.tsv", "items.parquet", "meta.json"} <= {file.name for file in files}
    secrets = [b"ann", b"bob", b"jane", b"@", b"pepper", b"P1"]
    for file in files:
        content = file.read_bytes() if file.suffix != ".parquet" else _text_of(file)
        assert not [secret for secret in secrets if secret in content], file
    listed = (tmp_path / "mix" / "quarantine.tsv").read_text().splitlines()
    assert listed[1:] == ["world\tposts.json+140\t21\tempty record\t"]


def _text_of(file: Path) -> bytes:
    import pyarrow.parquet as pq

    columns = [column for column in pq.read_table(file).columns if pa.types.is_string(column.type)]
    return "\n".join(value for column in columns for value in column.to_pylist()).encode()


def test_two_sources_with_the_same_ids_and_communities_stay_apart(make_feed: MakeFeed, tmp_path: Path) -> None:
    one, two = make_feed("x/same", **small_world(0)), make_feed("y/same", **small_world(0))
    data, _ = build([one, two], tmp_path / "mix")
    alone, _ = build([one], tmp_path / "alone")
    found = card(tmp_path / "mix")
    assert (data.num_items, found["people"]) == (80, 2 * card(tmp_path / "alone")["people"])
    assert set(found["communities"]) == {"same/a", "same/b", "same#2/a", "same#2/b"}
    assert [source["label"] for source in found["sources"]] == ["same", "same#2"]
    odd = make_feed("z/same#2", **small_world(0))
    labels = [source.label for source in parse_sources([f"toy:{path}" for path in (one, odd, two, one)])]
    assert labels == ["same", "same#2", "same#3", "same#4"]
    assert set(alone.items()["item_id"].to_pylist()) < set(data.items()["item_id"].to_pylist())


def test_every_record_that_is_no_use_is_counted(make_feed: MakeFeed, tmp_path: Path) -> None:
    tables, future = small_world(), int(time.time()) + 10 * 86_400 - START
    tables["posts"] += [
        post("p1", 0, title=" "),
        post("p2", 0) | {"time": None},
        post("p3", future),
        post("q0", 0),
        reply("r1", "nowhere", 0, "bob1"),
        reply("r2", "r1", 0, "bob1"),
        reply("r3", "r4", 0, "bob1"),
        reply("r4", "r3", 0, "bob1"),
        reply("r5", "p1", 0, "bob1"),
        reply("r6", "q0", 0, None),
        reply("r7", "q0", 0, "bob1") | {"time": None},
        reply("r8", "q0", future, "bob1"),
    ]
    tables["reactions"] += [
        vote("nowhere", "bob1", 0),
        vote("q0", "bob1", future),
        vote("q0", "bob1", 0, 0.0),
        vote("p1", "bob1", 0),
    ]
    build([make_feed("world", **tables)], tmp_path / "mix")
    assert {key: n for key, n in card(tmp_path / "mix")["dropped"].items() if "another item" not in key} == {
        "post without a title": 1,
        "post without a time": 1,
        "post from the future": 1,
        "post whose id came before": 1,
        "reply whose parent, or a parent's parent, is missing": 2,
        "reply whose parents form a cycle": 2,
        "reply to, or reaction on, a post that is no item": 2,
        "reply without a user": 1,
        "reply without a time": 1,
        "reply from the future": 1,
        "reaction on a post that is not there": 1,
        "reaction from the future": 1,
        "reaction without a weight": 1,
    }


def test_times_a_date_counts_at_its_end_and_nothing_precedes_its_item(make_feed: MakeFeed, tmp_path: Path) -> None:
    midnight = START - START % 86_400
    posts = [post(f"q{i}", 0) | {"time": midnight + i} for i in range(9)]
    votes = [
        vote("q0", "u", 0) | {"time": midnight, "date_only": True},  # counts at 23:59:59
        vote("q5", "u", 0) | {"time": midnight - 999},  # before its item: counts when that came up, first of all
        vote("q6", "u", 0) | {"time": midnight + 70},
        vote("q7", "u", 0) | {"time": midnight + 200_000},
    ]
    options = dataclasses.replace(QUIET, min_history=1, dev_share=0.5)
    _, every = build([make_feed("f", posts=posts, reactions=votes)], tmp_path / "mix", options)
    titles = every.items()["title"].to_pylist()
    rows = [row for split in ("train", "dev") for row in every.impressions(split).to_pylist()]
    histories = [[titles[item].removeprefix("title of ") for item in row["history"]] for row in rows]
    assert histories == [["q5"], ["q5", "q6"], ["q5", "q6", "q0"]]
    assert [int(row["time"].replace(tzinfo=UTC).timestamp()) - midnight for row in rows] == [
        70,
        86_399,
        200_000,
    ]


def test_own_posts_are_engagements_only_on_demand_and_never_negatives(make_feed: MakeFeed, tmp_path: Path) -> None:
    tables = small_world()
    tables["reactions"] += [vote(f"q{i}", "ann1", 9_000 + i) for i in (2, 3, 4, 5, 6)]  # q6 is ann1's own
    world, users = make_feed("world", **tables), {}
    for own in (False, True):
        _, every = build([world], tmp_path / f"{own}", dataclasses.replace(QUIET, own_posts=own))
        found = card(tmp_path / f"{own}")["engagements"]
        assert found.get("own post", 0) == (40 if own else 0)
        titles = every.items()["title"].to_pylist()
        rows = [row for split in ("train", "dev") for row in every.impressions(split).to_pylist()]
        shown = {}
        for row in rows:
            negatives = {titles[i] for i, label in zip(row["candidates"], row["labels"], strict=True) if not label}
            shown.setdefault(row["user_id"], set()).update(negatives)
        users[own] = shown
    mine = {f"title of q{i}" for i in range(1, 40, 5)}
    assert any(not negatives & mine for negatives in users[False].values())


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ([], "Name at least one --source"),
        (["toy"], "'toy' is not FEED:PATH"),
        (["toy:"], "is not FEED:PATH"),
        (["usenet:/tmp"], "Unknown source 'usenet': choose one of"),
        (["toy:/no/such/place"], "there is no /no/such/place"),
    ],
)
def test_a_wrong_source_fails_before_any_work(
    make_feed: MakeFeed, tmp_path: Path, sources: list[str], sentence: str
) -> None:
    make_feed("unused")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        build_module.plan(sources, tmp_path / "mix", QUIET)


def test_a_target_that_exists_needs_force(world: Path, tmp_path: Path) -> None:
    first, _ = build([world], tmp_path / "mix")
    with pytest.raises(ValueError, match="exists: choose another --out, or replace it with --force"):
        build([world], tmp_path / "mix")
    again, _ = build([world], tmp_path / "mix", dataclasses.replace(QUIET, force=True, seed=1))
    assert again.fingerprint != first.fingerprint


def test_force_removes_nothing_but_a_data_set(world: Path, tmp_path: Path) -> None:
    forced = dataclasses.replace(QUIET, force=True)
    with pytest.raises(ValueError, match="is no data set, so --force does not remove it"):
        build([world], tmp_path, forced)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(ValueError, match=r"world lies in .*, which --force would remove"):
        build([world], tmp_path, forced)
    assert world.is_dir()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"window": 1}, "--window must be at least 2, not 1"),
        ({"min_history": 0}, "--min-history must be at least 1"),
        ({"max_history": 0}, "--max-history must be at least 1"),
        ({"dev_share": 1.0}, "--dev-share lies between 0 and 1"),
        ({"max_bad_share": 2.0}, "--max-bad-share lies in 0..1"),
        ({"salt": " "}, "--salt is empty"),
    ],
)
def test_a_wrong_option_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        MixOptions(**wrong)


def fails(feed: Path, tmp_path: Path, sentence: str, options: MixOptions = QUIET) -> None:
    """A build that fails leaves nothing but the list of malformed records."""
    with pytest.raises(ValueError, match=sentence):
        build([feed], tmp_path / "mix", options)
    assert {path.name for path in tmp_path.iterdir()} <= {"feeds", "mix.quarantine.tsv"}


def test_too_many_malformed_records_name_the_file(make_feed: MakeFeed, tmp_path: Path) -> None:
    tables = small_world()
    tables["reactions"] += [{}] * 5
    feed = make_feed("world", **tables)
    fails(feed, tmp_path, r"5 of 65 lines of world/reactions.json are malformed, more than the tolerated 1.00%")
    assert (tmp_path / "mix.quarantine.tsv").read_text().count("empty record") == 5
    assert b"jane" not in (tmp_path / "mix.quarantine.tsv").read_bytes()


def test_too_little_is_said_in_a_sentence(make_feed: MakeFeed, tmp_path: Path) -> None:
    posts = [post(f"q{i}", i) for i in range(9)]
    votes = [vote("q1", "u", 50), vote("q2", "u", 51), vote("q3", "v", 52)]
    fails(make_feed("a", posts=[]), tmp_path, "The sources hold no post with a title and a time")
    fails(make_feed("b", posts=posts), tmp_path, r"Nobody engaged with 3 items \(the most is 0, of 0 people\)")
    sentence = r"Nobody engaged with 3 items \(the most is 2, of 2 people\): give more of the feeds, count posting as"
    fails(make_feed("c", posts=posts, reactions=votes), tmp_path, sentence)
    one = dataclasses.replace(QUIET, min_history=1)
    fails(make_feed("d", posts=posts, reactions=votes), tmp_path, "1 impressions for train and 0 for dev", one)
    alone = [post("q0", 0, community="x"), post("q1", 0, community="y")]
    fails(make_feed("e", posts=alone, reactions=[*votes[:2], vote("q0", "u", 9)]), tmp_path, "Nobody has an impr", one)
