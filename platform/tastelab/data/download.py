"""Fetch a file over HTTP: a bar, resumption by Range, and a checksum that a later download must meet again."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlparse

from tastelab.data.progress import bar_of

CHUNK_BYTES = 2**20
TIMEOUT_S = 30.0
PAUSE_S = 1.0  # before another attempt
MAX_IDLE_ATTEMPTS = 2  # attempts in a row that bring no byte before the transfer is given up
HUB = "huggingface.co"


class DownloadError(OSError):
    """A file could not be fetched; what arrived is kept and the next call goes on from there."""


class Expected(NamedTuple):
    """What is known of a file beforehand; None for what is not."""

    size: int | None = None
    sha256: str | None = None


UNKNOWN = Expected()


def fetch(url: str, target: Path, expected: Expected = UNKNOWN, *, progress: bool = True, pause_s: float = 1.0) -> Path:
    """Download `url` to `target`, or check what is there already.

    The bytes go to `<target>.part`, which an interrupted transfer leaves behind and a later one continues if the
    server still has the same version (`If-Range`). The checksum to meet is that of `expected`, else the one the hub
    announces (`X-Linked-Etag`), else that of an earlier download, kept in `<target>.sha256`; where none is known the
    first download is trusted and its checksum written there.

    Raises:
        DownloadError: The server cannot be reached, has no such file, or the transfer stopped.
        ValueError: Size or checksum differ from what they must be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        _check(target, target, expected)
        return target
    part = _Part(target)
    announced = _receive_all(url, part, progress)
    try:
        _check(part.path, target, expected, announced)
    except ValueError:
        part.discard()
        raise
    part.finish()
    return target


class _Part:
    """The bytes that have arrived, and the version (entity tag) of the file that they belong to."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path, self.tag_path = (target.with_name(target.name + end) for end in (".part", ".part.etag"))

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def tag(self) -> str | None:
        return self.tag_path.read_text() if self.tag_path.exists() else None

    def open(self, resumed: bool, tag: str | None) -> IO[bytes]:
        if tag:
            self.tag_path.write_text(tag)
        else:
            self.tag_path.unlink(missing_ok=True)
        return self.path.open("ab" if resumed else "wb")

    def finish(self) -> None:
        os.replace(self.path, self.target)
        self.tag_path.unlink(missing_ok=True)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag_path.unlink(missing_ok=True)


def _receive_all(url: str, part: _Part, progress: bool) -> str | None:
    """Receive until the file is whole; return the checksum that the server announces, if it does."""
    idle, reason = 0, ""
    while idle < MAX_IDLE_ATTEMPTS:
        before = part.size
        try:
            whole, announced = _receive(url, part, progress)
            if whole:
                return announced
            reason = "the transfer stopped"
        except (OSError, http.client.HTTPException) as error:
            reason = _reason(error)
            if not _may_pass(error, part):
                break
        idle = 0 if part.size > before else idle + 1
        time.sleep(PAUSE_S if idle < MAX_IDLE_ATTEMPTS else 0)
    kept = f"; {part.size:,} bytes are kept and the next attempt goes on from there" if part.size else ""
    raise DownloadError(f"{url}: {reason}{kept}")


def _may_pass(error: Exception, part: _Part) -> bool:
    """Tell whether another attempt can succeed where this one failed."""
    if not isinstance(error, urllib.error.HTTPError):
        return True
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # what is kept is longer than the file
        part.discard()
        return True
    return error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _receive(url: str, part: _Part, progress: bool) -> tuple[bool, str | None]:
    """Make one attempt; return whether the file is whole and the checksum announced."""
    redirects = _Redirects()
    with urllib.request.build_opener(redirects).open(_request(url, part), timeout=TIMEOUT_S) as response:
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = part.size if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        label = part.target.name
        with (
            part.open(resumed, version) as file,
            bar_of(total, label, progress, initial=start) as bar,
        ):
            while chunk := response.read1(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    announced = redirects.announced or response.headers.get("X-Linked-Etag", "")
    return total is None or part.size == total, _as_sha256(announced)


def _request(url: str, part: _Part) -> urllib.request.Request:
    """Ask for what is missing, on condition that the file is still the one whose beginning is here."""
    request = urllib.request.Request(url, headers={"User-Agent": "tastelab", "Accept-Encoding": "identity"})
    if part.size and part.tag:
        request.add_header("Range", f"bytes={part.size}-")
        request.add_header("If-Range", part.tag)
    token = os.environ.get("HF_TOKEN")
    if token and urlparse(url).hostname == HUB and url.startswith("https:"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # never sent on to another host
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, keeping the checksum that the hub announces on the way to its storage."""

    announced = ""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Remember the checksum in the headers of the redirect."""
        self.announced = headers.get("X-Linked-Etag", self.announced)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _as_sha256(tag: str) -> str | None:
    found = re.fullmatch(r'"?([0-9a-f]{64})"?', tag)
    return found[1] if found else None


def _check(file: Path, target: Path, expected: Expected, announced: str | None = None) -> None:
    """Compare a file with what is known of it, and remember its checksum."""
    record = target.with_name(target.name + ".sha256")
    remembered = record.read_text().split()[0] if record.exists() else None
    size, sha256 = file.stat().st_size, file_sha256(file)
    wrong = [
        f"the SHA-256 {sha256}, not the {wanted} {source}"
        for wanted, source in ((expected.sha256, "that is known"), (announced, "that the server announced"))
        if wanted not in (None, sha256)
    ]
    if remembered not in (None, sha256):
        wrong.append(f"the SHA-256 {sha256}, not that of its first download (remove {record} to trust the new file)")
    if expected.size not in (None, size):
        wrong.insert(0, f"{size:,} bytes, not {expected.size:,}")
    if not wrong:
        record.write_text(f"{sha256}  {target.name}\n")
        return
    advice = f"remove {target} and try again" if file == target else "try again, or another mirror"
    raise ValueError(f"{target.name} is damaged or was replaced, it has {wrong[0]}: {advice}.")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
