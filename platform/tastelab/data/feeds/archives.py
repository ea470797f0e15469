"""Members of a .7z archive as streams, without unpacking it to memory or disk.

py7zr only pushes what it unpacks, so a thread pushes it into a pipe that the reader pulls from: a full pipe holds the
thread back. py7zr unpacks 128 MB at a time at most and holds a few such blocks at worst, whatever a member claims to
hold; no file is written, so nothing is left behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import py7zr
from py7zr.exceptions import ArchiveError, PasswordRequired
from py7zr.io import Py7zIO, WriterFactory

# What py7zr and its decompressors raise on bytes that were damaged.
_DAMAGE = (ArchiveError, PasswordRequired, OSError, EOFError, ValueError, LookupError, ArithmeticError, AssertionError)


def members(path: Path) -> list[str]:
    """Return the names of an archive's files.

    Raises:
        ValueError: `path` is no whole .7z archive, or a name leads out of the archive.
    """
    with _opened(path) as archive:
        names = [info.filename for info in archive.list() if not info.is_directory]
    for name in names:
        if _leads_out(name):
            raise ValueError(f"{path.name} holds a file '{name}', a name that leads out of the archive: do not use it.")
    return names


@contextmanager
def open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of an archive to be read once, from its start on; leaving early stops the unpacking.

    Raises:
        ValueError: `path` is no whole .7z archive, has no such file, or is found to be damaged while it is read.
    """
    if name not in members(path):
        raise ValueError(f"{path.name} holds no file '{name}': give an archive of a site dump.")
    source, target = os.pipe()
    pump = _Pump(path, name, target)
    pump.start()
    try:
        with os.fdopen(source, "rb", buffering=2**20) as stream:
            yield stream
            at_end = not stream.read(1)
    finally:
        pump.join()  # the closed pipe has ended it
    if at_end and pump.damage is not None:
        raise _damaged(path, pump.damage) from pump.damage


class _Pump(threading.Thread):
    """Unpacks one file of an archive into a pipe; closes the pipe at the end, also after a failure."""

    def __init__(self, path: Path, name: str, target: int) -> None:
        super().__init__(name=f"unpack {path.name}", daemon=True)
        self._path, self._member, self._target = path, name, target
        self.damage: BaseException | None = None

    def run(self) -> None:
        try:
            # py7zr would unpack in threads of its own if it had opened the file itself.
            with self._path.open("rb") as file, py7zr.SevenZipFile(file) as archive:
                archive.extract(targets=[self._member], factory=_ToPipe(self._target))
        except BrokenPipeError:
            pass
        except _DAMAGE as error:
            self.damage = error
        finally:
            os.close(self._target)


class _ToPipe(WriterFactory, Py7zIO):
    """The one file that py7zr writes to: the pipe's end."""

    def __init__(self, target: int) -> None:
        self._target, self._size = target, 0

    def create(self, filename: str) -> Py7zIO:
        return self

    def write(self, s: bytes | bytearray) -> int:
        view = memoryview(s)
        while view:
            view = view[os.write(self._target, view) :]
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size


@contextmanager
def _opened(path: Path) -> Iterator[py7zr.SevenZipFile]:
    try:
        with py7zr.SevenZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise ValueError(f"There is no archive {path}: check the path.") from None
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> ValueError:
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    return ValueError(f"{path.name} is no whole .7z archive ({reason}): download it again.")


def _leads_out(name: str) -> bool:
    windows = PureWindowsPath(name)
    return bool(PurePosixPath(name).is_absolute() or windows.root or windows.drive or ".." in windows.parts)
