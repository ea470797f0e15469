"""Slices against a loop over impressions, and what each of them means by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.catalog import resolve
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.evaluation import slices as module
from tastelab.evaluation.evaluate import Evaluation
from tastelab.evaluation.slices import MAX_RESAMPLED, MIN_IMPRESSIONS, dimensions, slices
from tastelab.metrics import ranking

NONE = np.empty(0, np.int64)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return resolve("synthetic-smoke", tmp_path_factory.mktemp("home"), progress=False)


def evaluation(rows: np.ndarray, seed: int = 0) -> Evaluation:
    """Random values; some impressions lack an AUC, some every metric."""
    rng = np.random.default_rng(seed)
    values = {"auc": rng.random(len(rows)), "mrr": rng.random(len(rows))}
    values["auc"][::7] = np.nan
    values["mrr"][::14] = np.nan
    return Evaluation(rows, values, {}, {})


def groups(data: PreparedData) -> np.ndarray:
    """Pretend that of every ten items the first, the fourth and the seventh are near-duplicates."""
    rows = np.arange(data.num_items)
    return np.where(np.isin(rows % 10, [0, 3, 6]), rows - rows % 10, -1).astype(np.int32)


def bin_of(value: int, firsts: list[int], labels: list[str]) -> str:
    return labels[sum(value >= first for first in firsts) - 1]


def slow_slices(data: PreparedData, rows: list[int], seen_rows: list[int], max_history: int) -> list[dict[str, str]]:
    """Say of every dev impression which slice of each dimension it is in; nothing where nothing was clicked."""
    titles = data.items(["title"])["title"].to_pylist()
    group = groups(data).tolist()
    items: set[int] = set()
    users: set[str] = set()
    clicks = dict.fromkeys(range(data.num_items), 0)
    train = data.impressions("train").to_pylist()
    for impression in (train[row] for row in seen_rows):
        items |= set(impression["candidates"]) | set(impression["history"][-max_history:])
        users.add(impression["user_id"])
        for item, label in zip(impression["candidates"], impression["labels"], strict=True):
            clicks[item] += label
    found = []
    for impression in (data.impressions("dev").slice(row, 1).to_pylist()[0] for row in rows):
        if 1 not in impression["labels"]:
            found.append({})
            continue
        positive = impression["candidates"][impression["labels"].index(1)]
        history = impression["history"][-max_history:]
        near = any(item == positive or (group[item] == group[positive] >= 0) for item in history)
        found.append(
            {
                "items": "seen" if positive in items else "cold",
                "users": "seen" if impression["user_id"] in users else "cold",
                "history": bin_of(len(history), [0, 1, 5, 20], ["0", "1–4", "5–19", "20+"]),
                "popularity": bin_of(clicks[positive], [0, 1, 5], ["0", "1–4", "5+"]),
                "near-duplicate": "yes" if near else "no",
                "title length": bin_of(len(titles[positive].split()), [0, 1, 6, 11], ["0", "1–5", "6–10", "11+"]),
            }
        )
    return found


@pytest.mark.parametrize("which", ["tiny", "synthetic"])
@pytest.mark.parametrize("max_history", [3, 50])
def test_slices_are_a_loop_over_impressions(
    which: str,
    max_history: int,
    tiny_data: PreparedData,
    synthetic: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tiny_data if which == "tiny" else synthetic
    monkeypatch.setattr(module, "cached_near_duplicates", groups)
    monkeypatch.setattr(module, "MIN_IMPRESSIONS", 3)
    rows = np.arange(0, data.num_impressions("dev"), 2 if which == "synthetic" else 1)
    seen_rows = np.arange(3, 40, 2) if which == "tiny" else np.arange(1, data.num_impressions("train"), 3)
    measured = evaluation(rows)
    found = slices(data, "dev", measured, seen_rows, max_history)
    slow = slow_slices(data, rows.tolist(), seen_rows.tolist(), max_history)
    assert list(found) == [name for name in module.ORDER if name in slow[0] or (name == "community" and name in found)]
    filled = 0
    for name in slow[0]:
        for part in found[name]:
            chosen = [i for i, where in enumerate(slow) if where.get(name) == part["slice"]]
            auc = measured.values["auc"][chosen]
            assert part["n"] == np.isfinite(auc).sum(), (name, part["slice"])
            if part["n"] < 3:
                assert part == {"slice": part["slice"], "n": part["n"], "too_few": True}
                continue
            filled += 1
            assert part["metrics"]["auc"]["mean"] == pytest.approx(np.nanmean(auc))
            assert part["metrics"] == ranking.summary({n: v[chosen] for n, v in measured.values.items()})
    assert filled >= 8, "the data fill slices of every dimension"


def test_an_untrained_model_is_cut_by_the_whole_train_split(synthetic: PreparedData) -> None:
    measured = evaluation(np.arange(synthetic.num_impressions("dev")))
    whole = np.arange(synthetic.num_impressions("train"))
    assert slices(synthetic, "dev", measured, NONE, 50) == slices(synthetic, "dev", measured, whole, 50)
    assert slices(synthetic, "dev", measured, whole[:50], 50) != slices(synthetic, "dev", measured, whole, 50)


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Function that writes a data set from (user, history, candidates, labels) per impression, by split."""

    def written(
        splits: dict[str, list[tuple[str, list[int], list[int], list[int] | None]]],
        titles: list[str],
        communities: list[str] | None = None,
    ) -> PreparedData:
        folder = tmp_path_factory.mktemp("data") / "written"
        blank = [""] * len(titles)
        items = {name: blank for name in ("abstract", "body", "category", "subcategory", "entities")}
        items |= {"item_id": [f"N{i}" for i in range(len(titles))], "title": titles, "has_text": [True] * len(titles)}
        table = pa.table(items).append_column("created", pa.nulls(len(titles), pa.timestamp("s")))
        if communities:
            table = table.append_column("community", pa.array(communities))
        with DatasetWriter(folder, "written") as writer:
            writer.write_items(table)
            for split, rows in splits.items():
                users, histories, candidates, labels = zip(*rows, strict=True)
                writer.write_impressions(split, impressions(users, histories, candidates, labels))
        return open_prepared(folder)

    return written


