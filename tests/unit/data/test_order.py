"""The order of an epoch: a permutation that depends on seed and epoch alone, dealt out to any number of workers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastelab.config import DataConfig
from tastelab.data import order
from tastelab.data.domains import impression_domains
from tastelab.data.join import join
from tastelab.data.order import (
    RowGroup,
    Share,
    Window,
    epoch_windows,
    fitting_and_validation,
    row_groups,
    within_window,
)
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

ROWS = np.sort(np.random.default_rng(5).choice(200, 130, replace=False))


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW_ROWS", 30)


def epoch_order(groups: list[RowGroup], seed: int, epoch: int) -> list[int]:
    """Split rows of an epoch in order, read from the files."""
    rows = []
    for window in epoch_windows(groups, seed, epoch):
        read = [
            pq.ParquetFile(g.file).read_row_group(g.index, ["row"])["row"].to_numpy()[g.rows] for g in window.groups
        ]
        rows += np.concatenate(read)[within_window(window, seed, epoch)].tolist()
    return rows


def test_row_groups_cut_the_chosen_rows_by_where_they_lie(tiny_data: PreparedData) -> None:
    groups = row_groups(tiny_data, "train", ROWS)
    found = []
    for group in groups:
        found += pq.ParquetFile(group.file).read_row_group(group.index)["row"].to_numpy()[group.rows].tolist()
    assert found == ROWS.tolist()
    assert len({group.file for group in groups}) == 3
    assert len(groups) == 8  # 80 rows in groups of 32, 32, 16, twice, then 40 in 32, 8


def test_row_groups_without_a_chosen_row_are_left_out(tiny_data: PreparedData) -> None:
    groups = row_groups(tiny_data, "train", np.array([0, 79, 80, 199]))
    assert [(Path(g.file).name, g.index, g.rows.tolist()) for g in groups] == [
        ("part-00000.parquet", 0, [0]),
        ("part-00000.parquet", 2, [15]),
        ("part-00001.parquet", 0, [0]),
        ("part-00002.parquet", 1, [7]),
    ]


@pytest.mark.usefixtures("small_windows")
def test_every_chosen_row_is_seen_once_an_epoch(tiny_data: PreparedData) -> None:
    groups = row_groups(tiny_data, "train", ROWS)
    windows = epoch_windows(groups, 0, 0)
    assert len(windows) > 2
    assert [w.start for w in windows] == [0, *np.cumsum([w.num_rows for w in windows])[:-1]]
    assert [w.number for w in windows] == list(range(len(windows)))
    assert all(w.num_rows >= 30 for w in windows[:-1])
    assert sorted(epoch_order(groups, 0, 0)) == ROWS.tolist()


@pytest.mark.usefixtures("small_windows")
def test_seed_and_epoch_change_the_order(tiny_data: PreparedData) -> None:
    groups = row_groups(tiny_data, "train", ROWS)
    orders = [epoch_order(groups, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert epoch_order(groups, 0, 0) == orders[0]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert sum(a == b for a, b in zip(orders[one], orders[other], strict=True)) < 20
    assert orders[0] != sorted(orders[0])


def test_rows_are_mixed_over_row_groups_within_a_window(
    tiny_data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of 16 rows spans more than the one row group that a shuffle within groups alone would give it."""
    monkeypatch.setattr(order, "WINDOW_ROWS", 100)
    groups = row_groups(tiny_data, "train", np.arange(200))
    place = {i: n for n, g in enumerate(groups) for i in (g.rows + _first_row(g)).tolist()}
    steps = np.array(epoch_order(groups, 0, 0))[:192].reshape(-1, 16)
    assert np.mean([len({place[i] for i in step}) > 1 for step in steps]) > 0.9


def test_windows_of_one_size_are_permuted_each_in_its_own_way(tiny_data: PreparedData) -> None:
    groups = tuple(row_groups(tiny_data, "train", np.arange(32)))
    first, second = (within_window(Window(32 * number, number, groups), 0, 0) for number in (0, 1))
    assert sorted(first) == sorted(second) == list(range(32))
    assert first.tolist() != second.tolist()


