"""The pipeline without Ray: windows, sampled, dealt out to workers, padded, are the batches of the order they name."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch

from tastelab.data import order, stream
from tastelab.data.collate import collate_sampled
from tastelab.data.order import Share, epoch_windows, fitting_and_validation
from tastelab.data.stream import Collate, ImpressionDatasource, Pipeline
from tastelab.data.tokens import open_store
from tastelab.schema import Batch
from tastelab.training.job import Job
from tastelab.training.local import LocalSession

MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows an epoch, several blocks a window."""
    monkeypatch.setattr(order, "WINDOW_ROWS", 40)
    monkeypatch.setattr(stream, "BLOCK_ROWS", 7)


def rows_of(pipeline: Pipeline, epoch: int, share: Share) -> pa.Table:
    """All sampled rows of one worker's epoch, as the read tasks give them."""
    tasks = ImpressionDatasource(pipeline, epoch, share).get_read_tasks(1)
    return pa.concat_tables([block for task in tasks for block in task()])


def assert_equal(ours: Batch, theirs: Batch) -> None:
    for field in dataclasses.fields(Batch):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        assert (a is None and b is None) or torch.equal(a, b), field.name


def micro_batches(job: Job, epoch: int, share: Share) -> Iterator[Batch]:
    table, store = rows_of(job.pipeline(), epoch, share), open_store(job.store_path)
    for start in range(0, len(table), share.micro_batch):
        yield collate_sampled(store, table.slice(start, share.micro_batch))


@pytest.mark.parametrize("epoch", [0, 1])
def test_read_tasks_and_the_local_session_give_the_same_batches(job: Job, epoch: int) -> None:
    ours = list(LocalSession(job).batches(epoch))
    theirs = list(micro_batches(job, epoch, job.share(1, 0)))
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert_equal(a, b)


def test_an_epoch_holds_every_fitting_row_once_then_padding(job: Job) -> None:
    pipeline = job.pipeline()
    fitting, _ = fitting_and_validation(job.open_data(), job.config.data)
    assert len(epoch_windows(list(pipeline.groups), 0, 0)) > 2
    rows = rows_of(pipeline, 0, job.share(1, 0))["row"].to_numpy()
    assert pipeline.num_rows == 160
    assert sorted(rows[:160]) == fitting.tolist()
    assert rows[160:].tolist() == [-1] * 32
    assert rows[:160].tolist() != rows_of(pipeline, 1, job.share(1, 0))["row"].to_pylist()[:160]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_global_batches_are_the_same_for_any_number_of_workers(
    make_job: MakeJob, workers: int, accumulation: int
) -> None:
    """Every column, draws included: shares put in order of micro-step, then rank, are what one worker sees."""
    pipeline = make_job().pipeline()
    whole = rows_of(pipeline, 0, Share(48))
    shares = [Share(48, workers, rank, accumulation) for rank in range(workers)]
    parts = [rows_of(pipeline, 0, share) for share in shares]
    micro = 48 // workers // accumulation
    assert [len(part) for part in parts] == [192 // workers] * workers
    joined = pa.concat_tables([part.slice(m * micro, micro) for m in range(4 * accumulation) for part in parts])
    assert joined.to_pylist() == whole.to_pylist()


def test_padding_fills_every_workers_part_of_the_last_batch(job: Job) -> None:
    pipeline = job.pipeline()  # 160 rows: 3 batches of 48 and 16 rows
    assert [pipeline.padding(Share(48, 2, rank)) for rank in range(2)] == [8, 24]
    assert [pipeline.padding(Share(48, 2, rank, 2)) for rank in range(2)] == [12, 20]
    assert pipeline.padding(Share(40, 2, 1)) == 0
    assert pipeline.padding(Share(500)) == 340


def test_sampled_rows_hold_what_the_impression_holds(job: Job) -> None:
    pipeline = job.pipeline()
    impressions = {row["row"]: row for row in job.open_data().impressions("train").to_pylist()}
    checked = 0
    for row in rows_of(pipeline, 0, Share(48)).to_pylist():
        if row["row"] < 0:
            assert (row["history"], row["feedback"], sum(row["mask"])) == ([], None, 0)
            continue
        whole = impressions[row["row"]]
        assert row["history"] == whole["history"][-5:]
        assert row["feedback"] == (None if whole["feedback"] is None else whole["feedback"][-5:])
        labels = dict(zip(whole["candidates"], whole["labels"], strict=True))
        drawn = [(i, y) for i, y, real in zip(row["candidates"], row["labels"], row["mask"], strict=True) if real]
        assert [y for _, y in drawn] == sorted((labels[i] for i, _ in drawn), reverse=True)
        assert sum(y for _, y in drawn) == min(2, sum(whole["labels"]))
        negatives = len(whole["labels"]) - sum(whole["labels"])
        assert len(drawn) == min(6, min(2, sum(whole["labels"])) + negatives)
        checked += 1
    assert checked == 160


def test_a_row_draws_alike_whatever_stands_around_it(job: Job) -> None:
    """The same rows in another pipeline, of half the impressions."""
    pipeline = job.pipeline()
    half = dataclasses.replace(pipeline, groups=pipeline.groups[::2])
    of_whole = {row["row"]: row for row in rows_of(pipeline, 0, Share(48)).to_pylist()}
    of_half = {row["row"]: row for row in rows_of(half, 0, Share(48)).to_pylist()}
    assert 50 < len(of_half) < len(of_whole)
    assert all(row == of_whole[name] for name, row in of_half.items())


@pytest.mark.parametrize(("loss", "most"), [("mince", 2), ("infonce", 1)])
def test_a_loss_of_one_positive_has_one_sampled(make_job: MakeJob, loss: str, most: int) -> None:
    from tastelab.config import Loss

    pipeline = make_job({"objective.loss": Loss.named(loss)}).pipeline()
    labels = rows_of(pipeline, 0, Share(48))["labels"].to_pylist()
    assert max(map(sum, labels)) == most


def test_a_read_task_carries_its_window_not_the_plan(job: Job) -> None:
    source = ImpressionDatasource(job.pipeline(), 0, Share(48))
    tasks = source.get_read_tasks(100)
    assert len(tasks) == len(source.windows)
    assert sum(len(block) for block in tasks[0]()) == source.windows[0].num_rows
    assert source.estimate_inmemory_data_size() > 0


def test_collate_opens_the_store_on_the_other_side(job: Job) -> None:
    collator = Collate(job.store_path)
    table = rows_of(job.pipeline(), 0, Share(48)).slice(0, 8)
    batch = collator(table)
    assert_equal(batch, collate_sampled(open_store(job.store_path), table))
    travelled = pickle.dumps(collator)
    assert len(travelled) < 1_000
    assert_equal(pickle.loads(travelled)(table), batch)


def test_draws_differ_between_epochs_for_the_same_row(job: Job) -> None:
    epochs = [
        {row["row"]: row["candidates"] for row in rows_of(job.pipeline(), epoch, Share(48)).to_pylist()}
        for epoch in (0, 1)
    ]
    assert np.mean([epochs[0][row] != epochs[1][row] for row in epochs[0]]) > 0.5
