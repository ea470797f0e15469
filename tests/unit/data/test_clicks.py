"""Which clicks are fitted, chosen by and reported, and what each of them sees."""

from __future__ import annotations

import calendar
import datetime
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tastelab.config import DataConfig
from tastelab.data import mind, tables
from tastelab.data.clicks import (
    examples_of,
    fitting_and_validation_clicks,
    is_weekday,
    reported_clicks,
    without_history,
)
from tastelab.data.sequences import Sequences, prepare_sequences
from tastelab.data.tables import PreparedData
from tastelab.schema import UNKNOWN_TIME

MONDAY = int(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC).timestamp())
HOUR, DAY = 3_600, 86_400


def sequences_of(*users: list[tuple[int | None, int]], impressions: list[int] | None = None) -> Sequences:
    """Sequences of users by the (time, split) of their clicks; a click's item is 100 and its row."""
    flat = [click for user in users for click in user]
    times = np.array([UNKNOWN_TIME if time is None else time for time, _ in flat], np.int64)
    return Sequences(
        Path("nowhere/sequences"),
        pa.array([f"u{u}" for u in range(len(users))]),
        np.cumsum([0, *map(len, users)]).astype(np.int64),
        np.arange(100, 100 + len(flat), dtype=np.int32),
        times,
        np.array([split for _, split in flat], np.int8),
        np.array(impressions if impressions is not None else [-1] * len(flat), np.int32),
    )


def train(*times: int | None) -> list[tuple[int | None, int]]:
    return [(time, 0) for time in times]


def test_the_last_clicks_in_time_validate_and_first_clicks_are_nobodys_target() -> None:
    sequences = sequences_of(train(10, 20, 80, 90), [], train(5), train(1, 70, 71, 72))
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig(validation_share=1 / 3))
    assert fitting.tolist() == [1, 6, 7, 8]
    assert validation.tolist() == [2, 3]
    assert without_history(sequences, "train") == 3


def test_an_undated_click_counts_as_made_at_the_last_dated_one_before_it() -> None:
    sequences = sequences_of(train(None, None, 10, 90, None, 95), train(None, None, 50, 60, 65))
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig(validation_share=3 / 9))
    assert validation.tolist() == [3, 4, 5]
    assert fitting.tolist() == [1, 2, 7, 8, 9, 10]


def test_without_times_the_impressions_are_cut_in_the_order_of_their_files() -> None:
    sequences = sequences_of(train(*[None] * 4), train(*[None] * 3), impressions=[-1, -1, 4, 7, 0, 1, 6])
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig(validation_share=2 / 5))
    assert (fitting.tolist(), validation.tolist()) == ([1, 2, 5], [3, 6])


def test_a_cap_takes_fitting_clicks_evenly_over_time() -> None:
    sequences = sequences_of(train(*range(0, 220, 20)), train(*range(5, 225, 20)))
    config = DataConfig(validation_share=0.1, train_impressions=7)
    fitting, _ = fitting_and_validation_clicks(sequences, config)
    whole, _ = fitting_and_validation_clicks(sequences, DataConfig(validation_share=0.1))
    in_time = whole[np.argsort(sequences.times[whole])]
    assert sorted(fitting) == sorted(in_time[np.linspace(0, len(whole) - 1, 7).round().astype(int)])
    with pytest.raises(ValueError, match="train_impressions is 0: use at least 1"):
        fitting_and_validation_clicks(sequences, DataConfig(train_impressions=0))


