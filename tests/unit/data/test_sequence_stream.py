"""The pipeline of clicks without Ray: every fitting click once, the same steps for any number of workers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.config import DataConfig
from tastelab.data import order, sequence_stream, sequences
from tastelab.data.clicks import examples_of, fitting_and_validation_clicks
from tastelab.data.order import Share, epoch_windows
from tastelab.data.sequence_stream import SequenceDatasource, SequencePipeline, sequence_pipeline
from tastelab.data.sequences import Sequences, open_sequences, prepare_sequences, write_sequences
from tastelab.data.tables import PreparedData
from tastelab.schema import UNKNOWN_TIME

GLOBAL_BATCH, MAX_HISTORY = 12, 4
MODES = ("each", "window")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several row groups a window, several windows an epoch, several blocks a window."""
    monkeypatch.setattr(order, "WINDOW_ROWS", 30)
    monkeypatch.setattr(sequence_stream, "BLOCK_ROWS", 7)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequences:
    """Sequences of 25 users with 0 to 14 clicks of train and dev, some undated, with dwell times."""
    monkeypatch.setattr(sequences, "ROWS_PER_GROUP", 16)
    monkeypatch.setattr(sequences, "GROUPS_PER_FILE", 3)
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 15, 25)
    total = int(lengths.sum())
    found = Sequences(
        tmp_path,
        pa.array([f"u{u}" for u in range(25)]),
        np.cumsum([0, *lengths]).astype(np.int64),
        rng.integers(0, 40, total).astype(np.int32),
        np.where(rng.random(total) < 0.2, UNKNOWN_TIME, np.arange(total)),
        rng.choice([0, 0, 0, 1], total).astype(np.int8),
        np.full(total, -1, np.int32),
        rng.random(total).astype(np.float32),
    )
    write_sequences(tmp_path, found)
    return open_sequences(tmp_path)


@pytest.fixture
def fitting(written: Sequences) -> np.ndarray:
    """Two thirds of the clicks of train that have a history."""
    whole, _ = fitting_and_validation_clicks(written, DataConfig(validation_share=0.02))
    return whole[np.arange(len(whole)) % 3 != 1]


def rows_of(pipeline: SequencePipeline, epoch: int, share: Share) -> pa.Table:
    """All rows of one worker's epoch, as the read tasks give them."""
    tasks = SequenceDatasource(pipeline, epoch, share).get_read_tasks(1)
    return pa.concat_tables([block for task in tasks for block in task()])


def built(written: Sequences, rows: np.ndarray, mode: str) -> SequencePipeline:
    return sequence_pipeline(written, rows, MAX_HISTORY, seed=3, targets=mode)


