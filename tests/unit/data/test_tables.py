"""The prepared folder: what is written is read back, its fingerprint is of the content, and it is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastelab.data import tables
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared
from tastelab.schema import IMPRESSIONS, ITEMS


def items(num: int = 3, **changed: Any) -> pa.Table:
    texts = {name: [f"{name} {i}" for i in range(num)] for name in ("title", "abstract", "body", "category")}
    more = {"subcategory": [""] * num, "entities": [""] * num, "created": [None] * num, "has_text": [True] * num}
    return pa.table({"item_id": [f"N{i}" for i in range(num)], **texts, **more, **changed}).cast(ITEMS)


def impressions(num: int = 7, labelled: bool = True, **changed: Any) -> pa.Table:
    columns = {
        "impression_id": [str(i) for i in range(num)],
        "user_id": [f"U{i % 3}" for i in range(num)],
        "time": [None if i == 2 else 1_000 + i for i in range(num)],
        "history": [[0, 1, 2][: i % 4] for i in range(num)],
        "feedback": [None if i % 2 else [1, -1, 1][: i % 4] for i in range(num)],
        "candidates": [[2, 0] if i % 3 else [1] for i in range(num)],
        "labels": [([0, 1] if i % 3 else [1]) if labelled else None for i in range(num)],
    } | changed
    kinds = {field.name: field.type for field in IMPRESSIONS}
    return pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., PreparedData]:
    """Write a data set from lists of impression tables per split."""

    def write(name: str = "made", item_table: pa.Table | None = None, **splits: list[pa.Table]) -> PreparedData:
        with DatasetWriter(tmp_path / name, "made", source="a test") as writer:
            writer.write_items(items() if item_table is None else item_table)
            for split, parts in (splits or {"train": [impressions()]}).items():
                for part in parts:
                    writer.write_impressions(split, part)
        return open_prepared(tmp_path / name)

    return write


def test_what_is_written_is_read_back(write: Callable[..., PreparedData]) -> None:
    data = write(train=[impressions()], test=[impressions(4, labelled=False)])
    assert data.items().cast(ITEMS).equals(items())
    read = data.impressions("train")
    assert read.column("row").to_pylist() == list(range(7))
    assert read.select(impressions().column_names).to_pylist() == impressions().to_pylist()
    assert read.column_names == IMPRESSIONS.names
    assert (data.name, data.num_items, data.splits) == ("made", 3, ("test", "train"))
    assert (data.num_impressions("train"), data.num_impressions("test")) == (7, 4)
    assert (data.has_labels("train"), data.has_labels("test")) == (True, False)
    assert data.meta["source"] == "a test"


def test_rows_go_on_over_parts_and_files(write: Callable[..., PreparedData], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_FILE", 4)
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 3)
    whole = impressions(11)
    data = write(train=[whole.slice(0, 1), whole.slice(1, 9), whole.slice(10)])
    assert [pq.read_metadata(file).num_rows for file in data.files("train")] == [4, 4, 3]
    groups = pq.read_metadata(data.files("train")[0])
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [3, 1]
    read = data.impressions("train")
    assert read["row"].to_pylist() == list(range(11))
    assert read.select(whole.column_names).to_pylist() == whole.to_pylist()


def test_a_split_without_impressions_is_there_and_empty(write: Callable[..., PreparedData]) -> None:
    data = write(train=[impressions(0)])
    assert data.num_impressions("train") == 0
    assert not data.has_labels("train")
    assert data.impressions("train").num_rows == 0


def test_the_fingerprint_is_of_the_content_not_of_the_chunks(write: Callable[..., PreparedData]) -> None:
    whole = impressions(7)
    one = write("one", train=[whole]).fingerprint
    assert write("parts", train=[whole.slice(0, 3), whole.slice(3)]).fingerprint == one
    sliced = pa.concat_tables([impressions(2), whole]).slice(2)
    assert write("sliced", train=[sliced]).fingerprint == one


@pytest.mark.parametrize(
    "changed",
    [
        {"impression_id": [str(i) for i in range(1, 8)]},
        {"user_id": ["U"] * 7},
        {"time": list(range(7))},
        {"history": [[0]] * 7},
        {"feedback": [None] * 7},
        {"candidates": [[0, 1] if i % 3 else [1] for i in range(7)]},
        {"labels": [[1, 0] if i % 3 else [1] for i in range(7)]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_any_change_of_an_impression_changes_the_fingerprint(
    write: Callable[..., PreparedData], changed: dict[str, Any]
) -> None:
    assert write("other", train=[impressions(**changed)]).fingerprint != write("one").fingerprint


def test_any_change_of_an_item_changes_the_fingerprint(write: Callable[..., PreparedData]) -> None:
    same = write("one").fingerprint
    others = [
        items(title=["title 0", "title 1", "titel 2"]),
        items(title=["title 0t", "itle 1", "title 2"]),  # the same letters, cut elsewhere
        items(has_text=[True, True, False]),
        items(created=[None, 5, None]),
    ]
    found = [write(f"other-{i}", item_table=table).fingerprint for i, table in enumerate(others)]
    assert len({same, *found}) == 5


def test_splits_enter_the_fingerprint_by_name(write: Callable[..., PreparedData]) -> None:
    assert write("one", train=[impressions()]).fingerprint != write("two", dev=[impressions()]).fingerprint


def test_nothing_appears_when_writing_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with DatasetWriter(tmp_path / "made", "made") as writer:
            writer.write_items(items())
            writer.write_impressions("train", impressions())
            raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_earlier_data_set(write: Callable[..., PreparedData], tmp_path: Path) -> None:
    before = write().fingerprint

    def fail() -> None:
        with DatasetWriter(tmp_path / "made", "made") as writer:
            writer.write_items(items(2))
            raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError):
        fail()
    assert open_prepared(tmp_path / "made").fingerprint == before
    assert write(train=[impressions(3)]).num_impressions("train") == 3


def test_further_files_belong_to_the_folder(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "made", "made") as writer:
        writer.write_items(items())
        writer.file("malformed.tsv").write_text("line 3\n")
    assert (tmp_path / "made" / "malformed.tsv").read_text() == "line 3\n"


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no prepared data set: run `tastelab data prepare`"):
        open_prepared(tmp_path)


def test_another_format_is_refused(write: Callable[..., PreparedData]) -> None:
    meta = write().path / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"format": 0}))
    with pytest.raises(ValueError, match="was prepared in format 0, not 1: prepare it again"):
        open_prepared(meta.parent)


def test_an_unknown_split_lists_the_known(tiny_data: PreparedData) -> None:
    for ask in (tiny_data.num_impressions, tiny_data.has_labels, tiny_data.files, tiny_data.impressions):
        with pytest.raises(ValueError, match="'tiny' has no split 'validation': it holds dev, train"):
            ask("validation")