def impressions(users: Any, histories: Any, candidates: Any, labels: Any) -> pa.Table:
    return pa.table(
        {
            "impression_id": [str(row) for row in range(len(users))],
            "user_id": users,
            "time": pa.nulls(len(users), pa.timestamp("s")),
            "history": pa.array(histories, pa.list_(pa.int32())),
            "feedback": pa.nulls(len(users), pa.list_(pa.int8())),
            "candidates": pa.array(candidates, pa.list_(pa.int32())),
            "labels": pa.array(labels, pa.list_(pa.int8())),
        }
    )


def cut(data: PreparedData, name: str, seen_rows: np.ndarray = NONE, max_history: int = 50) -> list[str | None]:
    """Labels of the dev impressions in one dimension."""
    rows = np.arange(data.num_impressions("dev"))
    found = dimensions(data, "dev", rows, seen_rows, max_history)[name]
    return [None if code < 0 else found.labels[code] for code in found.code_N.tolist()]


TITLES = ["one", "two words", "a  title of\tsix real words ", "w " * 10, "w " * 11, "b", "c", "d"]


def test_cold_and_popular_by_hand(write: Any) -> None:
    train = [
        ("a", [5, 6], [0, 1], [1, 0]),  # with one click of history, 5 is not seen
        ("b", [], [0, 2], [1, 0]),
        ("c", [], [3, 4], [0, 1]),
    ]
    dev = [
        ("a", [], [0, 7], [1, 0]),
        ("c", [], [5, 0], [1, 0]),
        ("z", [], [0, 6], [0, 1]),
        ("z", [], [0, 1], [0, 0]),  # no positive: in no slice
        ("b", [], [4, 0], [1, 1]),  # the first positive counts
    ]
    data = write({"train": train, "dev": dev}, TITLES)
    both = np.array([0, 1])
    assert cut(data, "items", both, max_history=1) == ["seen", "cold", "seen", None, "cold"]
    assert cut(data, "items", both, max_history=2) == ["seen", "seen", "seen", None, "cold"]
    assert cut(data, "items", max_history=2)[-1] == "seen"
    assert cut(data, "users", both) == ["seen", "cold", "cold", None, "seen"]
    assert cut(data, "popularity", both) == ["1–4", "0", "0", None, "0"]
    assert cut(data, "popularity") == ["1–4", "0", "0", None, "1–4"]


