"""The append-only store of records: one JSON line per run in `reports/runs/<experiment>.jsonl`.

A record is never changed: a later line with the same run id takes its place. Whatever kills a writer, all lines
before the last are whole, and the next record starts on a line of its own.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tastelab.config import METHOD_VERSION
from tastelab.results.provenance import private_part

Record = dict[str, Any]

ALLOWED = {
    "role": ("search", "final", "baseline", "comparison", "probe"),
    "status": ("finished", "pruned", "failed"),
    "size": ("smoke", "default", "paper"),
}
REQUIRED = ("run_id", "experiment", *ALLOWED, "method_version")

EXTRAS = ("degrees", "optimum", "exposure")
"""What only some runs find beside their metrics: the histograms and bins that figures are drawn from."""

log = logging.getLogger(__name__)


class RecordStore:
    """The records of all experiments under a reports folder."""

    def __init__(self, reports: Path) -> None:
        """Look at `reports`; nothing is read or made before it is needed."""
        self.folder = reports / "runs"
        self._reported: set[tuple[Path, int]] = set()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and wait until it is on the disk; numbers that are not finite are stored as null.

        Raises:
            ValueError: A required field is missing or wrong, or a string holds a host name or an absolute path.
            OSError: The line could not be written whole; what was there before is not touched.
        """
        plain = _plain({key: value for key, value in record.items() if key != "stale"}, str(record.get("run_id")))
        _check_fields(plain)
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
        self.folder.mkdir(parents=True, exist_ok=True)
        _append_line(self.folder / f"{plain['experiment']}.jsonl", line.encode())

    def load(self, experiment: str | None = None) -> list[Record]:
        """Read the records of one experiment, or of all, oldest first.

        Of the lines with one run id, row and size the last counts, but a finished run is never displaced by an
        unfinished one. Each record gains `stale`: whether an older `METHOD_VERSION` made it. A line that a kill cut
        off, or that is no record, is skipped with a warning.
        """
        kept: dict[tuple[str, ...], Record] = {}
        for path in self._files(experiment):
            for record in self._lines(path):
                key = (path.stem, record["size"], record["run_id"], str(record.get("group")))
                if record["status"] == "finished" or kept.get(key, record)["status"] != "finished":
                    kept.pop(key, None)  # so that the order is that of the lines that count
                    kept[key] = record | {"stale": record["method_version"] < METHOD_VERSION}
        return list(kept.values())

    def finished(self, run_id: str, experiment: str | None = None, size: str | None = None) -> Record | None:
        """Return the finished record of a run; None if there is none or it is stale.

        Without `experiment` and `size`, whichever made it; a table shows records of its own experiment and size only.
        """
        found = (r for r in self.load(experiment) if r["run_id"] == run_id and size in (None, r["size"]))
        return next((r for r in found if r["status"] == "finished" and not r["stale"]), None)

    def _files(self, experiment: str | None) -> Iterable[Path]:
        if experiment is None:
            return sorted(self.folder.glob("*.jsonl"))
        path = self.folder / f"{experiment}.jsonl"
        return [path] if path.exists() else []

    def _lines(self, path: Path) -> Iterator[Record]:
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            record = _parsed(line)
            if record is not None:
                yield record
            elif line.strip() and (path, number) not in self._reported:
                self._reported.add((path, number))
                what = "cut off" if number == len(lines) else "damaged"
                log.warning("%s: line %d is %s and was skipped; its run counts as not done.", path, number, what)


def check_writable(reports: Path) -> None:
    """Make the reports folder and try to write in it, so that a wrong one fails before any work.

    Raises:
        ValueError: The folder, or a file of records in it, cannot be made or written.
    """
    try:
        runs = reports / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as probe:
            probe.write(b"\n")
        for path in runs.glob("*.jsonl"):
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(
            f"The reports folder {reports} cannot be written ({reason}): pass --reports with a folder that can be."
        ) from error


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """Read the value at a dotted path of a record; None where any part of the path is missing."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def distinct(records: Iterable[Mapping[str, Any]], path: str) -> list[Any]:
    """List the distinct values at a dotted path in the order of the records; a list of names becomes `a + b`."""
    values = [lookup(record, path) for record in records]
    plain = [" + ".join(map(str, value)) if isinstance(value, list) else value for value in values]
    return list(dict.fromkeys(value for value in plain if value is not None))


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and all(key in record for key in REQUIRED)
    return record if whole else None


def _append_line(path: Path, line: bytes) -> None:
    """Write a line with one O_APPEND write, on a fresh line even if an earlier writer was killed within its own."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, "No space is left to write a record", str(path))
        os.fsync(file)
    finally:
        os.close(file)


def _check_fields(record: Record) -> None:
    if missing := [key for key in REQUIRED if record.get(key) is None]:
        raise ValueError(f"The record of run {record.get('run_id')} lacks {', '.join(missing)}: add what is missing.")
    for key, values in ALLOWED.items():
        if record[key] not in values:
            raise ValueError(
                f"The record of run {record['run_id']} has the {key} '{record[key]}': use one of {', '.join(values)}."
            )
    if not re.fullmatch(r"\w[\w.-]*", record["experiment"]):
        raise ValueError(
            f"'{record['experiment']}' is no name for a file: name the experiment in letters, digits, _ or -."
        )


def _plain(value: Any, run: str) -> Any:
    """Turn numpy values into Python's and NaN into None; refuse private strings and what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {_public(str(key), run): _plain(item, run) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item, run) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return _public(value, run)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    raise ValueError(f"The record of run {run} holds a {type(value).__name__}: turn it into plain JSON values first.")


def _public(text: str, run: str) -> str:
    if (private := private_part(text)) is not None:
        raise ValueError(
            f"The record of run {run} names this machine or a place on it ('{private}'): "
            "store paths relative to --home and pass error messages through `anonymise`."
        )
    return text
