"""MIND's files against a slow reader, with everything that real and damaged files hold."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tastelab.data import mind_blocks
from tastelab.data.mind import prepare
from tastelab.data.tables import PreparedData

NEWS = 'N1\tnews\tworld\tA "quoted" title\tAn abstract\thttps://x/1\t[]\t[]\n'
NEWS += "N2\tsports\tgolf\tTitle two\t\thttps://x/2\n"
BEHAVIORS = "1\tU1\t11/15/2019 9:55:12 AM\tN1 N2\tN1-1 N2-0\n2\tU2\t11/15/2019 12:05:00 PM\t\tN2-1 N1-0\n"


def write(folder: Path, behaviors: str | bytes, news: str | bytes = NEWS, split: str = "train") -> Path:
    (folder / split).mkdir(parents=True, exist_ok=True)
    for name, text in (("news", news), ("behaviors", behaviors)):
        (folder / split / f"{name}.tsv").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def run(folder: Path, target: str = "out", **options: Any) -> PreparedData:
    return prepare(folder, folder.parent / target, progress=False, **options)


def quarantined(data: PreparedData) -> list[list[str]]:
    lines = (data.path / "quarantine.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["split", "file", "line", "reason", "text"]
    return [line.split("\t") for line in lines[1:]]


def test_real_sample_has_the_published_sizes(test_data: Path, tmp_path: Path) -> None:
    data = prepare(test_data / "mix_sample", tmp_path / "out", progress=False)
    assert (data.num_items, data.num_impressions("train"), data.num_impressions("dev")) == (1807, 3575, 895)
    for split in ("train", "dev"):
        table = data.impressions(split)
        labels = np.array(table["labels"].to_pylist())
        assert labels.shape[1] == 16 and (labels.sum(axis=1) == 1).all()
        expected = slow_reader(test_data / "mix_sample" / split)
        ids = data.items(["item_id"])["item_id"].to_pylist()
        assert as_ids(table.to_pylist(), ids) == expected
    assert data.meta["quarantine"]["reasons"] == {} and data.meta["num_items_unknown"] == 0


def slow_reader(folder: Path) -> list[dict[str, Any]]:
    """Read a behaviors file as its format says, line by line."""
    impressions = []
    for line in (folder / "behaviors.tsv").read_text().splitlines():
        number, user, time, history, candidates = line.split("\t")
        shown = [token.rsplit("-", 1) if "-" in token else (token, None) for token in candidates.split()]
        impressions.append(
            {
                "impression_id": number,
                "user_id": user,
                "time": datetime.datetime.strptime(time, "%m/%d/%Y %I:%M:%S %p"),
                "history": history.split(),
                "candidates": [item for item, _ in shown],
                "labels": None if shown[0][1] is None else [int(label) for _, label in shown],
            }
        )
    return impressions


def as_ids(impressions: list[dict[str, Any]], ids: list[str]) -> list[dict[str, Any]]:
    assert [row.pop("row") for row in impressions] == list(range(len(impressions)))
    assert all(row.pop("feedback") is None for row in impressions)
    return [row | {key: [ids[i] for i in row[key]] for key in ("history", "candidates")} for row in impressions]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("block_bytes", [300, 2_000, 2**20])
def test_any_file_equals_the_slow_reader_at_any_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool, block_bytes: int
) -> None:
    monkeypatch.setattr(mind_blocks, "BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(block_bytes)
    pool = [f"N{number}" for number in range(30)] + [f"a-long-identifier-{number}" for number in range(9)] + ["ü-1"]
    lines = []
    for number in range(200):
        history = rng.choice(pool, rng.integers(0, 6)).tolist()
        shown = [
            f"{item}-{label}" if labelled else item.replace("-", "_")
            for item, label in zip(
                rng.choice(pool, rng.integers(1, 9)).tolist(), rng.integers(0, 2, 9).tolist(), strict=False
            )
        ]
        clock = f"{rng.integers(1, 13)}/{rng.integers(1, 29)}/2019 {rng.integers(1, 13)}:0{number % 10}:59 AM"
        lines.append(f"{number}\tU{number % 7}\t{clock}\t{' '.join(history)}\t{' '.join(shown)}\n")
    known = pool[:20] + pool[-2:]
    news = "".join(f"{item}\tc\ts\tTitle of {item}\t\turl\n" for item in known)
    raw = write(tmp_path / "raw", "".join(lines), news, "dev")
    data = run(raw, max_unknown_share=1.0)
    ids = data.items(["item_id"])["item_id"].to_pylist()
    assert as_ids(data.impressions("dev").to_pylist(), ids) == slow_reader(raw / "dev")
    assert data.has_labels("dev") is labelled
    unknown = [item for line in slow_reader(raw / "dev") for item in line["history"] + line["candidates"]]
    assert set(ids[len(known) :]) == set(unknown) - set(known)
    assert data.meta["num_items_named"] == len(set(unknown))


def test_items_keep_their_text_as_it_stands(tmp_path: Path) -> None:
    entities = '[{"Label": "Prince Philip", "Type": "P"}, {"Label": "Caf\\u00e9 \\"X\\"", "Type": "O"}]'
    news = (
        f'N1\tlifestyle\troyals\t"The Brands, 50\' Queen\tShop "now"\tu\t{entities}\t[{{"Label": "Prince Philip"}}]\n'
        "N2\thealth\tweight\tNo entities\t\thttps://x\n"
        'N3\thealth\tweight\tBroken entities\t\thttps://x\t[{"Label"\t[]\n'
    )
    data = run(write(tmp_path / "raw", "1\tU1\t1/2/2019 1:02:03 PM\tN3\tN1-1 N2-0\n", news))
    first, second, third = data.items().to_pylist()
    assert first == {
        "item_id": "N1", "category": "lifestyle", "subcategory": "royals", "title": '"The Brands, 50\' Queen',
        "abstract": 'Shop "now"', "body": "", "entities": 'Prince Philip, Café "X"', "created": None, "has_text": True,
    }  # fmt: skip
    assert second["abstract"] == second["entities"] == third["entities"] == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("\n", "\r\n").removesuffix("\r\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("N1 N2", " N1  N2 "),
    ],
    ids=["crlf", "bom", "no last newline", "crlf, no last newline", "blank lines", "more blanks"],
)
def test_line_ends_marks_and_blanks_change_nothing(tmp_path: Path, change: Any) -> None:
    plain = run(write(tmp_path / "plain", BEHAVIORS, NEWS))
    changed = run(write(tmp_path / "changed", change(BEHAVIORS), change(NEWS)), "out2")
    impressions = changed.impressions("train")
    assert impressions.equals(plain.impressions("train"))
    assert changed.items(["item_id", "category"]).equals(plain.items(["item_id", "category"]))
    assert impressions["history"].to_pylist() == [[0, 1], []]
    assert [time.hour for time in impressions["time"].to_pylist()] == [9, 12]


def test_items_of_all_splits_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", BEHAVIORS)
    write(
        raw,
        "7\tU9\t11/16/2019 12:00:01 AM\tN2\tN3 N1\n",
        NEWS.replace("Title two", "Later") + "N3\ta\tb\tT\tA\tu\n",
        "test",
    )
    data = run(raw)
    assert data.items(["title"])["title"].to_pylist() == ['A "quoted" title', "Title two", "T"]
    test = data.impressions("test").to_pylist()[0]
    assert (test["history"], test["candidates"], test["labels"], test["time"].hour) == ([1], [2, 0], None, 0)
    assert not data.has_labels("test") and data.has_labels("train")


BAD = {
    "1\tU1\t11/15/2019 9:55:12 AM\tN1": "truncated: 4 of 5 columns",
    "2\tU1": "truncated: 2 of 5 columns",
    "3\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 N2-0\tx\ty": "7 columns instead of 5",
    "4\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 N2-2": "label neither 0 nor 1",
    "5\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-10": "label neither 0 nor 1",
    "6\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 N2": "label neither 0 nor 1",
    "7\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 -1": "label neither 0 nor 1",
    "8\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 x": "label neither 0 nor 1",
    "100\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1": "duplicate impression id",
    "9\tU1\t15/11/2019 9:55:12 AM\tN1\tN1-1": "unparsable time",
    "10\tU1\t11/15/2019 13:55:12 PM\tN1\tN1-1": "unparsable time",
    "11\tU1\t2019-11-15 09:55:12\tN1\tN1-1": "unparsable time",
    "12\tU1\t11/15/2019 9:55:12 AM\tN1\t": "empty candidates",
    "13\tU1\t11/15/2019 9:55:12 AM\tN1\t ": "empty candidates",
    "14\tU\udcff\t11/15/2019 9:55:12 AM\tN1\tN1-1": "not UTF-8",
}


@pytest.mark.parametrize("block_bytes", [200, 2**20])
def test_malformed_lines_are_quarantined_with_place_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(mind_blocks, "BLOCK_BYTES", block_bytes)
    good = [f"{number}\tU1\t11/15/2019 9:55:12 AM\tN1\tN1-1 N2-0" for number in range(100, 130)]
    lines = [good[0], *(line for pair in zip(BAD, good[1:], strict=False) for line in pair), *good[len(BAD) + 1 :]]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    data = run(write(tmp_path / "raw", text), max_bad_share=0.5)
    assert data.impressions("train", ["impression_id"])["impression_id"].to_pylist() == [
        str(n) for n in range(100, 130)
    ]
    found = quarantined(data)
    assert [(int(number), reason) for _, _, number, reason, _ in found] == [
        (lines.index(line) + 1, reason) for line, reason in BAD.items()
    ]
    assert {(split, file) for split, file, *_ in found} == {("train", "train/behaviors.tsv")}
    assert found[0][-1] == next(iter(BAD)).replace("\t", "\\t") and "\\xff" in found[-1][-1]
    summary = data.meta["quarantine"]
    assert summary["files"]["train/behaviors.tsv"] == {"lines": 30 + len(BAD), "quarantined": len(BAD)}
    assert summary["reasons"]["label neither 0 nor 1"] == 5 and sum(summary["reasons"].values()) == len(BAD)
    assert data.num_items == 2  # ids of malformed lines are no items


def test_malformed_news_are_quarantined(tmp_path: Path) -> None:
    news = NEWS.encode() + b"N3\tc\ts\tT\n\tc\ts\tT\tA\tu\nN4\tc\ts\tT\tA\tu\te\nN5\tc\ts\t\xff\tA\tu\n"
    data = run(write(tmp_path / "raw", BEHAVIORS, news), max_bad_share=0.9)
    assert data.items(["item_id"])["item_id"].to_pylist() == ["N1", "N2"]
    assert [(int(row[2]), row[3]) for row in quarantined(data)] == [
        (3, "truncated: 4 of 6 columns"), (4, "empty id"), (5, "7 columns instead of 6 or 8"), (6, "not UTF-8"),
    ]  # fmt: skip


def test_too_many_malformed_lines_fail_and_leave_the_list(tmp_path: Path) -> None:
    lines = [f"{n}\tU\t11/15/2019 9:55:12 AM\tN1\tN1-1" for n in range(200)]
    raw = write(tmp_path / "raw", "\n".join([*lines[:198], "bad", "worse"]))
    assert run(raw).meta["quarantine"]["reasons"] == {"truncated: 1 of 5 columns": 2}  # 1 % is tolerated
    write(raw, "\n".join([*lines[:197], "bad", "worse", "worst"]))
    with pytest.raises(ValueError, match=r"3 of 200 lines of train/behaviors\.tsv .* 1\.00%: see .*out2\.quarantine"):
        run(raw, "out2")
    assert not (tmp_path / "out2").exists()
    assert len((tmp_path / "out2.quarantine.tsv").read_text().splitlines()) == 4


def test_unknown_items_become_items_without_text_up_to_a_share(tmp_path: Path) -> None:
    behaviors = "1\tU\t11/15/2019 9:55:12 AM\tX9 N1\tN1-1 X8-0 X9-0\n"
    raw = write(tmp_path / "raw", behaviors)
    with pytest.raises(ValueError, match=r"2 of the 3 items .* \(such as X8, X9\).*1\.00%.*--max-unknown-share"):
        run(raw)
    data = run(raw, max_unknown_share=0.7)
    items = data.items(["item_id", "title", "has_text"]).to_pylist()
    assert [(row["item_id"], row["has_text"]) for row in items[1:]] == [("N2", True), ("X8", False), ("X9", False)]
    assert data.impressions("train")["history"].to_pylist() == [[3, 0]]
    assert (data.meta["num_items_unknown"], data.meta["num_items_named"]) == (2, 3)


@pytest.mark.parametrize(
    ("news", "behaviors", "sentence"),
    [
        ("", BEHAVIORS, r"train/news\.tsv is empty"),
        (NEWS, "", r"train/behaviors\.tsv is empty"),
        (NEWS, "\n\n", r"train/behaviors\.tsv holds no lines"),
        (NEWS, "\ufeff", r"train/behaviors\.tsv holds no lines"),
    ],
)
def test_empty_files_are_told_in_a_sentence(tmp_path: Path, news: str, behaviors: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(write(tmp_path / "raw", behaviors, news))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mind_blocks, "BLOCK_BYTES", 100)
    with pytest.raises(ValueError, match="line longer than 100 bytes"):
        run(write(tmp_path / "raw", "x" * 1_000))


@pytest.mark.parametrize("option", ["max_bad_share", "max_unknown_share"])
def test_shares_outside_0_to_1_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match=r"lies in 0\.\.1, not 1\.5"):
        run(write(tmp_path / "raw", BEHAVIORS), **{option: 1.5})


def test_the_same_files_give_the_same_fingerprint_as_folder_or_zip(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", BEHAVIORS)
    with zipfile.ZipFile(tmp_path / "MINDsmall_train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("news.tsv", "behaviors.tsv"):
            archive.write(raw / "train" / name, name)
    first, again = run(raw), run(raw, "out2")
    packed = prepare(tmp_path / "MINDsmall_train.zip", tmp_path / "out3", progress=False)
    assert first.fingerprint == again.fingerprint == packed.fingerprint
    assert (first.name, packed.name) == ("raw", "MINDsmall_train")
    write(raw, BEHAVIORS.replace("N2-0", "N2-1"))
    assert run(raw, "out4").fingerprint != first.fingerprint
    assert "raw" not in json.dumps({key: value for key, value in first.meta.items() if key != "name"})


def test_a_damaged_member_of_a_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "MINDsmall_train.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("news.tsv", NEWS)
        archive.writestr("behaviors.tsv", BEHAVIORS)
    path.write_bytes(path.read_bytes().replace(b"N1 N2\tN1-1", b"N1 N1\tN1-1"))
    with pytest.raises(ValueError, match=r"behaviors\.tsv is damaged .*download its zip again"):
        prepare(path, tmp_path / "out", progress=False)


@pytest.mark.parametrize("bad", ["a,b,c\n" * 50, "1\tU\tnever\tN1\tN1-1\n" * 50])
def test_a_file_of_nothing_but_malformed_lines_fails_by_its_share(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match=r"50 of 50 lines of train/behaviors\.tsv are malformed"):
        run(write(tmp_path / "raw", bad))
    with pytest.raises(ValueError, match=r"50 of 50 lines of train/news\.tsv are malformed"):
        run(write(tmp_path / "raw", BEHAVIORS, bad))
    data = run(write(tmp_path / "raw", bad), max_bad_share=1.0)
    assert (data.num_items, data.num_impressions("train")) == (2, 0)