def targets_of(written: Sequences, table: pa.Table) -> list[int]:
    """Rows of all targets of a table: a slot's click stands as far before the last as among the user's train clicks."""
    train = np.flatnonzero(written.splits == 0)
    found = []
    for row, flags in zip(table["row"].to_pylist(), table["targets"].to_pylist(), strict=True):
        place = int(np.searchsorted(train, row))
        found += [int(train[place - len(flags) + 1 + slot]) for slot, flag in enumerate(flags) if flag]
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_fitting_click_is_a_target_once(written: Sequences, fitting: np.ndarray, mode: str, epoch: int) -> None:
    pipeline = built(written, fitting, mode)
    assert len(epoch_windows(list(pipeline.groups), 3, 0)) > (2 if mode == "each" else 0)
    table = rows_of(pipeline, epoch, Share(GLOBAL_BATCH))
    real = table.slice(0, pipeline.num_rows)
    assert sorted(targets_of(written, real)) == fitting.tolist()
    assert pipeline.num_targets == len(fitting)
    assert len(table) % GLOBAL_BATCH == 0 and len(table) - len(real) == pipeline.padding(Share(GLOBAL_BATCH))
    padding = table.slice(pipeline.num_rows)
    assert set(padding["row"].to_pylist()) <= {-1} and not any(padding["clicks"].to_pylist())
    assert table["step"].to_pylist() == [place // GLOBAL_BATCH for place in range(len(table))]


def test_an_epoch_has_an_order_of_its_own(written: Sequences, fitting: np.ndarray) -> None:
    pipeline = built(written, fitting, "each")
    first, again, second = (rows_of(pipeline, epoch, Share(GLOBAL_BATCH))["row"].to_pylist() for epoch in (0, 0, 1))
    assert first == again != second and sorted(first) == sorted(second)
    users = written.users_of(np.array(first[:GLOBAL_BATCH]))
    assert len(set(users.tolist())) > 3  # single clicks are shuffled, not users


def test_each_click_comes_with_the_history_of_its_example(written: Sequences, fitting: np.ndarray) -> None:
    rows = rows_of(built(written, fitting, "each"), 0, Share(1)).to_pylist()
    assert rows
    for row in rows:
        example = examples_of(written, np.array([row["row"]]), MAX_HISTORY)
        assert row["clicks"] == [*example.history_NH[0].tolist(), example.targets_N[0]]
        assert row["times"] == [*example.times_NH[0].tolist(), example.target_times_N[0]]
        assert example.dwell_NH is not None
        assert row["dwell"][:-1] == example.dwell_NH[0].tolist()
        assert row["targets"] == [0] * (len(row["clicks"]) - 1) + [1]
        assert row["user"] == example.users_N[0]


def test_windows_cut_the_clicks_of_a_user_by_hand(tmp_path: Path) -> None:
    lengths, train = [12, 1, 3], [0] * 16
    found = Sequences(
        tmp_path,
        pa.array(["a", "b", "c"]),
        np.cumsum([0, *lengths]).astype(np.int64),
        np.arange(100, 116, dtype=np.int32),
        np.full(16, UNKNOWN_TIME),
        np.array(train, np.int8),
        np.full(16, -1, np.int32),
    )
    write_sequences(tmp_path, found)
    pipeline = built(open_sequences(tmp_path), np.array([1, 3, 9, 10, 14, 15]), "window")
    rows = {row["row"]: row for row in rows_of(pipeline, 0, Share(1)).to_pylist()}
    # Stretches of user a: 0 | 1 2 3 4, 4 | 5 6 7 8 (no target), 8 | 9 10 11; each ends with its last target.
    assert {row: (values["clicks"], values["targets"]) for row, values in rows.items()} == {
        3: ([100, 101, 102, 103], [0, 1, 0, 1]),
        10: ([108, 109, 110], [0, 1, 1]),
        15: ([113, 114, 115], [0, 1, 1]),
    }
    assert all(values["times"] is None and values["dwell"] is None for values in rows.values())
    assert (pipeline.num_rows, pipeline.num_targets) == (3, 6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_global_batches_are_the_same_for_any_number_of_workers(
    written: Sequences, fitting: np.ndarray, mode: str, workers: int, accumulation: int
) -> None:
    pipeline = built(written, fitting, mode)
    alone = rows_of(pipeline, 1, Share(GLOBAL_BATCH))
    shares = [Share(GLOBAL_BATCH, workers, rank, accumulation) for rank in range(workers)]
    parts = [rows_of(pipeline, 1, share) for share in shares]
    size = shares[0].micro_batch
    together: list[Any] = []
    for start in range(0, len(parts[0]), size):
        for part in parts:
            micro = part.slice(start, size)
            assert len(micro) == size and len(set(micro["step"].to_pylist())) == 1
            together += micro.to_pylist()
    assert together == alone.to_pylist()


@pytest.mark.parametrize("mode", MODES)
def test_read_tasks_travel_light(written: Sequences, fitting: np.ndarray, mode: str) -> None:
    pipeline = built(written, fitting, mode)
    [task, *_] = SequenceDatasource(pipeline, 0, Share(GLOBAL_BATCH)).get_read_tasks(1)
    closed_over = [cell.cell_contents for cell in task._read_fn.__closure__]
    assert [cell.groups for cell in closed_over if isinstance(cell, SequencePipeline)] == [()]
    assert pickle.loads(pickle.dumps(pipeline)).num_rows == pipeline.num_rows


@pytest.mark.parametrize("fixture", ["tiny_data", "signed_data"])
def test_prepared_data_stream_without_dev(fixture: str, request: pytest.FixtureRequest) -> None:
    data: PreparedData = request.getfixturevalue(fixture)
    found = prepare_sequences(data)
    rows, validation = fitting_and_validation_clicks(found, DataConfig())
    for mode in MODES:
        table = rows_of(sequence_pipeline(found, rows, 5, 0, mode), 0, Share(1))
        assert sorted(targets_of(found, table)) == rows.tolist()
        hidden = set(validation.tolist()) | set(np.flatnonzero(found.splits != 0).tolist())
        assert not hidden & set(table["row"].to_pylist())


def test_what_no_epoch_can_be_made_of(written: Sequences, fitting: np.ndarray) -> None:
    with pytest.raises(ValueError, match="No click is left to train on"):
        sequence_pipeline(written, fitting[:0], 4, 0)
    with pytest.raises(ValueError, match="no targets 'all': choose among each, window"):
        sequence_pipeline(written, fitting, 4, 0, "all")
    with pytest.raises(ValueError, match="max_history is 0"):
        sequence_pipeline(written, fitting, 0, 0)