def test_joined_data_are_cut_each_at_their_own_end(tmp_path: Path) -> None:
    num_items, texts = 40, ("title", "abstract", "body", "category", "subcategory", "entities")
    items = {"item_id": [f"N{i}" for i in range(num_items)], "community": ["old"] * 20 + ["new"] * 20}
    items |= {name: [""] * num_items for name in texts} | {"has_text": [False] * num_items}
    with tables.DatasetWriter(tmp_path / "joined", "joined", source="join") as writer:
        writer.write_items(pa.table(items | {"created": pa.nulls(num_items, pa.timestamp("s"))}))
        columns = {
            "impression_id": [str(i) for i in range(num_items)],
            "user_id": ["a"] * 20 + ["b"] * 20,
            "time": pa.array([*range(20), *range(900, 920)], pa.timestamp("s")),
            "history": pa.array([[]] * num_items, pa.list_(pa.int32())),
            "feedback": pa.nulls(num_items, pa.list_(pa.int8())),
            "candidates": pa.array([[i] for i in range(num_items)], pa.list_(pa.int32())),
            "labels": pa.array([[1]] * num_items, pa.list_(pa.int8())),
        }
        writer.write_impressions("train", pa.table(columns))
    sequences = prepare_sequences(tables.open_prepared(tmp_path / "joined"))
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig(validation_share=3 / 19))
    assert sequences.items[validation].tolist() == [17, 18, 19, 37, 38, 39]
    assert len(fitting) == 38 - 6


def test_weekdays_are_monday_to_friday_by_utc() -> None:
    days = MONDAY + np.arange(-400, 400) * DAY
    expected = [calendar.weekday(*datetime.datetime.fromtimestamp(t, datetime.UTC).timetuple()[:3]) < 5 for t in days]
    for hour in (0, 12 * HOUR, DAY - 1):
        assert is_weekday(days + hour).tolist() == expected
    assert not is_weekday(np.array([UNKNOWN_TIME])).any()


def test_weekends_and_undated_clicks_are_not_fitted_but_validate() -> None:
    times = [None, None, *(MONDAY + day * DAY for day in range(12))]
    fitting, validation = fitting_and_validation_clicks(
        sequences_of(train(*times)), DataConfig(validation_share=6 / 13), days="weekdays"
    )
    assert fitting.tolist() == [2, 3, 4, 5, 6]  # undated, then Monday to Friday
    assert validation.tolist() == [8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("sequences", "config", "days", "message"),
    [
        (sequences_of(train(1), train(2), []), DataConfig(), "all", "No user of the train split has two clicks"),
        (sequences_of(train(1, 2)), DataConfig(domains=("a",)), "all", "does not work for candidate generation"),
        (sequences_of(train(None, None)), DataConfig(), "weekdays", "date no click, so weekdays cannot be told apart"),
        (sequences_of(train(1, 2, 3)), DataConfig(), "all", "leaves 2 to fit and 0 to validate"),
        (sequences_of(train(*[MONDAY - DAY] * 5)), DataConfig(validation_share=0.5), "weekdays", "leaves 0 to fit"),
    ],
)
def test_clicks_that_nothing_can_be_learned_from(
    sequences: Sequences, config: DataConfig, days: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitting_and_validation_clicks(sequences, config, days)


def test_reported_clicks_have_a_history_and_a_split() -> None:
    sequences = sequences_of([(None, 3), (9, 1), (10, 1)], [(9, 1)], [(8, 0), (9, 1), (9, 2)])
    assert reported_clicks(sequences, "dev").tolist() == [1, 2, 5]
    assert without_history(sequences, "dev") == 1
    with pytest.raises(ValueError, match="No click of the train split has an earlier click of its user"):
        reported_clicks(sequences, "train")
    with pytest.raises(ValueError, match="no split 'later': choose among train, dev, test"):
        reported_clicks(sequences, "later")


def test_histories_are_the_last_clicks_that_may_be_seen() -> None:
    sequences = sequences_of([(1, 0), (2, 1), (None, 3), (4, 0), (5, 0), (6, 1), (7, 0)], train(1, 2))
    found = examples_of(sequences, np.array([6, 5, 3, 8]), 3)
    assert found.history_NH.tolist() == [[100, 103, 104], [102, 103, 104], [100, 0, 0], [107, 0, 0]]
    assert found.mask_NH.sum(axis=1).tolist() == [3, 3, 1, 1]
    assert found.times_NH[1].tolist() == [UNKNOWN_TIME, 4, 5]
    assert found.times_NH[2].tolist() == [1, UNKNOWN_TIME, UNKNOWN_TIME]
    assert found.targets_N.tolist() == [106, 105, 103, 108]
    assert found.target_times_N.tolist() == [7, 6, 4, 2]
    assert found.users_N.tolist() == [0, 0, 0, 1]
    assert found.dwell_NH is None
    assert fitting_and_validation_clicks(sequences, DataConfig(validation_share=0.4))[0].tolist() == [3, 8]


def test_dwell_times_go_with_their_clicks() -> None:
    plain = sequences_of(train(1, 2, 3))
    dwell = np.array([4.0, np.nan, 6.0], np.float32)
    sequences = Sequences(**{name: getattr(plain, name) for name in plain.__dataclass_fields__} | {"dwell": dwell})
    found = examples_of(sequences, np.array([2, 1]), 5).dwell_NH
    assert found is not None
    np.testing.assert_equal(found, np.array([[4, np.nan], [4, np.nan]], np.float32))
    assert sequences.has_dwell


def test_a_click_without_history_has_an_empty_one() -> None:
    found = examples_of(sequences_of(train(1), train(2)), np.array([0, 1]), 5)
    assert found.history_NH.shape == found.mask_NH.shape == (2, 0)


@pytest.mark.parametrize("fixture", ["tiny_data", "signed_data"])
def test_no_target_sees_a_later_click_and_no_train_click_sees_dev(fixture: str, request: pytest.FixtureRequest) -> None:
    data: PreparedData = request.getfixturevalue(fixture)
    assert_nothing_leaks(prepare_sequences(data))


def test_real_clicks_leak_nothing(test_data: Path, tmp_path: Path) -> None:
    data = mind.prepare(test_data / "mix_sample", tmp_path / "mix_sample", progress=False)
    sequences = prepare_sequences(data)
    assert np.bincount(sequences.splits).tolist() == [5465, 895, 0, 398]
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig())
    assert (len(fitting), len(validation), len(reported_clicks(sequences, "dev"))) == (4619, 513, 895)
    assert (without_history(sequences, "train"), without_history(sequences, "dev")) == (333, 0)
    assert sequences.known(0) is not None  # sites are cut at different times: users of two have dev before train
    assert_nothing_leaks(sequences)


