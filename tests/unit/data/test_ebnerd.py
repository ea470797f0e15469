"""EB-NeRD's layout, against tables written by hand, and what damaged files hold."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastelab.data import ebnerd_tables
from tastelab.data.ebnerd import files, prepare
from tastelab.data.tables import PreparedData

NOON = datetime.datetime(2023, 5, 21, 12, 0, 0, 654_321)


def at(minutes: int) -> datetime.datetime:
    return NOON + datetime.timedelta(minutes=minutes)


def articles(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "article_id": pa.array([3037230, 9778745, 9778007, 9778745], pa.int32()),
        "title": ["Sætter rekord", "שלום\u202e", None, "again"],
        "subtitle": ["Under\ntitel", "", None, ""],
        "body": ["b" * 3_000, None, "", ""],
        "category": pa.array([142, 118, 118, 1], pa.int16()),
        "category_str": ["sport", "nyheder", "nyheder", ""],
        "subcategory": pa.array([[196, 271], [], [], []], pa.list_(pa.int16())),
        "topics": [["Kendt", "Sport"], [], None, []],
        "ner_clusters": [["Sverige", "Zlatan", "Sverige"], None, [], []],
        "entity_groups": [["LOC", "PER", "LOC"], None, [], []],
        "published_time": pa.array([at(-9), None, at(-5), at(0)], pa.timestamp("us")),
        "image_ids": pa.array([[1], None, [], []], pa.list_(pa.int64())),
    }
    return pa.table(columns | changes)


def behaviors(rows: list[tuple[Any, ...]], clicked: bool = True) -> pa.Table:
    names = ("impression_id", "user_id", "impression_time", "article_ids_inview", "article_ids_clicked")
    types = (pa.uint32(), pa.uint32(), pa.timestamp("us"), pa.list_(pa.int32()), pa.list_(pa.int32()))
    columns = {name: pa.array([row[i] for row in rows], types[i]) for i, name in enumerate(names)}
    columns["article_id"] = pa.array([None] * len(rows), pa.int32())
    return pa.table(columns if clicked else {k: v for k, v in columns.items() if k != "article_ids_clicked"})


def history(rows: dict[int, list[tuple[int, int]]]) -> pa.Table:
    """Clicks of each user: (minutes, article)."""
    return pa.table(
        {
            "user_id": pa.array(list(rows), pa.uint32()),
            "impression_time_fixed": pa.array(
                [[at(t) for t, _ in clicks] for clicks in rows.values()], pa.list_(pa.timestamp("us"))
            ),
            "article_id_fixed": pa.array([[a for _, a in clicks] for clicks in rows.values()], pa.list_(pa.int32())),
        }
    )


TRAIN = [
    (48401, 22, at(1), [9778007, 3037230, 9778745], [9778745]),
    (152513, 7, at(0), [3037230, 9778007], [3037230, 9778007]),
    (155390, 22, at(2), [9778745, 555], [555]),
]
HISTORIES = {22: [(-300, 3037230), (-200, 777), (-100, 3037230)], 40: [(-5, 9778745)]}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "ebnerd_demo"
    for split in ("train", "validation"):
        (folder / split).mkdir(parents=True)
        pq.write_table(behaviors(TRAIN), folder / split / "behaviors.parquet")
        pq.write_table(history(HISTORIES), folder / split / "history.parquet")
    pq.write_table(articles(), folder / "articles.parquet")
    return folder


def ready(source: Path, target: Path, **options: Any) -> PreparedData:
    return prepare(source, target, **{"max_unknown_share": 0.5, "progress": False} | options)


def named_rows(data: PreparedData, split: str) -> list[dict[str, Any]]:
    ids = data.items(["item_id"])["item_id"].to_pylist()
    rows = data.impressions(split).to_pylist()
    return [row | {name: [int(ids[i]) for i in row[name]] for name in ("history", "candidates")} for row in rows]


def test_impressions_are_those_of_the_logs(bundle: Path, tmp_path: Path) -> None:
    data = ready(bundle, tmp_path / "out")
    assert set(data.splits) == {"train", "dev"} and data.name == "ebnerd_demo"
    for split in data.splits:
        rows = named_rows(data, split)
        assert [row["impression_id"] for row in rows] == ["48401", "152513", "155390"]
        assert [row["user_id"] for row in rows] == ["22", "7", "22"]
        assert [row["candidates"] for row in rows] == [inview for *_, inview, _ in TRAIN]
        assert [row["labels"] for row in rows] == [[0, 0, 1], [1, 1], [0, 1]]
        assert [row["history"] for row in rows] == [[3037230, 777, 3037230], [], [3037230, 777, 3037230]]
        assert rows[0]["time"] == at(1).replace(microsecond=0) and rows[0]["feedback"] is None
    assert not data.has_feedback


def test_items_carry_text_and_only_text(bundle: Path, tmp_path: Path) -> None:
    data = ready(bundle, tmp_path / "out")
    items = data.items().to_pylist()
    assert items[0] == {
        "item_id": "3037230",
        "title": "Sætter rekord",
        "abstract": "Under titel",
        "body": "b" * 2_000,
        "category": "sport",
        "subcategory": "Kendt, Sport",
        "entities": "Sverige, Zlatan",
        "created": at(-9).replace(microsecond=0),
        "has_text": True,
    }
    assert items[1]["title"] == "שלום" and items[1]["created"] is None
    assert (items[2]["title"], items[2]["entities"]) == ("", "")
    assert [(item["item_id"], item["has_text"]) for item in items[3:]] == [("777", False), ("555", False)]
    assert data.meta["num_items_unknown"] == 2 and data.meta["num_items_named"] == 5


def test_too_many_unknown_articles_fail(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2 of the 5 articles .* not in articles\.parquet \(such as 777, 555\)"):
        ready(bundle, tmp_path / "out", max_unknown_share=0.01)
    assert not (tmp_path / "out").exists()


def test_histories_are_put_in_order_of_time(bundle: Path, tmp_path: Path) -> None:
    shuffled = {22: [(-100, 3), (-300, 1), (-200, 2)], 7: [(-2, 5), (-1, 6)], 9: []}
    pq.write_table(history(shuffled), bundle / "train" / "history.parquet")
    rows = named_rows(ready(bundle, tmp_path / "out", max_unknown_share=1), "train")
    assert [row["history"] for row in rows] == [[1, 2, 3], [5, 6], [1, 2, 3]]


def test_a_test_split_has_no_labels(bundle: Path, tmp_path: Path) -> None:
    (bundle / "test").mkdir()
    beyond = [(0, 22, at(3), [9778745, 3037230], None), (0, 99, at(3), [9778745, 3037230], None)]
    rows = behaviors([*TRAIN, *beyond], clicked=False).append_column(
        "is_beyond_accuracy", pa.array([False] * 3 + [True] * 2)
    )
    pq.write_table(rows, bundle / "test" / "behaviors.parquet")
    pq.write_table(history(HISTORIES), bundle / "test" / "history.parquet")
    data = ready(bundle, tmp_path / "out")
    assert not data.has_labels("test") and data.has_labels("dev") and data.num_impressions("test") == 5
    assert [row["impression_id"] for row in named_rows(data, "test")][3:] == ["0", "0"]


def test_a_zip_is_read_as_its_folder_and_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "demo.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in bundle.rglob("*.parquet"):
            archive.write(file, f"ebnerd_demo/{file.relative_to(bundle)}")
    (tmp_path / "home").mkdir()
    zipped = ready(tmp_path / "demo.zip", tmp_path / "home" / "a")
    assert zipped.fingerprint == ready(bundle, tmp_path / "b").fingerprint
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["a"]
    assert len(files(tmp_path / "demo.zip")) == 5


def test_blocks_change_nothing(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(50):
        inview = rng.permutation(30)[: rng.integers(1, 9)].tolist()
        rows.append((number, int(rng.integers(0, 9)), at(number), inview, inview[: int(rng.integers(0, 3))]))
    past = {
        user: [(minute, int(rng.integers(0, 30))) for minute in range(int(rng.integers(0, 7)))] for user in range(7)
    }
    pq.write_table(behaviors(rows), bundle / "train" / "behaviors.parquet", row_group_size=7)
    pq.write_table(history(past), bundle / "train" / "history.parquet", row_group_size=2)
    whole = ready(bundle, tmp_path / "whole", max_unknown_share=1)
    monkeypatch.setattr(ebnerd_tables, "BLOCK", 3)
    assert ready(bundle, tmp_path / "cut", max_unknown_share=1).fingerprint == whole.fingerprint
    for row, (_, user, _, inview, clicked) in zip(named_rows(whole, "train"), rows, strict=True):
        assert row["candidates"] == inview and row["history"] == [article for _, article in past.get(user, [])]
        assert [a for a, label in zip(inview, row["labels"], strict=True) if label] == [
            a for a in inview if a in clicked
        ]


def test_rows_that_cannot_be_right_are_set_aside(bundle: Path, tmp_path: Path) -> None:
    bad = [
        (1, None, at(1), [3037230], [3037230]),
        (2, 22, None, [3037230], [3037230]),
        (3, 22, at(1), [], []),
        (4, 22, at(1), None, None),
        (5, 22, at(1), [3037230, 9778745], [9778007]),
    ]
    pq.write_table(behaviors([*TRAIN, *bad]), bundle / "train" / "behaviors.parquet")
    with pytest.raises(ValueError, match=r"5 of 8 lines of train/behaviors\.parquet are malformed"):
        ready(bundle, tmp_path / "out")
    data = ready(bundle, tmp_path / "out", max_bad_share=0.7)
    assert data.num_impressions("train") == 3
    lines = [line.split("\t") for line in (data.path / "quarantine.tsv").read_text().splitlines()[1:]]
    assert [(line[2], line[3], line[4]) for line in lines] == [
        ("4", "no user", "impression 1"),
        ("5", "no time", "impression 2"),
        ("6", "nothing in view", "impression 3"),
        ("7", "nothing in view", "impression 4"),
        ("8", "click on what was not in view", "impression 5"),
    ]


def test_articles_without_the_further_columns_will_do(bundle: Path, tmp_path: Path) -> None:
    pq.write_table(articles().select(["article_id", "title"]), bundle / "articles.parquet")
    item = ready(bundle, tmp_path / "out").items().to_pylist()[0]
    assert (item["title"], item["body"], item["category"], item["entities"]) == ("Sætter rekord", "", "", "")


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (
            lambda f: (f / "train" / "history.parquet").unlink(),
            r"no train/history\.parquet: the split 'train' needs it",
        ),
        (
            lambda f: (f / "validation" / "behaviors.parquet").unlink(),
            r"no validation/behaviors\.parquet: the split 'dev' needs it",
        ),
        (lambda f: (f / "articles.parquet").unlink(), "holds no EB-NeRD files: it must hold articles"),
        (lambda f: (f / "articles.parquet").write_bytes(b"PAR1"), r"articles\.parquet is no complete parquet file"),
        (lambda f: (f / "articles.parquet").write_bytes(b""), r"articles\.parquet is no complete parquet file"),
        (
            lambda f: pq.write_table(behaviors([]), f / "train" / "behaviors.parquet"),
            r"train/behaviors\.parquet holds no rows",
        ),
        (
            lambda f: pq.write_table(behaviors(TRAIN).drop_columns(["user_id"]), f / "train" / "behaviors.parquet"),
            r"train/behaviors\.parquet has no column 'user_id'",
        ),
    ],
)
def test_wrong_files_fail_in_one_sentence(bundle: Path, tmp_path: Path, break_it: Any, expected: str) -> None:
    break_it(bundle)
    with pytest.raises(ValueError, match=expected):
        ready(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_articles_without_a_split_are_told(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (bundle / "articles.parquet").rename(tmp_path / "alone" / "articles.parquet")
    with pytest.raises(ValueError, match=r"holds articles\.parquet and no split: it must hold articles\.parquet with"):
        ready(tmp_path / "alone", tmp_path / "out")