def test_history_titles_and_repeats_by_hand(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cached_near_duplicates", lambda data: np.array([-1, -1, 2, 2, -1, -1, -1, -1]))
    dev = [
        ("a", [], [0, 7], [1, 0]),
        ("a", [1, 5, 6, 7], [1, 7], [1, 0]),  # the same item again
        ("a", [3, 0, 0, 0, 0], [2, 7], [1, 0]),  # 3 is a near-duplicate of 2
        ("a", [1] * 19, [3, 7], [1, 0]),
        ("a", [2] + [1] * 19, [4, 3], [0, 1]),
        ("a", [1] * 40, [4, 3], [1, 0]),
    ]
    data = write({"dev": dev, "train": dev}, TITLES)
    assert cut(data, "history") == ["0", "1–4", "5–19", "5–19", "20+", "20+"]
    assert cut(data, "history", max_history=4)[2:] == ["1–4"] * 4
    assert cut(data, "near-duplicate") == ["no", "yes", "yes", "no", "yes", "no"]
    assert cut(data, "near-duplicate", max_history=4) == ["no", "yes", "no", "no", "no", "no"]
    assert cut(data, "title length") == ["1–5", "1–5", "6–10", "6–10", "6–10", "11+"]


def test_dimensions_that_the_data_lack_are_left_out(write: Any) -> None:
    rows = [("a", [], [0, 1], [1, 0]), ("b", [1], [1, 2], [0, 1])]
    zero = np.array([0, 1])

    def names(data: PreparedData) -> list[str]:
        return list(dimensions(data, "dev", zero, NONE, 50))

    assert names(write({"dev": rows}, ["", "", ""])) == ["history"]
    unlabelled = [(user, history, shown, None) for user, history, shown, _ in rows]
    assert names(write({"dev": rows, "train": unlabelled}, ["", "", ""])) == ["items", "users", "history"]
    communities = write({"dev": rows, "train": rows}, ["x", "y", ""], ["left", "left", "right"])
    assert names(communities) == list(module.ORDER)
    assert cut(communities, "title length") == ["1–5", "0"]
    assert cut(communities, "community") == ["left", "right"]


def test_a_slice_with_too_few_impressions_says_so(write: Any) -> None:
    rows = [("a", [], [0, 1], [1, 0])] * (MIN_IMPRESSIONS - 1) + [("b", [1], [1, 2], [1, 0])] * MIN_IMPRESSIONS
    data = write({"dev": rows, "train": rows}, ["x", "y", "z"])
    values = {"auc": np.full(len(rows), 0.25), "mrr": np.full(len(rows), 0.5)}
    measured = Evaluation(np.arange(len(rows)), values, {}, {})
    found = slices(data, "dev", measured, NONE, 50)["history"]
    same = {"low": 0.25, "high": 0.25, "mean": 0.25, "n": MIN_IMPRESSIONS}
    assert found[0] == {"slice": "0", "n": MIN_IMPRESSIONS - 1, "too_few": True}
    assert found[1]["n"] == MIN_IMPRESSIONS
    assert found[1]["metrics"]["auc"] == same
    assert found[3] == {"slice": "20+", "n": 0, "too_few": True}
    values["auc"][-1] = np.nan  # an AUC less, and the slice has too few
    assert slices(data, "dev", measured, NONE, 50)["history"][1]["too_few"] is True


def test_large_slices_get_the_interval_that_a_bootstrap_tends_to() -> None:
    values = np.random.default_rng(0).beta(4, 2, MAX_RESAMPLED)
    resampled = module._interval(values)
    normal = module._interval(np.append(values, values.mean()))
    assert resampled == ranking.summary({"auc": values})["auc"]
    assert normal["n"] == MAX_RESAMPLED + 1
    width = resampled["high"] - resampled["low"]
    for name in ("mean", "low", "high"):
        assert normal[name] == pytest.approx(resampled[name], abs=0.08 * width)
        assert normal[name] != resampled[name] or name == "mean"
