"""Malformed lines: kept in a file with their place and reason, counted, and a failure above a stated share."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

HEADER = "split\tfile\tline\treason\ttext\n"
MAX_TEXT = 2_000
MAX_LINES_KEPT = 100_000
"""A file that is no MIND at all must not be copied whole; the counts go on beyond this number."""


class BadLine(NamedTuple):
    """A malformed line: its number in the file (from 1), why it is malformed, and its bytes."""

    number: int
    reason: str
    text: bytes


class Quarantine:
    """Collect malformed lines in a TSV beside the prepared folder; use as a context manager.

    If the block fails, the lines stay at `path` to be looked at; otherwise the caller moves them into the prepared
    folder with `move_to`.
    """

    def __init__(self, path: Path, max_share: float) -> None:
        """Keep lines at `path`; `max_share` is the share of a file's lines above which `check` fails."""
        if not 0 <= max_share <= 1:
            raise ValueError(f"The share of malformed lines that is tolerated lies in 0..1, not {max_share}.")
        self.path, self.max_share = path, max_share
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self.reasons: Counter[str] = Counter()
        self.files: dict[str, dict[str, int]] = {}

    @property
    def num_lines(self) -> int:
        """Number of malformed lines so far."""
        return self.reasons.total()

    def add(self, split: str, file: str, lines: Iterable[BadLine]) -> int:
        """Write malformed lines of a file and return their number."""
        count = 0
        for number, reason, text in lines:
            if self.num_lines < MAX_LINES_KEPT:
                self._file.write(f"{split}\t{file}\t{number}\t{reason}\t{_printable(text)}\n")
            self.reasons[reason] += 1
            count += 1
        return count

    def check(self, file: str, num_lines: int, num_bad: int) -> None:
        """Record a file that has been read to its end; raise `ValueError` if too many of its lines are malformed."""
        if not num_lines:
            raise ValueError(f"{file} holds no lines.")
        self.files[file] = {"lines": num_lines, "quarantined": num_bad}
        if num_bad > self.max_share * num_lines:
            raise ValueError(
                f"{num_bad:,} of {num_lines:,} lines of {file} are malformed, more than the tolerated "
                f"{self.max_share:.2%}: see {self.path} and mend the file, or raise --max-bad-share."
            )

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return `files` (lines and quarantined lines of each) and `reasons` (number of lines of each)."""
        return {"files": self.files, "reasons": dict(sorted(self.reasons.items()))}

    def move_to(self, path: Path) -> None:
        """Move the file into the prepared folder."""
        self._file.close()
        shutil.move(self._partial, path)

    def __enter__(self) -> Quarantine:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._file = self._partial.open("w", encoding="utf-8")
        self._file.write(HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is not None and self.num_lines:
            os.replace(self._partial, self.path)
        self._partial.unlink(missing_ok=True)


def _printable(text: bytes) -> str:
    """Return a line as one field of a TSV: what is not UTF-8, and tabs, as escapes."""
    cut = text[:MAX_TEXT].decode("utf-8", "backslashreplace")
    return cut.replace("\t", "\\t").replace("\r", "\\r")
