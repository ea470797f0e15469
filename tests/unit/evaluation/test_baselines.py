"""The baseline rows against slow oracles on a small data set."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from tastelab.data import tables
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.evaluation import baselines
from tastelab.evaluation.baselines import BASELINES, available, score
from tastelab.schema import IMPRESSIONS, ITEMS

TITLES = ["red apples grow", "green apples", "stars and planets", "the red planet", "", "planets planets grow", "zebra"]
DATES = [datetime(2020, 1, day) if day else None for day in (3, 1, 0, 9, 5, 9, 2)]
TRAIN = [([], [0, 1], [1, 0]), ([0], [0, 2, 3], [1, 0, 1]), ([1], [2, 0], None), ([1], [5, 0], [0, 1])]
DEV = [
    ([0, 1, 3], [2, 3, 5], [1, 0, 0]),
    ([], [0, 1], [0, 1]),
    ([4, 4], [1, 4], [1, 0]),
    ([2], [], []),
    ([6], [6], [1]),
]


def impressions(rows: list[tuple[list[int], list[int], list[int] | None]]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "impression_id": [str(i) for i in range(len(rows))],
        "user_id": ["u"] * len(rows),
        "time": [None] * len(rows),
        "history": [row[0] for row in rows],
        "feedback": [None] * len(rows),
        "candidates": [row[1] for row in rows],
        "labels": [row[2] for row in rows],
    }
    return pa.table(columns, schema=pa.schema([IMPRESSIONS.field(name) for name in columns]))


def prepared(
    path: Path, dates: list[datetime | None] = DATES, splits: tuple[str, ...] = ("train", "dev")
) -> PreparedData:
    num = len(TITLES)
    texts = {name: [""] * num for name in ("abstract", "body", "category", "subcategory", "entities")}
    texts["category"] = ["fruit", "fruit", "space", "space", "space", "space", "animal"]
    columns = {"item_id": [str(i) for i in range(num)], "title": TITLES, **texts, "created": dates}
    items = pa.table(columns | {"has_text": [True] * num}, schema=ITEMS)
    with DatasetWriter(path, "small") as writer:
        writer.write_items(items)
        for split in splits:
            writer.write_impressions(split, impressions(TRAIN if split == "train" else DEV))
    return open_prepared(path)


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepared(tmp_path / "small")


def test_popularity_counts_train_clicks(data: PreparedData) -> None:
    dev = data.impressions("dev")
    # Clicks: item 0 three times, item 3 once; the impression without labels counts nothing.
    assert score("popularity", data, dev).tolist() == [0, 1, 0, 3, 0, 0, 0, 0]
    assert score("popularity", data, dev, train_rows=np.array([1, 2])).tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert score("popularity", data, dev, train_rows=np.array([], np.int64)).tolist() == [0] * 8


def test_popularity_reads_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_FILE", 1)
    data = prepared(tmp_path / "cut")
    assert len(data.files("train")) == len(TRAIN)
    assert score("popularity", data, data.impressions("dev")).tolist() == [0, 1, 0, 3, 0, 0, 0, 0]


def test_newest_is_the_date_and_undated_items_are_last(data: PreparedData) -> None:
    scores = score("newest", data, data.impressions("dev"))
    first = scores[:3]  # items 2 (no date), 3 and 5 (both on the 9th)
    assert first[0] < first[1] == first[2]
    assert scores[3] - scores[4] == 2 * 86_400
    assert first[0] < min(scores[1:])


def tfidf_loop(texts: list[str], rows: list[tuple[list[int], list[int], Any]], max_history: int) -> list[float]:
    vectors = TfidfVectorizer().fit_transform(texts).toarray()
    scores = []
    for history, candidates, _ in rows:
        user = vectors[history[-max_history:]].sum(axis=0)
        scores += [float(vectors[c] @ user / (np.linalg.norm(user) or 1.0)) for c in candidates]
    return scores


@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.parametrize("max_history", [1, 2, 50])
def test_tfidf_against_a_loop(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, chunk: int, max_history: int
) -> None:
    monkeypatch.setattr(baselines, "CHUNK_IMPRESSIONS", chunk)
    scores = score("tfidf", data, data.impressions("dev"), max_history=max_history)
    assert scores.tolist() == pytest.approx(tfidf_loop(TITLES, DEV, max_history), abs=1e-12)
    assert scores.dtype == np.float64


def test_tfidf_joins_features(data: PreparedData) -> None:
    category = data.items(["category"])["category"].to_pylist()
    texts = [f"{title} {name}" for title, name in zip(TITLES, category, strict=True)]
    scores = score("tfidf", data, data.impressions("dev"), features=("title", "category"))
    assert scores.tolist() == pytest.approx(tfidf_loop(texts, DEV, 50), abs=1e-12)


def test_without_history_all_candidates_tie(data: PreparedData) -> None:
    assert score("tfidf", data, data.impressions("dev"))[3:5].tolist() == [0.0, 0.0]


def test_random_is_a_function_of_seed_and_row(data: PreparedData) -> None:
    dev = data.impressions("dev")
    scores = score("random", data, dev, seed=5)
    assert len(set(scores.tolist())) == len(scores)
    apart = [score("random", data, dev.slice(i, 1), seed=5) for i in range(dev.num_rows)]
    np.testing.assert_array_equal(np.concatenate(apart), scores)
    assert not np.isin(score("random", data, dev, seed=6), scores).any()


def test_random_scores_are_uniform_and_independent(data: PreparedData) -> None:
    num = 2_000
    many = impressions([([], [0] * 10, [0] * 10)] * num).append_column("row", pa.array(range(num)))
    table = score("random", data, many, seed=1).reshape(num, 10)
    assert table.mean() == pytest.approx(0.5, abs=0.01)
    assert table.var() == pytest.approx(1 / 12, abs=0.003)
    correlation = np.corrcoef(table.T) - np.eye(10)
    assert np.abs(correlation).max() < 0.1
    assert np.abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.1


@pytest.mark.parametrize("name", BASELINES)
def test_one_score_per_candidate_in_a_slice_too(data: PreparedData, name: str) -> None:
    dev = data.impressions("dev")
    whole = score(name, data, dev)
    assert len(whole) == sum(len(row[1]) for row in DEV)
    np.testing.assert_array_equal(score(name, data, dev.slice(1, 2)), whole[3:7])
    assert score(name, data, dev.slice(0, 0)).shape == (0,)


def test_what_the_data_allow(tmp_path: Path, data: PreparedData) -> None:
    assert available(data) == tuple(BASELINES) == ("random", "popularity", "newest", "tfidf")
    bare = prepared(tmp_path / "bare", dates=[None] * len(TITLES), splits=("dev",))
    assert available(bare) == ("random", "tfidf")
    with pytest.raises(ValueError, match="No item of 'small' has a date: leave the row newest out"):
        score("newest", bare, bare.impressions("dev"))
    with pytest.raises(ValueError, match="'small' has no clicks in a train split: leave the row popularity out"):
        score("popularity", bare, bare.impressions("dev"))


def test_wrong_options_are_named(data: PreparedData) -> None:
    dev = data.impressions("dev")
    with pytest.raises(ValueError, match="Unknown baseline 'bm25': choose one of random, popularity, newest, tfidf"):
        score("bm25", data, dev)
    with pytest.raises(ValueError, match="Unknown text feature headline: choose among title"):
        score("tfidf", data, dev, features=("headline",))
    with pytest.raises(ValueError, match="max_history is 0: choose at least 1 click"):
        score("tfidf", data, dev, max_history=0)
    with pytest.raises(ValueError, match="The items of 'small' have no words in body: name features that have"):
        score("tfidf", data, dev, features=("body",))
