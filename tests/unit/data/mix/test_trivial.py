from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix import trivial
from tastelab.data.mix.trivial import RANKERS, Auc, auc_per_impression, named, trivial_aucs
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.metrics.ranking import per_impression


def items(titles: list[str], created: list[int | None], ids: list[str] | None = None) -> pa.Table:
    num = len(titles)
    text = {name: [""] * num for name in ("abstract", "body", "category", "subcategory", "entities")}
    columns = {"item_id": ids or [f"N{row}" for row in range(num)], "title": titles} | text
    return pa.table(columns | {"created": pa.array(created, pa.timestamp("s")), "has_text": [True] * num})


def impressions(rows: list[tuple[int | None, list[int], list[int] | None]]) -> pa.Table:
    """Impressions from (time, candidates, labels)."""
    times, candidates, labels = zip(*rows, strict=True)
    return pa.table(
        {
            "impression_id": [str(row) for row in range(len(rows))],
            "user_id": ["u"] * len(rows),
            "time": pa.array(times, pa.timestamp("s")),
            "history": pa.array([[]] * len(rows), pa.list_(pa.int32())),
            "feedback": pa.nulls(len(rows), pa.list_(pa.int8())),
            "candidates": pa.array(candidates, pa.list_(pa.int32())),
            "labels": pa.array(labels, pa.list_(pa.int8())),
        }
    )


def prepared(folder: Path, table: pa.Table, **splits: list[Any]) -> PreparedData:
    with DatasetWriter(folder / "x", "x") as writer:
        writer.write_items(table)
        for split, rows in splits.items():
            writer.write_impressions(split, impressions(rows))
    return open_prepared(folder / "x")


def means(aucs: dict[str, Auc]) -> dict[str, float]:
    return {name: auc.mean for name, auc in aucs.items() if name != "random"}


def test_auc_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 500))])
    scores = rng.integers(0, 4, offsets[-1]).astype(float)
    clicked = rng.random(offsets[-1]) < 0.3
    expected = per_impression(scores, clicked.astype(int), offsets)["auc"]
    assert 100 < np.isnan(expected).sum() < 400
    np.testing.assert_allclose(auc_per_impression(scores, clicked, offsets), expected, rtol=0, atol=1e-12)


def test_auc_of_nothing() -> None:
    assert auc_per_impression(np.empty(0), np.empty(0, bool), np.zeros(1, np.int64)).tolist() == []


def test_every_ranker_by_hand(tmp_path: Path) -> None:
    table = items(["aa", "a", "aaa", "aa"], [10, 20, 30, 40], ids=["N9", "N10", "N8", "N11"])
    data = prepared(tmp_path, table, train=[(100, [0, 1, 2, 3], [0, 1, 0, 0])])
    assert means(trivial_aucs(data, "train")) == {
        "newest": pytest.approx(1 / 3),  # only item 0 is older
        "middle": pytest.approx(5 / 6),  # 25 is the middle: nearer than 0 and 3, as near as 2
        "popularity": 0.5,  # nothing was clicked before
        "id": pytest.approx(2 / 3),  # 8 < 9 < 10 < 11
        "slot": pytest.approx(2 / 3),  # second of four
        "title length": 0.0,  # the shortest of all
    }
    assert set(trivial_aucs(data, "train")) == set(RANKERS)


def test_popularity_counts_what_came_strictly_before_in_any_split(tmp_path: Path) -> None:
    train = [(10, [0, 1, 2], [1, 0, 0]), (10, [0, 1, 2], [1, 0, 0]), (20, [0, 1, 2], [0, 1, 0])]
    dev = [(20, [1, 0], [1, 0]), (21, [1, 0], [1, 0]), (5, [0, 1], [1, 0])]
    data = prepared(tmp_path, items(["t"] * 3, [0] * 3), train=train, dev=dev)
    # The first of train: nothing is before it but the click at 5 in dev. At 21 item 1 has two clicks, item 0 three.
    assert trivial_aucs(data, "train")["popularity"] == pytest.approx((np.mean([1, 1, 0.25]), 0, 1, 3), abs=1)
    assert trivial_aucs(data, "train")["popularity"].mean == pytest.approx(np.mean([1, 1, 0.25]))
    assert trivial_aucs(data, "dev")["popularity"].mean == pytest.approx(np.mean([0, 0, 0.5]))


