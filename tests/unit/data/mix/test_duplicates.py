from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix import duplicates
from tastelab.data.mix.duplicates import (
    CACHE,
    cached_near_duplicates,
    near_duplicates,
    normal_title,
    normal_url,
)
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared


def varied_titles(num: int) -> list[str]:
    """Titles of which many differ from another one by a letter, a word or nothing."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 8))) for _ in range(150)]
    titles: list[str] = []
    while len(titles) < num:
        if titles and rng.random() < 0.5:
            old = titles[rng.integers(len(titles))].split()
            old[rng.integers(len(old))] += rng.choice(["s", "", " " + rng.choice(words)])
            titles.append(" ".join(old))
        else:
            titles.append(" ".join(rng.choice(words, rng.integers(1, 12))))
    return titles


def brute_force(titles: list[str]) -> list[int]:
    """Groups by comparing every pair of sets of three characters."""
    sets = [{title[i : i + 3] for i in range(len(title) - 2)} for title in titles]
    group = list(range(len(titles)))
    for a, b in itertools.combinations(range(len(titles)), 2):
        long = min(len(titles[a].split()), len(titles[b].split())) >= 3
        alike = long and len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.8
        if titles[a] == titles[b] or alike:
            group = [group[a] if g == group[b] else g for g in group]
    return [group.index(g) if group.count(g) > 1 else -1 for g in group]


def test_groups_are_those_of_comparing_every_pair() -> None:
    titles = varied_titles(200)
    expected = brute_force(titles)
    assert 20 < sum(row >= 0 for row in expected) < 180
    found = near_duplicates(titles)
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_the_first_item_of_a_group_names_it() -> None:
    titles = ["a b", "How do I brew a dark stout at home", "else", "How do I brew a dark stout at home?!", "A  b"]
    assert near_duplicates(titles).tolist() == [0, 1, -1, 1, 0]


def test_groups_are_closed_under_likeness() -> None:
    chain = ["one two three four five six seven eight", "one two three four five six seven eight nine"]
    chain.append(chain[1] + " dogs yelp")
    assert near_duplicates([chain[0], chain[2]]).tolist() == [-1, -1]
    assert near_duplicates(chain).tolist() == [0, 0, 0]


def test_short_titles_are_alike_only_when_equal() -> None:
    assert near_duplicates(["photosynthesis reactions", "photosynthesis reaction"]).tolist() == [-1, -1]
    assert near_duplicates(["the photosynthesis reactions", "the photosynthesis reaction"]).tolist() == [0, 0]


@pytest.mark.parametrize("title", ["", "  ", "?!"])
def test_titles_without_a_word_are_like_no_other(title: str) -> None:
    assert near_duplicates([title, title]).tolist() == [-1, -1]


def test_one_link_makes_near_duplicates_of_different_titles() -> None:
    urls = ["https://www.a.org/x/?utm_source=feed#top", "", "http://a.org/x", ""]
    assert near_duplicates(["first", "second", "third", "fourth"], urls).tolist() == [0, -1, 0, -1]


def test_a_link_joins_groups_of_titles() -> None:
    titles = ["same words", "other words", "same words", "other words"]
    assert near_duplicates(titles, ["", "http://a.org", "http://a.org/", ""]).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://WWW.Example.org:443/Path/?a=1&UTM_campaign=x&b=2#c", "example.org/Path?a=1&b=2"),
        ("http://example.org/", "example.org"),
        ("https://example.org/?id=7", "example.org?id=7"),
        ("https://example.org/a?utm_medium=x", "example.org/a"),
        ("http://[broken", "http://[broken"),
        (" ", ""),
    ],
)
def test_links_are_compared_without_what_does_not_lead_anywhere_else(url: str, normal: str) -> None:
    assert normal_url(url) == normal


@pytest.mark.parametrize(
    ("title", "normal"),
    [
        ("What’s  “C#”?", "what s c#"),
        ("ＡＢＣ\u202e x", "abc x"),
        ("हिन्दी की किताब", "हिन्दी की किताब"),
        ("C++ or C", "c++ or c"),
    ],
)
def test_titles_are_compared_without_case_and_punctuation(title: str, normal: str) -> None:
    assert normal_title(title) == normal


def test_as_many_links_as_titles() -> None:
    with pytest.raises(ValueError, match="There are 1 links for 2 titles"):
        near_duplicates(["a", "b"], ["http://a.org"])


def test_nothing_gives_nothing() -> None:
    assert near_duplicates([]).tolist() == []
    assert near_duplicates([], []).tolist() == []


def test_a_template_is_found_without_comparing_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 2)
    assert set(near_duplicates([f"Daily discussion thread of the week, number {i}" for i in range(300)])) == {0}


def test_how_many_pairs_are_held_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [f"Daily discussion of {'abcdefg'[i % 7] * 9}, number {i}" for i in range(90)]
    expected = near_duplicates(titles).tolist()
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 1)
    assert near_duplicates(titles).tolist() == expected
    assert len(set(expected)) == 7


def prepared(folder: Path, **extra: pa.Array) -> PreparedData:
    titles = ["An equal title", "Something else", "An equal title"]
    text = {name: [""] * 3 for name in ("abstract", "body", "category", "subcategory", "entities")}
    created = pa.nulls(3, pa.timestamp("s"))
    with DatasetWriter(folder, "x") as writer:
        ids = {"item_id": ["1", "2", "3"], "title": titles}
        writer.write_items(pa.table(ids | text | {"created": created, "has_text": [True] * 3} | extra))
    return open_prepared(folder)


def test_groups_are_kept_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path / "x")
    assert cached_near_duplicates(data).tolist() == [0, -1, 0]
    monkeypatch.setattr(duplicates, "near_duplicates", None)  # a second call computes nothing
    assert cached_near_duplicates(data).tolist() == [0, -1, 0]
    assert sorted(path.name for path in data.path.iterdir()) == ["items.parquet", "meta.json", CACHE]


def test_a_cut_cache_is_made_again(tmp_path: Path) -> None:
    data = prepared(tmp_path / "x")
    cached_near_duplicates(data)
    whole = (data.path / CACHE).read_bytes()
    (data.path / CACHE).write_bytes(whole[:-3])
    assert cached_near_duplicates(data).tolist() == [0, -1, 0]
    assert (data.path / CACHE).read_bytes() == whole


def test_a_cache_of_other_items_is_made_again(tmp_path: Path) -> None:
    data = prepared(tmp_path / "x")
    np.save(data.path / CACHE, np.zeros(7, np.int32))
    assert cached_near_duplicates(data).tolist() == [0, -1, 0]


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path / "x")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "replace", refuse)
    assert cached_near_duplicates(data).tolist() == [0, -1, 0]
    assert sorted(path.name for path in data.path.iterdir()) == ["items.parquet", "meta.json"]


def test_the_column_of_the_table_comes_first(tmp_path: Path) -> None:
    marked = prepared(tmp_path / "x", near_duplicate=pa.array([None, 1, 1], pa.int32()))
    assert cached_near_duplicates(marked).tolist() == [-1, 1, 1]
    assert not (marked.path / CACHE).exists()