def _first_row(group: RowGroup) -> int:
    return int(pq.ParquetFile(group.file).read_row_group(group.index)["row"][0].as_py())


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_global_batch_is_the_same_for_any_share(workers: int, accumulation: int) -> None:
    """Shares put back in order of micro-step, then rank, are the positions of the batch in order."""
    positions = np.arange(3 * 24)
    shares = [Share(24, workers, rank, accumulation) for rank in range(workers)]
    mine = [positions[share.mine(positions)] for share in shares]
    assert {share.micro_batch for share in shares} == {24 // workers // accumulation}
    assert sorted(np.concatenate(mine)) == positions.tolist()
    micro = [rows.reshape(3, accumulation, -1) for rows in mine]
    assert np.concatenate(micro, axis=2).ravel().tolist() == positions.tolist()


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (
            (33, 2, 0, 2),
            r"33 impressions cannot be cut evenly for 2 worker\(s\) × 2 .*: use a multiple of 4, such as 32",
        ),
        ((1, 4, 0, 1), "use a multiple of 4, such as 4"),
        ((0, 1, 0, 1), "use a multiple of 1, such as 1"),
    ],
)
def test_a_batch_that_cannot_be_cut_evenly_is_refused(share: tuple[int, int, int, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Share(*share)


def test_validation_is_the_end_of_train_in_time(tiny_data: PreparedData) -> None:
    fitting, validation = fitting_and_validation(tiny_data, DataConfig(validation_share=0.2))
    times = tiny_data.impressions("train")["time"].cast("int64").to_numpy()
    assert (len(fitting), len(validation)) == (160, 40)
    assert sorted([*fitting, *validation]) == list(range(200))
    assert times[fitting].max() < times[validation].min()
    for rows in (fitting, validation):
        assert (np.diff(rows) > 0).all()
    assert validation.min() < 100, "the end of the file is not the end in time here"


def test_a_cap_takes_fitting_rows_evenly_over_time_and_leaves_validation(tiny_data: PreparedData) -> None:
    config = DataConfig(validation_share=0.2)
    fitting, validation = fitting_and_validation(tiny_data, config)
    capped, same = fitting_and_validation(tiny_data, dataclasses.replace(config, train_impressions=41))
    times = tiny_data.impressions("train")["time"].cast("int64").to_numpy()
    rank_in_time = np.searchsorted(np.sort(times[fitting]), np.sort(times[capped]))
    assert np.array_equal(same, validation)
    assert len(capped) == 41
    assert set(capped) <= set(fitting)
    assert rank_in_time[0] == 0
    assert rank_in_time[-1] == 159
    assert set(np.diff(rank_in_time)) <= {3, 4, 5}
    uncapped, _ = fitting_and_validation(tiny_data, dataclasses.replace(config, train_impressions=1_000))
    assert np.array_equal(uncapped, fitting)


def made(path: Path, num: int, labelled: bool = True) -> PreparedData:
    """A train split without times."""
    lists = pa.array([[0]] * num, pa.list_(pa.int32()))
    columns = {name: [str(i) for i in range(num)] for name in ("impression_id", "user_id")}
    labels = pa.array([[1] if labelled else None] * num, pa.list_(pa.int8()))
    no_signs, no_times = pa.nulls(num, pa.list_(pa.int8())), pa.nulls(num, pa.timestamp("s"))
    more = {"history": lists, "candidates": lists, "labels": labels, "feedback": no_signs, "time": no_times}
    with DatasetWriter(path, "made") as writer:
        writer.write_impressions("train", pa.table(columns | more))
    return open_prepared(path)


def test_rows_without_times_keep_the_order_of_the_file(tmp_path: Path) -> None:
    fitting, validation = fitting_and_validation(made(tmp_path / "made", 20), DataConfig(validation_share=0.25))
    assert fitting.tolist() == list(range(15))
    assert validation.tolist() == list(range(15, 20))


@pytest.mark.parametrize(("share", "left"), [(0.0, 0), (0.01, 0), (1.0, 20), (0.99, 20)])
def test_a_cut_that_leaves_a_side_empty_is_refused(tmp_path: Path, share: float, left: int) -> None:
    with pytest.raises(ValueError, match=f"validation_share {share} of 20 train impressions leaves {left} to validate"):
        fitting_and_validation(made(tmp_path / "made", 20), DataConfig(validation_share=share))


def test_a_train_split_without_labels_is_refused(tmp_path: Path) -> None:
    data = made(tmp_path / "made", 20, labelled=False)
    assert json.loads((data.path / "meta.json").read_text())["splits"]["train"]["has_labels"] is False
    with pytest.raises(ValueError, match="The train split of 'made' has no labels"):
        fitting_and_validation(data, DataConfig())


def test_each_part_of_a_join_is_cut_at_its_own_end(
    tmp_path: Path, tiny_data: PreparedData, signed_data: PreparedData
) -> None:
    """Else the data set with the latest dates would be all of the validation part."""
    parts = join([tiny_data, signed_data], tmp_path / "both", "both")
    config = DataConfig(validation_share=0.2)
    fitting, validation = fitting_and_validation(parts, config)
    assert sorted([*fitting, *validation]) == list(range(parts.num_impressions("train")))
    codes = impression_domains(parts, "train")
    times = parts.impressions("train", ["time"])["time"].cast("int64").to_numpy()
    for code in np.unique(codes):
        mine = times[codes == code]
        late = times[validation[codes[validation] == code]]
        assert len(late) == round(0.2 * len(mine))
        assert sorted(late) == sorted(mine)[-len(late) :]
