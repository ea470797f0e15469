"""Every layout that MIND's files come in, and a sentence for those that cannot be."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tastelab.data.mind_layout import find_splits, split_of


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("news.tsv", "behaviors.tsv"):
        (folder / name).write_text(f"{folder.name}/{name}")
    return folder


def zipped(path: Path, *members: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, member)


def read(source: Path) -> dict[str, tuple[bytes, bytes]]:
    found = {}
    for split in find_splits(source):
        with split.news.open() as news, split.behaviors.open() as behaviors:
            found[split.split] = news.read(), behaviors.read()
    return found


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Dev", "dev"),
        ("valid", "dev"),
        ("MINDsmall_train", "train"),
        ("MINDlarge_dev.zip", "dev"),
        ("MINDlarge_test", "test"),
        ("MINDdemo_utils.zip", None),
        ("training", None),
        ("latest", None),
    ],
)
def test_the_name_of_a_folder_tells_its_split(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("wrapping", ["", "MINDsmall"])
@pytest.mark.parametrize("names", [("train", "dev", "test"), ("MINDsmall_train", "MINDsmall_dev", "MINDsmall_test")])
def test_folders_are_found_at_the_top_and_in_one_wrapping_folder(
    tmp_path: Path, names: tuple[str, ...], wrapping: str
) -> None:
    for name in names:
        put(tmp_path / "raw" / wrapping / name)
    found = read(tmp_path / "raw")
    assert list(found) == ["train", "dev", "test"]
    assert found["dev"] == (f"{names[1]}/news.tsv".encode(), f"{names[1]}/behaviors.tsv".encode())


@pytest.mark.parametrize("inside", ["", "MINDsmall_train/"])
def test_zips_are_read_in_place(tmp_path: Path, inside: str) -> None:
    members = (f"{inside}news.tsv", f"{inside}behaviors.tsv", f"{inside}entity_embedding.vec", "__MACOSX/news.tsv")
    zipped(tmp_path / "raw" / "MINDsmall_train.zip", *members)
    assert read(tmp_path / "raw") == {"train": (members[0].encode(), members[1].encode())}
    assert read(tmp_path / "raw" / "MINDsmall_train.zip") == {"train": (members[0].encode(), members[1].encode())}
    assert find_splits(tmp_path / "raw")[0].news.size == len(members[0])
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["MINDsmall_train.zip"]


def test_one_zip_may_hold_all_splits(tmp_path: Path) -> None:
    zipped(
        tmp_path / "mind.zip", *(f"{split}/{name}.tsv" for split in ("dev", "train") for name in ("news", "behaviors"))
    )
    assert list(read(tmp_path / "mind.zip")) == ["train", "dev"]


def test_a_split_folder_itself_may_be_given(tmp_path: Path) -> None:
    assert list(read(put(tmp_path / "MINDlarge_dev"))) == ["dev"]


def test_an_unpacked_folder_is_preferred_to_its_zip(tmp_path: Path) -> None:
    zipped(tmp_path / "MINDsmall_dev.zip", "news.tsv", "behaviors.tsv")
    put(tmp_path / "MINDsmall_dev")
    assert read(tmp_path)["dev"][0] == b"MINDsmall_dev/news.tsv"


def test_what_cannot_be_is_told_in_a_sentence(tmp_path: Path) -> None:
    put(tmp_path / "no_behaviors" / "train", "news.tsv")
    put(tmp_path / "no_news" / "dev", "behaviors.tsv")
    put(tmp_path / "nothing" / "train", "readme.txt")
    put(tmp_path / "unnamed" / "monday")
    put(tmp_path / "unnamed_itself")
    put(tmp_path / "both" / "MINDsmall_dev")
    put(tmp_path / "both" / "MINDlarge_dev")
    for each in ("a", "b"):
        put(tmp_path / "several" / each / "dev")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "MINDsmall_dev.zip").write_bytes(b"PK\x03\x04 cut")
    for folder, sentence in [
        ("no_behaviors", r"^train holds no behaviors\.tsv"),
        ("no_news", r"^dev holds no news\.tsv"),
        ("nothing", r"holds no MIND files: it must hold train/news\.tsv and train/behaviors\.tsv"),
        ("unnamed", r"rename it to train, dev or test"),
        ("unnamed_itself", r"rename it to train, dev or test"),
        ("both", r"^MINDlarge_dev and MINDsmall_dev are both 'dev'"),
        ("several", r"holds several data sets \(a, b\)"),
        ("damaged", r"no complete zip file .*: download it again"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            find_splits(tmp_path / folder)
