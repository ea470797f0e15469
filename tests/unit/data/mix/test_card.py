from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab import __version__
from tastelab.data.mix import card_page
from tastelab.data.mix.card import card_facts, warnings, write_card
from tastelab.data.mix.card_page import page, table
from tastelab.data.mix.facts import Facts
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

NUM_ITEMS = 60
HOUR = 3_600


def impressions(rng: np.random.Generator, num: int, start: int, newest: bool) -> pa.Table:
    """Impressions of four candidates; `newest` gives every click away, else its place is drawn."""
    candidates, labels = [], []
    for row in range(num):
        four = np.sort(rng.choice(NUM_ITEMS, 4, replace=False))
        clicked = np.zeros(4, int)
        clicked[3 if newest else row % 4] = 1
        order = np.roll(np.arange(4), row // 4)
        candidates.append(four[order].tolist())
        labels.append(clicked[order].tolist())
    unseen = [sorted(set(range(NUM_ITEMS)) - set(row))[: row[0] % 3] for row in candidates]
    return pa.table(
        {
            "impression_id": [str(row) for row in range(num)],
            "user_id": [f"u{row % 9:016x}" for row in range(num)],
            "time": pa.array(1_500_000_000 + HOUR * (start + np.arange(num)), pa.timestamp("s")),
            "history": pa.array(unseen, pa.list_(pa.int32())),
            "feedback": pa.nulls(num, pa.list_(pa.int8())),
            "candidates": pa.array(candidates, pa.list_(pa.int32())),
            "labels": pa.array(labels, pa.list_(pa.int8())),
        }
    )


def items() -> pa.Table:
    titles = [f"Title {'abcdefghij'[i % 10]}{i:02d}" for i in range(NUM_ITEMS - 2)] + ["The same thing again"] * 2
    text = {name: [""] * NUM_ITEMS for name in ("abstract", "body", "category", "subcategory", "entities")}
    created = pa.array(1_400_000_000 + HOUR * np.arange(NUM_ITEMS), pa.timestamp("s"))
    marked = pa.array([None] * (NUM_ITEMS - 2) + [NUM_ITEMS - 2] * 2, pa.int32())
    columns = {"item_id": [f"i{i:016x}" for i in range(NUM_ITEMS)], "title": titles} | text
    columns |= {"created": created, "has_text": [True] * NUM_ITEMS}
    return pa.table(columns | {"community": ["beer"] * NUM_ITEMS, "near_duplicate": marked})


def variants(folder: Path, newest: bool = False) -> tuple[PreparedData, PreparedData]:
    rng = np.random.default_rng(0)
    quarantine = {"files": {"Posts.xml": {"lines": 90, "quarantined": 2}}, "reasons": {"not XML": 2}}
    for path, name, num in ((folder, "mix", 400), (folder / "all", "mix-all", 800)):
        with DatasetWriter(path, name, quarantine=quarantine) as writer:
            writer.write_items(items())
            writer.write_impressions("train", impressions(rng, 400, 0, newest=False))
            writer.write_impressions("dev", impressions(rng, num, 400, newest))
    return open_prepared(folder), open_prepared(folder / "all")


FACTS = Facts(
    sources=[
        {
            "feed": "stackexchange",
            "label": "beer|ale",
            "path": "beer|ale",
            "licence": "CC BY-SA 4.0",
            "seen_real": True,
            "posts": 1_234,
            "items": 60,
            "replies": 1_174,
            "reactions": 10,
            "accounts": 9,
            "bad": 2,
            "cut_short": ["Votes.xml"],
        }
    ],
    dropped=Counter({"post without a title": 3, "reply without a user": 7}),
    engagements={"answer": 5_000, "disliked": 4},
    people=9,
    communities={"beer": {"items": 60, "engagements": 5_000, "people": 9}},
    options={"window": 4, "seed": 7, "salt": "given", "own_posts": False},
    timings={"reading": 1.0},
    notes={"accounts joined with another of the same person": 1},
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mix") / "mix"
    write_card(folder, *variants(folder), FACTS)
    return folder


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return found


def test_the_facts_are_all_there(sound: Path) -> None:
    card = read(sound)
    assert card["name"] == "mix"
    assert card["tastelab"] == __version__
    assert card["sources"] == FACTS.sources
    assert card["dropped"] == {"reply without a user": 7, "post without a title": 3}
    assert card["options"] == FACTS.options
    assert card["communities"] == FACTS.communities
    assert card["quarantine"]["reasons"] == {"not XML": 2}
    assert card["never_run_on_real_data"] == []
    assert "timings" not in card  # the same build gives the same card


def test_sizes_are_those_of_the_tables(sound: Path) -> None:
    card = read(sound)
    for variant, folder in (("final", sound), ("all", sound / "all")):
        data = open_prepared(folder)
        for split in ("train", "dev"):
            rows = data.impressions(split).to_pylist()
            sizes = card["variants"][variant]["splits"][split]
            lengths = [len(row["history"]) for row in rows]
            assert sizes["impressions"] == len(rows)
            assert sizes["people"] == len({row["user_id"] for row in rows})
            assert sizes["mean_history"] == pytest.approx(np.mean(lengths), abs=0.0051)
            assert sizes["empty_histories"] == lengths.count(0) > 0
            assert sizes["mean_candidates"] == 4
            assert sizes["first"] == str(min(row["time"] for row in rows).date())
        assert card["variants"][variant]["fingerprint"] == data.fingerprint
    assert card["variants"]["final"]["sanity"]["impressions"] == 800


def test_near_duplicates_are_counted(sound: Path) -> None:
    assert read(sound)["items"] == {
        "items": NUM_ITEMS,
        "near_duplicate_groups": 1,
        "near_duplicates": 1,
        "largest_group": 2,
        "equal_titles": 1,
    }


def test_the_page_says_the_same(sound: Path) -> None:
    text = (sound / "card.md").read_text()
    assert text.startswith("# Data card: mix\n\nNo trivial ranker but popularity has an AUC outside .5 ± 0.05.\n")
    for line in (
        "| beer\\|ale | stackexchange | CC BY-SA 4.0 | 1,234 | 60 | 1,174 | 10 | 9 | 2 |",
        "Cut within a record, kept up to there: Votes.xml (beer|ale).",
        "| answer | 5,000 |",
        "| beer | 60 | 5,000 | 9 |",
        "| reply without a user | 7 |",
        "| not XML | 2 |",
        "| seed | 7 |",
        "| own_posts | False |",
        f"| tastelab | {__version__} |",
        "- no click is in its own history",
    ):
        assert line in text.splitlines(), line
    assert "Never run on a real dump" not in text


def test_what_gives_the_click_away_stands_first(tmp_path: Path) -> None:
    folder = tmp_path / "mix"
    write_card(folder, *variants(folder, newest=True), FACTS)
    text = (folder / "card.md").read_text()
    assert text.splitlines()[2].startswith("- **In dev of 'mix', 'newest' (newest first) alone has an AUC of 1.000")
    assert "**1.000 (1.000 to 1.000)**" in text
    final, every = open_prepared(folder), open_prepared(folder / "all")
    assert warnings(final)[0].startswith("In dev of 'mix', 'newest'")
    assert warnings(every)[0].startswith("In dev of 'mix-all', 'newest'")
    assert not [line for line in warnings(final) if "popularity" in line]


def test_sound_data_has_no_warnings(sound: Path) -> None:
    assert warnings(open_prepared(sound)) == warnings(open_prepared(sound / "all")) == []


def test_a_card_of_other_tables_warns_of_nothing(tmp_path: Path, sound: Path) -> None:
    folder = tmp_path / "mix"
    final, _ = variants(folder, newest=True)
    assert warnings(final) == []
    (folder / "card.json").write_bytes((sound / "card.json").read_bytes())
    assert warnings(final) == []
    (folder / "card.json").write_text("{")
    assert warnings(final) == []


def test_any_data_set_may_be_asked_for_warnings(tiny_data: PreparedData) -> None:
    assert warnings(tiny_data) == []


def test_warnings_may_come_with_the_data(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "joined", "joined", warnings=["mind the 'slot'"]) as writer:
        writer.write_items(items())
        writer.write_impressions("dev", impressions(np.random.default_rng(0), 4, 0, newest=False))
    assert warnings(open_prepared(tmp_path / "joined")) == ["mind the 'slot'"]


def test_a_reader_that_never_saw_a_real_dump_is_named(tmp_path: Path) -> None:
    source = FACTS.sources[0] | {"feed": "reddit", "seen_real": False, "cut_short": []}
    facts = dataclasses.replace(FACTS, sources=[source])  # type: ignore[list-item]
    card = card_facts(*variants(tmp_path / "mix"), facts)
    assert card["never_run_on_real_data"] == ["reddit"]
    expected = "Never run on a real dump, only on files written from the format's documentation: reddit."
    assert expected in page(card).splitlines()


def test_a_mix_that_breaks_an_invariant_gets_no_card(tmp_path: Path) -> None:
    folder = tmp_path / "mix"
    final, every = variants(folder)
    with DatasetWriter(folder / "all", "mix-all") as writer:
        writer.write_items(items())
        broken = impressions(np.random.default_rng(0), 4, 0, newest=False)
        broken = broken.set_column(1, "user_id", pa.array(["jane"] * 4))
        writer.write_impressions("train", broken)
    with pytest.raises(ValueError, match="every user id has the form of a hash"):
        write_card(folder, final, open_prepared(every.path), FACTS)
    assert not (folder / "card.json").exists()
    assert not (folder / "card.md").exists()


def test_many_communities_end_in_one_row(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_page, "MAX_COMMUNITIES", 1)
    some = {name: {"items": 10, "engagements": 600, "people": 3} for name in ("ai", "beer", "coffee")}
    lines = page(read(sound) | {"communities": some}).splitlines()
    place = lines.index("| ai | 10 | 600 | 3 |")
    assert lines[place + 1] == "| 2 more | 20 | 1,200 | – |"


def test_nothing_dropped_is_said(sound: Path) -> None:
    text = page(read(sound) | {"dropped": {}, "quarantine": {}, "notes": {}})
    assert "Nothing was dropped.\n\nNo record was malformed.\n" in text
    assert text.endswith(f"| tastelab | {__version__} |\n")


def test_a_table_of_words_and_numbers() -> None:
    assert table(["a", "b"], [["x|<y>", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|&lt;y> | 1 |"


def test_the_name_of_a_community_ends_no_cell() -> None:
    assert table(["community"], [["a|b\n<i>\r\tc"]]).splitlines()[2:] == ["| a\\|b &lt;i> c |"]