def slow_popularity(data: PreparedData, split: str) -> float:
    rows = {name: data.impressions(name).to_pylist() for name in data.splits}
    every = [row for name in data.splits for row in rows[name]]
    values = []
    for row in rows[split]:
        before = [old for old in every if old["time"] < row["time"]]
        counts = [
            sum(1 for old in before for c, y in zip(old["candidates"], old["labels"], strict=True) if y and c == item)
            for item in row["candidates"]
        ]
        values.append(per_impression(counts, row["labels"], [0, len(counts)])["auc"][0])
    return float(np.nanmean(values))


def test_popularity_is_that_of_a_slow_loop(tiny_data: PreparedData) -> None:
    for split in ("train", "dev"):
        assert trivial_aucs(tiny_data, split)["popularity"].mean == pytest.approx(slow_popularity(tiny_data, split))


def test_any_prepared_data_can_be_measured(tiny_data: PreparedData) -> None:
    aucs = trivial_aucs(tiny_data, "train")
    assert set(aucs) == set(RANKERS) - {"newest", "middle"}  # its items carry no dates
    table = tiny_data.impressions("train").to_pylist()
    assert aucs["slot"].n == sum(0 < sum(row["labels"]) < len(row["labels"]) for row in table)
    assert aucs["random"].low < 0.5 < aucs["random"].high
    assert trivial_aucs(tiny_data, "train") == aucs


def test_impressions_without_dates_are_left_out_of_what_needs_them(tmp_path: Path) -> None:
    rows = [(None, [0, 1], [1, 0]), (50, [0, 2], [1, 0]), (50, [0, 1], [0, 1])]
    aucs = trivial_aucs(prepared(tmp_path, items(["t"] * 3, [1, 2, None]), dev=rows), "dev")
    assert {name: auc.n for name, auc in aucs.items()} == dict.fromkeys(RANKERS, 3) | {
        "newest": 2,
        "middle": 2,
        "popularity": 2,
    }


def test_a_single_impression_tells_nothing(tmp_path: Path) -> None:
    data = prepared(tmp_path, items(["t"] * 2, [1, 2]), dev=[(50, [0, 1], [0, 1])])
    assert trivial_aucs(data, "dev")["newest"] == Auc(1.0, 0.5, 1.0, 1)


def test_a_split_of_no_impressions_has_no_aucs(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "x", "x") as writer:
        writer.write_items(items(["t"], [1]))
        writer.write_impressions("dev", impressions([(1, [0], [1])]))
    assert trivial_aucs(open_prepared(tmp_path / "x"), "dev") == {}


def test_labels_are_needed(tmp_path: Path) -> None:
    data = prepared(tmp_path, items(["t"] * 2, [1, 2]), test=[(50, [0, 1], None)])
    with pytest.raises(ValueError, match="The test split of 'x' has no labels"):
        trivial_aucs(data, "test")


def test_what_lies_outside_is_named() -> None:
    aucs = {
        "newest": Auc(0.861, 0.85, 0.87, 1_234),
        "slot": Auc(0.44, 0.37, 0.51, 10),
        "id": Auc(0.549, 0.5, 0.6, 10),
        "popularity": Auc(0.9, 0.8, 1.0, 10),
    }
    first, second = named(aucs)
    assert first == (
        "'newest' (newest first) alone has an AUC of 0.861 (95 % interval 0.850 to 0.870, n 1,234): compare models "
        "with it, not with .5."
    )
    assert second == (
        "'slot' (in the order shown) alone has an AUC of 0.440 (95 % interval 0.370 to 0.510, n 10): with so few "
        "impressions this may be chance."
    )


def test_the_sample_of_real_communities(test_data: Path, tmp_path: Path) -> None:
    from tastelab.data.mind import prepare

    aucs = trivial_aucs(prepare(test_data / "mix_sample", tmp_path / "mix"), "dev")
    assert aucs["slot"].mean == pytest.approx(0.515, abs=0.0006)  # published with the sample
    assert aucs["title length"].mean == pytest.approx(0.494, abs=0.0006)
    assert named({name: auc for name, auc in aucs.items() if name != "random"}) == []


def test_of_a_large_split_some_files_are_measured(tiny_data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trivial_aucs(tiny_data, "train")["random"].n
    monkeypatch.setattr(trivial, "MAX_IMPRESSIONS", 100)  # 200 impressions in files of 80, 80 and 40
    table = tiny_data.impressions("train").to_pylist()
    measured = table[:80] + table[160:]
    expected = sum(0 < sum(row["labels"]) < len(row["labels"]) for row in measured)
    assert trivial_aucs(tiny_data, "train")["random"].n == expected < whole
