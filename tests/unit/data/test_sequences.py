"""Sequences against a slow reading of the rule, user by user, and by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastelab.data import merging, sequences, tables
from tastelab.data.sequences import Sequences, open_sequences, prepare_sequences
from tastelab.data.tables import PreparedData, open_prepared
from tastelab.schema import SPLITS, UNKNOWN_TIME

Write = Callable[..., PreparedData]
Impression = tuple[str, int | None, list[int], list[int]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Function that writes (user, time, history, positives) of each split; candidates are the positives and item 0."""

    def build(num_items: int = 20, **splits: Sequence[Impression]) -> PreparedData:
        folder = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        names = [f"N{row}" for row in range(num_items)]
        empty = {
            name: [""] * num_items for name in ("title", "abstract", "body", "category", "subcategory", "entities")
        }
        facts = {"created": pa.nulls(num_items, pa.timestamp("s")), "has_text": [False] * num_items}
        with tables.DatasetWriter(folder, "written") as writer:
            writer.write_items(pa.table({"item_id": names} | empty | facts))
            for split, rows in splits.items():
                writer.write_impressions(split, _table(rows))
        return open_prepared(folder)

    return build


def _table(rows: Sequence[Impression]) -> pa.Table:
    users, times, histories, positives = zip(*rows, strict=True)
    return pa.table(
        {
            "impression_id": [str(row) for row in range(len(rows))],
            "user_id": list(users),
            "time": pa.array(times, pa.timestamp("s")),
            "history": pa.array(histories, pa.list_(pa.int32())),
            "feedback": pa.nulls(len(rows), pa.list_(pa.int8())),
            "candidates": pa.array([[*clicked, 0] for clicked in positives], pa.list_(pa.int32())),
            "labels": pa.array([[*[1] * len(clicked), 0] for clicked in positives], pa.list_(pa.int8())),
        }
    )


def clicks(found: Sequences, user: str) -> list[tuple[int, int | None, int]]:
    """(item, time, split) of a user's clicks."""
    u = found.users.to_pylist().index(user)
    these = slice(int(found.offsets[u]), int(found.offsets[u + 1]))
    times = [None if time == UNKNOWN_TIME else time for time in found.times[these].tolist()]
    return list(zip(found.items[these].tolist(), times, found.splits[these].tolist(), strict=True))


def slowly(data: PreparedData) -> dict[str, list[tuple[int, int, int]]]:
    """The rule in plain Python: (item, time, split) of each user's clicks."""
    of_user: dict[str, list[dict[str, Any]]] = {}
    for level, split in enumerate(SPLITS):
        if split in data.splits:
            times = data.impressions(split, ["time"])["time"].cast(pa.timestamp("s")).cast("int64").to_pylist()
            for time, row in zip(times, data.impressions(split).to_pylist(), strict=True):
                signs = row["feedback"] or [1] * len(row["history"])
                liked = [item for item, sign in zip(row["history"], signs, strict=True) if sign > 0]
                clicked = [i for i, label in zip(row["candidates"], row["labels"] or [], strict=False) if label == 1]
                event = {"time": time, "level": level, "history": liked, "clicked": clicked}
                of_user.setdefault(row["user_id"], []).append(event)
    return {user: _slowly(sorted(events, key=lambda event: event["time"])) for user, events in of_user.items()}