def assert_nothing_leaks(sequences: Sequences) -> None:
    fitting, validation = fitting_and_validation_clicks(sequences, DataConfig())
    assert len(np.intersect1d(fitting, validation)) == 0
    targets = {"train": np.concatenate([fitting, validation]), "dev": reported_clicks(sequences, "dev")}
    for split, rows in targets.items():
        found = examples_of(sequences, rows, 10_000)
        assert (found.mask_NH.sum(axis=1) > 0).all()
        dated_N1 = (found.target_times_N != UNKNOWN_TIME)[:, None]
        assert not (found.mask_NH & dated_N1 & (found.times_NH > found.target_times_N[:, None])).any()
        for row, history, mask in zip(rows.tolist(), found.history_NH, found.mask_NH, strict=True):
            begin = int(sequences.offsets[sequences.users_of(np.array([row]))[0]])
            may_see = [0] if split == "train" else [0, 1, 3]
            seen = [i for i in range(begin, row) if sequences.splits[i] in may_see]
            assert Counter(history[mask].tolist()) == Counter(sequences.items[seen].tolist())
    newest = max(fitting.tolist(), key=lambda row: sequences.times[row])
    dated = validation[sequences.times[validation] != UNKNOWN_TIME]
    assert (sequences.times[dated] >= sequences.times[newest]).all()
    assert not np.isin(validation_rows_before(sequences, fitting), validation).any()


def validation_rows_before(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """Rows of all clicks that any of `rows` sees."""
    begins = sequences.offsets[sequences.users_of(rows)]
    return np.unique(np.concatenate([np.arange(a, b) for a, b in zip(begins, rows, strict=True)]))
