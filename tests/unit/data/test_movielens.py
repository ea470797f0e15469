"""MovieLens in every layout that people have it in, its impressions against slow oracles, and damaged files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tastelab.data import movielens_windows
from tastelab.data.movielens import Rule, files, prepare
from tastelab.data.movielens_items import GENRES, spoken_title
from tastelab.data.movielens_windows import Neighbours
from tastelab.data.tables import PreparedData

FILMS = [
    ("1", "Toy Story", "1995", ["Animation", "Children's", "Comedy"]),
    ("2", "Misérables, Les", "1998", ["Drama"]),
    ("3", "שלום, עולם", "", []),
    ("4", "Matrix, The", "1999", ["Action", "Sci-Fi"]),
    ("9", "Nobody's Film", "2000", ["Drama"]),
]
RATINGS = [
    ("u1", "1", "5", "100"),
    ("u2", "4", "1", "110"),
    ("u1", "2", "1", "120"),
    ("u2", "1", "4", "130"),
    ("u1", "4", "4", "140"),
    ("u3", "3", "5", "150"),
    ("u2", "3", "3", "160"),
    ("u1", "1", "1", "170"),  # rated again: the first counts
    ("u2", "2", "5", "180"),
]


def titled(title: str, year: str) -> str:
    return f"{title} ({year})" if year else title


def as_csv(folder: Path, films: Any = FILMS, ratings: Any = RATINGS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'{i},"{titled(title, year)}",{"|".join(g) or "(no genres listed)"}' for i, title, year, g in films]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]) + "\n")
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *map(",".join, ratings)]) + "\n")
    return folder


def as_dat(folder: Path) -> Path:
    folder.mkdir(parents=True)
    films = "".join(f"{i}::{titled(title, year)}::{'|'.join(g)}\n" for i, title, year, g in FILMS)
    (folder / "movies.dat").write_bytes(films.encode())
    (folder / "ratings.dat").write_text("".join("::".join(rating) + "\r\n" for rating in RATINGS))
    return folder


def as_u_data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    flags = {i: ["1" if name and name in g else "0" for name in GENRES] for i, _, _, g in FILMS}
    films = "".join(
        f"{i}|{titled(title, year)}|01-Jan-{year}||http://x|{'|'.join(flags[i])}\n" for i, title, year, _ in FILMS
    )
    (folder / "u.item").write_bytes(films.replace("שלום, עולם", "Hebrew").encode("latin-1"))
    (folder / "u.data").write_text("".join("\t".join(rating) + "\n" for rating in RATINGS))
    return folder


def as_recbole(folder: Path) -> Path:
    folder.mkdir(parents=True)
    films = "".join(f"{i}\t{title}\t{year}\t{' '.join(g)}\n" for i, title, year, g in FILMS)
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    (folder / "ml.item").write_text(header + films)
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (folder / "ml.inter").write_text(header + "".join("\t".join(rating) + "\n" for rating in RATINGS))
    (folder / "ml.user").write_text("user_id:token\tage:token\nu1\t30\n")
    return folder


def rows_of(data: PreparedData) -> list[dict[str, Any]]:
    """All impressions with their item ids, in the order of their numbers."""
    ids = data.items(["item_id"])["item_id"].to_pylist()
    rows = [row for split in data.splits for row in data.impressions(split).to_pylist()]
    for row in rows:
        row |= {name: [ids[item] for item in row[name]] for name in ("history", "candidates")}
    return sorted(rows, key=lambda row: int(row["impression_id"]))


SMALL = Rule(dev_share=0.5, window=3)


def test_impressions_of_a_hand_made_release(tmp_path: Path) -> None:
    data = prepare(as_csv(tmp_path / "ml"), tmp_path / "out", rule=SMALL, progress=False)
    rows = rows_of(data)
    assert [(row["user_id"], row["history"], row["feedback"]) for row in rows] == [
        ("u2", ["4"], [-1]),  # the Matrix, disliked; its first film has no history and makes no impression
        ("u1", ["1", "2"], [1, -1]),
        ("u2", ["4", "1"], [-1, 1]),  # 3 stars are neither
    ]
    for row in rows:
        assert sum(row["labels"]) == 1
    clicked = [row["candidates"][row["labels"].index(1)] for row in rows]
    assert clicked == ["1", "4", "2"]
    assert [sorted(set(row["candidates"]) - {item}) for row, item in zip(rows, clicked, strict=True)] == [[], ["3"], []]
    assert [data.num_impressions(split) for split in ("train", "dev")] == [1, 2]
    assert data.has_feedback and data.meta["num_repeated_ratings"] == 1 and data.meta["num_without_history"] == 2


def test_all_layouts_hold_the_same(tmp_path: Path) -> None:
    makers = {"csv": as_csv, "dat": as_dat, "u.data": as_u_data, "recbole": as_recbole}
    found = {
        name: prepare(make(tmp_path / name), tmp_path / f"out-{name}", name="ml", rule=SMALL, progress=False)
        for name, make in makers.items()
    }
    assert {data.meta["layout"] for data in found.values()} == set(makers)
    tables = {name: data.items(["item_id", "category", "subcategory"]).to_pylist() for name, data in found.items()}
    assert tables["csv"] == tables["dat"] == tables["u.data"] == tables["recbole"]
    assert tables["csv"][0] == {"item_id": "1", "category": "Animation", "subcategory": "Children's, Comedy"}
    assert all(rows_of(data) == rows_of(found["csv"]) for data in found.values())
    assert len({found[name].fingerprint for name in ("csv", "dat", "recbole")}) == 1
    titles = found["recbole"].items(["title", "entities", "created"]).to_pylist()
    assert titles[1] == {"title": "Les Misérables", "entities": "1998", "created": None}
    assert titles[2] == {"title": "שלום, עולם", "entities": "", "created": None}
    assert found["u.data"].items(["title"])["title"][1].as_py() == "Les Misérables"  # from Latin-1


def test_a_zip_is_read_as_its_folder(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "wrapped" / "ml")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-small/{file.name}")
    zipped = prepare(tmp_path / "ml.zip", tmp_path / "a", rule=SMALL, progress=False)
    assert zipped.fingerprint == prepare(tmp_path / "wrapped", tmp_path / "b", rule=SMALL, progress=False).fingerprint
    assert [file.label for file in files(tmp_path / "ml.zip")] == [
        "ml-small/movies.csv",
        "ml-small/ratings.csv",
    ]


@pytest.mark.parametrize(
    ("title", "spoken", "year"),
    [
        ("Toy Story (1995)", "Toy Story", "1995"),
        ("Usual Suspects, The", "The Usual Suspects", ""),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly", "1966"),
        ("Avventura, L' (1960)", "L'Avventura", "1960"),
        (
            "Horseman on the Roof, The (Hussard sur le toit, Le)",
            "The Horseman on the Roof (Le Hussard sur le toit)",
            "",
        ),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", "1995"),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", "1968"),
        ("Babylon 5", "Babylon 5", ""),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", "1975"),
        ("King, Theodore", "King, Theodore", ""),
        ("A\u202eB\x07 \t C", "AB C", ""),
    ],
)
def test_titles_as_they_are_said(title: str, spoken: str, year: str) -> None:
    assert spoken_title(title) == (spoken, year)


def random_ratings(num: int = 600, users: int = 12, films: int = 60) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(3)
    times = np.sort(rng.integers(1_000, 1_400, num))
    stars = rng.integers(1, 11, num) / 2
    return [
        (f"u{u}", str(i), f"{s:g}", str(t))
        for u, i, s, t in zip(rng.integers(0, users, num), rng.integers(0, films, num), stars, times, strict=True)
    ]


@pytest.fixture(scope="module")
def random_data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("random")
    films = [(str(i), f"Film {i}", "1990", ["Drama"]) for i in range(60)]
    as_csv(folder / "ml", films, random_ratings())
    return prepare(folder / "ml", folder / "out", progress=False)


def test_impressions_against_a_slow_reader(random_data: PreparedData) -> None:
    first: dict[tuple[str, str], tuple[float, int]] = {}
    for user, film, stars, time in random_ratings():
        first.setdefault((user, film), (float(stars), int(time)))
    stream = [(user, film, *first[user, film]) for user, film in first]
    expected = []
    for user, film, stars, time in stream:
        past = [(f, 1 if s >= 4 else -1) for u, f, s, t in stream if u == user and t < time and (s >= 4 or s <= 2)]
        if stars >= 4 and past:
            expected.append((user, film, time, past))
    rows = rows_of(random_data)
    assert len(rows) == len(expected) > 50
    for row, (user, film, time, past) in zip(rows, expected, strict=True):
        clicked = row["candidates"][row["labels"].index(1)]
        assert (row["user_id"], clicked, int(row["time"].timestamp())) == (user, film, time)
        feedback = row["feedback"] or [1] * len(row["history"])
        assert list(zip(row["history"], feedback, strict=True)) == past
        assert not any((user, other) in first for other in row["candidates"] if other != film)
        assert len(set(row["candidates"])) == len(row["candidates"]) and sum(row["labels"]) == 1


def test_dev_is_the_last_part_of_the_windows_in_time(random_data: PreparedData) -> None:
    train, dev = (random_data.impressions(split)["time"].to_pylist() for split in ("train", "dev"))
    assert max(train) < min(dev) and random_data.meta["cut"] == min(dev).isoformat()
    assert len(dev) / (len(train) + len(dev)) == pytest.approx(0.2, abs=0.05)
    assert train == sorted(train) and dev == sorted(dev)


def slow_run(users: list[int], items: list[int], event: int, place: int, num: int) -> list[int]:
    """Walk away from the event on both sides, one rating at a time."""
    rated = {item for user, item in zip(users, items, strict=True) if user == users[event]}

    def walk(steps: range, taken: list[int], most: int) -> list[int]:
        seen, found = {items[position] for position in taken}, []
        for position in steps:
            if len(found) < most and items[position] not in seen | rated:
                seen.add(items[position])
                found.append(position)
        return found

    while True:
        before = walk(range(event - 1, -1, -1), [], place)
        after = walk(range(event + 1, len(items)), before, num - len(before))
        missing = num - len(before) - len(after)
        if not missing or len(before) < place or place == num:
            return sorted([*before, event, *after])
        place = min(num, place + missing)


@pytest.mark.parametrize("reach", [1, 4, 32])
def test_runs_against_a_walk(monkeypatch: pytest.MonkeyPatch, reach: int) -> None:
    from tastelab.data.movielens_ratings import Ratings

    monkeypatch.setattr(movielens_windows, "REACH", reach)
    monkeypatch.setattr(movielens_windows, "CELLS", 64)
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, 6 * 40, 150))
    rng.shuffle(pairs)
    users, items = (pairs // 40).astype(np.int32), (pairs % 40).astype(np.int32)
    signs, times = np.ones(len(pairs), np.int8), np.arange(len(pairs))
    ratings = Ratings(users, items, signs, times, list("abcdef"), len(pairs))
    events, places = np.arange(len(pairs)), rng.integers(0, 8, len(pairs))
    runs = Neighbours(ratings, 40).runs(events, places, 7)
    found = np.split(runs.positions, runs.offsets_P[1:-1])
    expected = [slow_run(users.tolist(), items.tolist(), e, p, 7) for e, p in zip(events.tolist(), places, strict=True)]
    assert [run.tolist() for run in found] == expected


def test_final_is_the_last_window_of_each_user_in_each_split(random_data: PreparedData, tmp_path: Path) -> None:
    films = [(str(i), f"Film {i}", "1990", ["Drama"]) for i in range(60)]
    folder = as_csv(tmp_path / "ml", films, random_ratings())
    final = prepare(folder, tmp_path / "out", rule=Rule(impressions="final"), progress=False)
    for split in ("train", "dev"):
        every = random_data.impressions(split).drop_columns(["row"]).to_pylist()
        last = {row["user_id"]: row for row in every}
        assert sorted(final.impressions(split).drop_columns(["row"]).to_pylist(), key=str) == sorted(
            last.values(), key=str
        )


def test_the_same_seed_gives_the_same_tables(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "ml", [(str(i), f"F{i}", "1990", []) for i in range(60)], random_ratings())
    prints = [
        prepare(folder, tmp_path / f"out{i}", rule=Rule(seed=seed), progress=False).fingerprint
        for i, seed in enumerate((0, 0, 1))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_histories_are_cut_to_the_most_recent(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "ml", [(str(i), f"F{i}", "1990", []) for i in range(60)], random_ratings())
    whole = rows_of(prepare(folder, tmp_path / "a", progress=False))
    cut = rows_of(prepare(folder, tmp_path / "b", rule=Rule(max_history=3), progress=False))
    assert [row["history"][-3:] for row in whole] == [row["history"] for row in cut]


BAD_RATINGS = [
    ("u1", "1", "five", "200"),
    ("u1", "1", "nan", "200"),
    ("u1", "1", "55", "200"),
    ("u1", "77", "5", "200"),
    ("u1", "1", "5", ""),
    ("u1", "1", "5", "1995-01-01"),
    ("u1", "1", "5", "874965758000"),
    ("", "1", "5", "200"),
    ("u1", "1", "5"),
]


def test_malformed_ratings_are_set_aside_with_their_lines(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "ml", ratings=[*RATINGS, *BAD_RATINGS])
    with pytest.raises(
        ValueError, match=r"^9 of 18 lines of ratings\.csv are malformed, more than the tolerated 1\.00%"
    ):
        prepare(folder, tmp_path / "out", rule=SMALL, progress=False)
    assert not (tmp_path / "out").exists() and (tmp_path / "out.quarantine.tsv").exists()
    data = prepare(folder, tmp_path / "out", rule=SMALL, max_bad_share=0.5, progress=False)
    assert data.meta["quarantine"]["reasons"] == {
        "empty user": 1,
        "rating not a number of 0.5 to 5": 3,
        "time missing or unparsable": 3,
        "truncated: 3 of 4 columns": 1,
        "unknown film": 1,
    }
    lines = (data.path / "quarantine.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[2] for line in lines] == [str(number) for number in range(11, 20)]  # from 1, with a header
    assert lines[0].split("\t") == ["all", "ratings.csv", "11", "rating not a number of 0.5 to 5", "u1,1,five,200"]
    clean = prepare(as_csv(tmp_path / "clean"), tmp_path / "clean-out", rule=SMALL, progress=False)
    assert data.fingerprint == clean.fingerprint


def test_malformed_films_are_set_aside(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "ml")
    with (folder / "movies.csv").open("a") as stream:
        stream.write(",No id,Drama\n5\n1,Another Toy Story (1996),Drama\n\n")
    data = prepare(folder, tmp_path / "out", rule=SMALL, max_bad_share=0.5, progress=False)
    assert data.meta["quarantine"]["reasons"] == {"empty id": 1, "truncated: 1 of 3 columns": 1}
    assert data.num_items == 5 and data.items(["title"])["title"][0].as_py() == "Toy Story"  # the first line of an id


def test_commas_within_quotes_belong_to_the_title(tmp_path: Path) -> None:
    folder = as_csv(tmp_path / "ml", [*FILMS, ("10", 'Monster, the ""Big"" One', "2001", ["Horror"])])
    data = prepare(folder, tmp_path / "out", rule=SMALL, progress=False)
    assert data.items(["title"])["title"][5].as_py() == 'Monster, the "Big" One'


def test_a_user_with_one_rating_makes_no_impression(tmp_path: Path) -> None:
    data = prepare(as_csv(tmp_path / "ml"), tmp_path / "out", rule=SMALL, progress=False)
    assert "u3" not in {row["user_id"] for row in rows_of(data)}
    alone = as_csv(tmp_path / "alone", ratings=[("u1", "1", "5", "100"), ("u2", "2", "5", "110")])
    with pytest.raises(ValueError, match=r"Nobody in 'alone' liked a film after having rated another \(2 ratings"):
        prepare(alone, tmp_path / "out2", progress=False)


def test_what_was_rated_in_one_second_is_no_history(tmp_path: Path) -> None:
    ratings = [("u1", film, "5", "100") for film in "123"] + [("u1", "4", "5", "101"), ("u2", "9", "5", "100")]
    rows = rows_of(prepare(as_csv(tmp_path / "ml", ratings=ratings), tmp_path / "out", rule=SMALL, progress=False))
    assert [(sorted(row["history"]), row["feedback"]) for row in rows] == [(["1", "2", "3"], None)]


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda f: (f / "ratings.csv").write_text(""), r"ratings\.csv is empty"),
        (lambda f: (f / "movies.csv").write_text(" \n"), r"movies\.csv is empty"),
        (lambda f: (f / "ratings.csv").write_text("userId,movieId,rating,timestamp\n"), r"ratings\.csv holds no lines"),
        (lambda f: (f / "movies.csv").write_text("movieId,title,genres\n"), r"movies\.csv holds no lines"),
        (lambda f: (f / "movies.csv").unlink(), r"holds ratings\.csv and no movies\.csv: MovieLens needs both"),
        (lambda f: (f / "ratings.csv").write_text("userId,movieId,rating\n1,1,5\n"), "no column 'timestamp'"),
        (lambda f: (f / "movies.csv").write_text("id,name\n1,x\n"), "no column for id and title and genres"),
        (lambda f: as_recbole(f / "more"), None),
        (lambda f: [f.joinpath(name).unlink() for name in ("movies.csv", "ratings.csv")], "holds no MovieLens files"),
    ],
)
def test_wrong_files_fail_in_one_sentence(tmp_path: Path, break_it: Any, expected: str | None) -> None:
    folder = as_csv(tmp_path / "ml")
    break_it(folder)
    if expected is None:  # what lies deeper is not looked at
        assert prepare(folder, tmp_path / "out", rule=SMALL, progress=False).meta["layout"] == "csv"
        return
    with pytest.raises(ValueError, match=expected):
        prepare(folder, tmp_path / "out", rule=SMALL, progress=False)
    assert not (tmp_path / "out").exists()


def test_several_releases_are_not_chosen_between(tmp_path: Path) -> None:
    as_csv(tmp_path / "both" / "ml-1")
    as_dat(tmp_path / "both" / "ml-2")
    with pytest.raises(ValueError, match=r"several data sets \(ml-1/ratings\.csv, ml-2/ratings\.dat\): pass a folder"):
        prepare(tmp_path / "both", tmp_path / "out", progress=False)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "options", [{"liked_from": 2.0}, {"window": 1}, {"max_history": 0}, {"dev_share": 1.0}, {"impressions": "last"}]
)
def test_rules_that_leave_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"choose a higher|nothing to learn from|'all' or 'final'"):
        Rule(**options)


def test_what_was_decided_is_in_the_meta(random_data: PreparedData) -> None:
    meta = json.loads((random_data.path / "meta.json").read_text())
    assert meta["rule"] == vars(Rule()) and meta["source"] == "movielens" and meta["num_disliked"] > 0