def _slowly(events: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    told: list[list[int]] = []
    for number, event in enumerate(events):
        added = []
        for item in event["history"]:
            if number == 0 or all(item != known[0] for known in told + added):
                first = min(e["level"] for e in events if item in e["history"])
                added.append([item, UNKNOWN_TIME, (0, 3, 4)[first]])
        tail, told = added[-len(event["clicked"]) :] if event["clicked"] else [], told + added
        for item in event["clicked"]:
            if same := [known for known in tail if known[0] == item]:
                same[-1][1:] = [event["time"], event["level"]]
            else:
                told.append([item, event["time"], event["level"]])
    return [(item, time, split) for item, time, split in told]


@pytest.mark.parametrize("fixture", ["tiny_data", "signed_data"])
@pytest.mark.parametrize("block", [40, 4_000_000])
def test_the_merge_is_that_of_the_slow_rule(
    fixture: str, block: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(merging, "BLOCK_SLOTS", block)
    data = request.getfixturevalue(fixture)
    folder = tmp_path / "copy"
    folder.mkdir()
    for entry in data.path.iterdir():
        if entry.name != "sequences":
            (folder / entry.name).symlink_to(entry)
    found = prepare_sequences(open_prepared(folder))
    expected = slowly(data)
    assert set(found.users.to_pylist()) == set(expected)
    for user, theirs in expected.items():
        ours = [(item, UNKNOWN_TIME if time is None else time, split) for item, time, split in clicks(found, user)]
        assert ours == theirs, user


def test_later_histories_add_what_is_new_before_the_positives_of_their_impression(write: Write) -> None:
    data = write(
        train=[("a", 30, [1, 2, 3, 7], [8, 9]), ("b", 5, [], []), ("a", 10, [1, 2, 1], [3, 4])],
        dev=[("a", 50, [1, 2, 3, 4, 7, 8, 9, 6], [2])],
    )
    found = prepare_sequences(data)
    unknown = [(1, None, 0), (2, None, 0), (1, None, 0)]
    later = [(3, 10, 0), (4, 10, 0), (7, None, 0), (8, 30, 0), (9, 30, 0)]
    assert clicks(found, "a") == [*unknown, *later, (6, None, 3), (2, 50, 1)]
    assert clicks(found, "b") == []
    assert found.impressions.tolist() == [-1, -1, -1, 2, 2, -1, 0, 0, -1, 3]
    assert found.num_users == 2 and found.num_clicks == 10 and found.has_times and not found.has_dwell


def test_a_positive_at_the_tail_of_its_own_history_is_one_click(write: Write) -> None:
    data = write(train=[("a", 10, [1], [2]), ("a", 20, [1, 2, 5, 6], [6, 5, 7]), ("a", 30, [8, 9], [8])])
    assert clicks(prepare_sequences(data), "a") == [
        (1, None, 0),
        (2, 10, 0),
        (5, 20, 0),
        (6, 20, 0),
        (7, 20, 0),
        (8, None, 0),  # not the last that is known before the click: clicked twice
        (9, None, 0),
        (8, 30, 0),
    ]


def test_a_click_of_dev_stays_one_whatever_later_train_histories_say(write: Write) -> None:
    data = write(train=[("a", 90, [1, 5], [6])], dev=[("a", 50, [1, 7], [5])])
    assert clicks(prepare_sequences(data), "a") == [(1, None, 0), (7, None, 3), (5, 50, 1), (6, 90, 0)]


def test_clicks_of_one_second_keep_the_order_of_the_file(write: Write) -> None:
    data = write(train=[("a", 10, [], [item]) for item in (9, 3, 7, 1)])
    assert [item for item, _, _ in clicks(prepare_sequences(data), "a")] == [9, 3, 7, 1]


def test_without_times_the_file_is_the_order(write: Write) -> None:
    data = write(train=[("a", None, [4], [9]), ("b", None, [], [1]), ("a", None, [4, 9], [2])])
    found = prepare_sequences(data)
    assert [item for item, _, _ in clicks(found, "a")] == [4, 9, 2]
    assert not found.has_times


def test_an_undated_impression_follows_all_of_its_user_before_it(write: Write) -> None:
    data = write(train=[("a", 90, [], [1]), ("a", 20, [], [2]), ("a", None, [], [3]), ("a", 95, [], [4])])
    assert [item for item, _, _ in clicks(prepare_sequences(data), "a")] == [2, 1, 3, 4]


def test_sequences_are_derived_once_and_again_for_other_data(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(train=[("a", 10, [4], [9])])
    first = prepare_sequences(data)
    with monkeypatch.context() as patch:
        patch.setattr(sequences, "read_logged", lambda data: pytest.fail("derived again"))
        again = prepare_sequences(data)
    assert again.items.tolist() == first.items.tolist() == open_sequences(first.path).items.tolist()
    other = PreparedData(data.path, {**data.meta, "fingerprint": "0" * 12})
    (first.path / "items.npy").unlink()
    assert prepare_sequences(other).items.tolist() == [4, 9]
    assert [entry.name for entry in data.path.iterdir() if "partial" in entry.name] == []


def test_training_reads_whole_users_in_small_groups_and_nothing_of_dev(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "ROWS_PER_GROUP", 10)
    monkeypatch.setattr(sequences, "GROUPS_PER_FILE", 2)
    rows = [(f"u{user}", 10 + user, [1, 2, 3][: user % 4], [4]) for user in range(30)]
    found = prepare_sequences(write(train=rows, dev=[("u3", 99, [], [7])]))
    files = sorted((found.path / "train").iterdir())
    groups = [
        pq.ParquetFile(file).read_row_group(i) for file in files for i in range(pq.read_metadata(file).num_row_groups)
    ]
    assert len(files) > 2 and all(pq.read_metadata(file).num_row_groups <= 2 for file in files)
    assert all(len(group) <= 10 + 4 for group in groups)
    users = [set(group["user"].to_pylist()) for group in groups]
    assert sum(map(len, users)) == len(set().union(*users)) == 30
    table = pa.concat_tables(groups)
    assert table["row"].to_pylist() == np.flatnonzero(found.splits == 0).tolist()
    assert table["item"].to_pylist() == found.items[found.splits == 0].tolist()
