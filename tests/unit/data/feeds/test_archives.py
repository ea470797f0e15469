"""Members of a .7z as streams: whole, early left, damaged, and with names that lead out."""

from __future__ import annotations

import random
import threading
import time
import tracemalloc
from pathlib import Path

import py7zr
import pytest

from tastelab.data.feeds.archives import members, open_member

FILTERS = {
    "lzma2": [{"id": py7zr.FILTER_LZMA2, "preset": 1}],
    "bzip2": [{"id": py7zr.FILTER_BZIP2}],
    "stored": [{"id": py7zr.FILTER_COPY}],
}


def _archive(path: Path, files: dict[str, bytes], how: str = "lzma2") -> Path:
    with py7zr.SevenZipFile(path, "w", filters=FILTERS[how]) as archive:
        for name, data in files.items():
            archive.writestr(data, name)
    return path


def _noise(num_bytes: int) -> bytes:
    return random.Random(0).randbytes(num_bytes)


@pytest.mark.parametrize("how", FILTERS)
def test_each_member_alone(how: str, tmp_path: Path) -> None:
    files = {"Votes.xml": _noise(300_000), "Posts.xml": b"<posts/>" * 50_000, "Users.xml": b"", "sub/x.txt": b"x"}
    path = _archive(tmp_path / "a.7z", files, how)
    assert members(path) == list(files)
    for name, data in files.items():
        with open_member(path, name) as stream:
            assert stream.read() == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.7z"]


def test_leaving_early_stops_the_thread(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.7z", {"a": _noise(5_000_000)}, "stored")
    for _ in range(3):
        with open_member(path, "a") as stream:
            assert len(stream.read(10)) == 10
    with pytest.raises(KeyError), open_member(path, "a"):
        raise KeyError
    deadline = time.monotonic() + 10
    while any(thread.name == "unpack a.7z" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_memory_does_not_follow_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path / "a.7z", {"a": b"\0" * 60_000_000})
    monkeypatch.setattr(py7zr.py7zr, "get_memory_limit", lambda: 2_000_000)
    num_bytes = 0
    tracemalloc.start()
    with open_member(path, "a") as stream:
        while chunk := stream.read(2**20):
            num_bytes += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_bytes == 60_000_000 and peak < 20_000_000


@pytest.mark.parametrize("name", ["../Posts.xml", "a/../../x", "/etc/Posts.xml", "..\\Posts.xml", "C:\\x", "\\\\h\\x"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(py7zr.SevenZipFile, "_sanitize_archive_arcname", staticmethod(lambda arcname: arcname))
        patch.setattr(py7zr.py7zr, "check_archive_path", lambda arcname: True)
        path = _archive(tmp_path / "a.7z", {name: b"<posts/>"})
    for attempt in (lambda: members(path), lambda: open_member(path, name).__enter__()):
        with pytest.raises(ValueError, match="a name that leads out of the archive"):
            attempt()


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_cut_archive(keep: int, tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.7z", {"a": _noise(100_000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.7z is no whole \.7z archive \(.*\): download it again\."):
        members(path)


@pytest.mark.parametrize("how", FILTERS)
def test_damage_is_told_at_the_end(how: str, tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.7z", {"a": _noise(400_000)}, how)
    data = bytearray(path.read_bytes())
    data[200_000:200_016] = bytes(16)
    path.write_bytes(data)
    with (
        pytest.raises(ValueError, match=r"a\.7z is no whole \.7z archive"),
        open_member(path, "a") as stream,
    ):
        while stream.read(10_000):
            pass


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no archive .*none\.7z: check the path\."):
        members(tmp_path / "none.7z")
    path = _archive(tmp_path / "a.7z", {"a": b"x"})
    with pytest.raises(ValueError, match=r"a\.7z holds no file 'Posts\.xml'"), open_member(path, "Posts.xml"):
        pass
