"""Downloads from a mirror that breaks off, changes its files, lies or is not there."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest

from tastelab.data import download
from tastelab.data.download import DownloadError, Expected, _Part, _request, fetch

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0)


@pytest.fixture
def served(mirror: Any) -> Any:
    mirror.files["a.zip"] = CONTENT
    return mirror


def get(served: Any, folder: Path, expected: Expected = Expected()) -> Path:  # noqa: B008
    return fetch(f"{served.url}/a.zip", folder / "a.zip", expected, progress=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_is_not_fetched_twice(served: Any, tmp_path: Path) -> None:
    assert get(served, tmp_path, Expected(len(CONTENT), SHA256)).read_bytes() == CONTENT
    assert (tmp_path / "a.zip.sha256").read_text() == f"{SHA256}  a.zip\n"
    assert names(tmp_path) == ["a.zip", "a.zip.sha256"]
    get(served, tmp_path)
    assert len(served.requests) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(served: Any, tmp_path: Path) -> None:
    served.breaks = [30_000, 50_000]
    assert get(served, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in served.requests] == [None, "bytes=30000-", "bytes=80000-"]


def test_a_transfer_given_up_is_kept_and_continued_by_the_next_call(served: Any, tmp_path: Path) -> None:
    served.breaks = [30_000, 0, 0]
    with pytest.raises(DownloadError, match="the transfer stopped; 30,000 bytes are kept"):
        get(served, tmp_path)
    assert names(tmp_path) == ["a.zip.part", "a.zip.part.etag"]
    assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.requests[-1][1] == "bytes=30000-"


def test_a_file_that_changed_meanwhile_starts_anew(served: Any, tmp_path: Path) -> None:
    served.breaks = [30_000, 0, 0]
    with pytest.raises(DownloadError):
        get(served, tmp_path)
    served.files["a.zip"] = CONTENT[::-1]
    assert get(served, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("setting", ["ranges", "etag"])
def test_a_server_that_cannot_continue_sends_all_again(served: Any, tmp_path: Path, setting: str) -> None:
    setattr(served, setting, False)
    served.breaks = [30_000]
    assert get(served, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_not_appended_to(served: Any, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    (tmp_path / "a.zip.part.etag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert get(served, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_or_size_is_refused_and_nothing_stays(served: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"a\.zip is damaged or was replaced, it has the SHA-256 {SHA256}, not the 00"
    ):
        get(served, tmp_path, Expected(sha256="00"))
    with pytest.raises(ValueError, match="it has 102,400 bytes, not 5"):
        get(served, tmp_path, Expected(size=5))
    assert names(tmp_path) == []


def test_the_checksum_announced_with_a_redirect_is_held_against_the_file(served: Any, tmp_path: Path) -> None:
    served.announced = "0" * 64
    with pytest.raises(ValueError, match=r"not the 0{64} that the server announced"):
        get(served, tmp_path)
    served.announced = SHA256
    assert get(served, tmp_path).read_bytes() == CONTENT


def test_the_first_download_is_trusted_and_a_later_one_must_equal_it(served: Any, tmp_path: Path) -> None:
    get(served, tmp_path).unlink()
    served.files["a.zip"] = CONTENT[::-1]
    with pytest.raises(ValueError, match=r"not that of its first download \(remove .*a\.zip\.sha256 to trust"):
        get(served, tmp_path)
    (tmp_path / "a.zip.sha256").unlink()
    assert get(served, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_file_damaged_on_disk_is_refused_but_not_removed(served: Any, tmp_path: Path) -> None:
    get(served, tmp_path).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"remove .*a\.zip and try again"):
        get(served, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"damaged"


def test_a_server_in_trouble_is_asked_again_but_a_missing_file_is_not(served: Any, tmp_path: Path) -> None:
    served.statuses = [503]
    assert get(served, tmp_path).read_bytes() == CONTENT
    served.requests.clear()
    with pytest.raises(DownloadError, match="the server answers 404"):
        fetch(f"{served.url}/b.zip", tmp_path / "b.zip", progress=False)
    assert len(served.requests) == 1


def test_no_server_is_told_with_the_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.zip"
        with pytest.raises(DownloadError, match=rf"{url}: .*refused"):
            fetch(url, tmp_path / "a.zip", progress=False)


def test_the_hub_token_goes_to_the_hub_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    part = _Part(tmp_path / "a.zip")
    asked = _request("https://huggingface.co/datasets/x", part)
    assert asked.unredirected_hdrs == {"Authorization": "Bearer secret"}  # a redirect does not carry these
    for url in (
        "https://example.org/huggingface.co",
        "http://huggingface.co/x",
        "https://huggingface.co.example.org/x",
    ):
        assert not _request(url, part).has_header("Authorization")


def test_progress_is_lines_where_there_is_no_terminal(
    served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(f"{served.url}/a.zip", tmp_path / "a.zip", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines and lines[-1].startswith("a.zip: 100%") and "\r" not in "".join(lines)
