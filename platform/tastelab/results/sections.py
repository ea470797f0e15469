"""An experiment's records, cut into what may be compared: one section per size and data set, in a fixed order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tastelab.results.store import Record, lookup

ORDER = ("paper", "default", "smoke")


@dataclass(frozen=True)
class Section:
    """The records of one size on one data set."""

    size: str
    data: str
    records: tuple[Record, ...]

    @property
    def slug(self) -> str:
        """Name for files: the data set, and the size where it is not the default."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.data)
        named = self.size == "default" or name.endswith(f"-{self.size}")
        return name if named else f"{name}-{self.size}"


def sections(records: Sequence[Record]) -> list[Section]:
    """Cut records by size and name of the data set: larger sizes first, then by name.

    A probe stands where the run stands that it is a probe of, whatever data it was measured on; where no record of that
    run is left, nowhere.
    """
    homes = {(record["size"], record["run_id"]): _key(record) for record in records if record["role"] != "probe"}
    placed = [
        (homes.get((record["size"], str(record.get("of")))) if record["role"] == "probe" else _key(record), record)
        for record in records
    ]
    ordered = sorted({key for key, _ in placed if key}, key=lambda key: (ORDER.index(key[0]), key[1]))
    return [Section(*key, tuple(record for place, record in placed if place == key)) for key in ordered]


def _key(record: Record) -> tuple[str, str]:
    return record["size"], str(lookup(record, "data.name") or "")
