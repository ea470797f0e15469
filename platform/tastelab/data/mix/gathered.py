"""What the reading of all pieces left behind: parts by kind, counts by source, and the malformed records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from tastelab.data.mix.engagements import OWN
from tastelab.data.mix.facts import SourceFacts
from tastelab.data.mix.gather import PARTS
from tastelab.data.mix.hashing import U64
from tastelab.data.mix.people import People, join_accounts
from tastelab.data.mix.roots import Posts, resolve
from tastelab.data.mix.sources import Source
from tastelab.data.quarantine import BadLine, Quarantine

Answers = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Gathered:
    """The answers of `gather.Gather` for all pieces, in order."""

    sources: Sequence[Source]
    answers: Answers

    def parts(self, kind: str) -> list[str]:
        """Files of a kind, in the order of sources and pieces."""
        return [file for answer in self.answers for file in answer["files"][kind]]

    def sources_of(self, kind: str) -> list[int]:
        """Number of the source of each of `parts`."""
        return [answer["source"] for answer in self.answers for _ in answer["files"][kind]]

    def num_rows(self, kind: str) -> int:
        """Rows of all parts of a kind."""
        return sum(answer["rows"][kind] for answer in self.answers)

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds of engagements, `OWN` first."""
        return (OWN, *sorted({kind for answer in self.answers for kind in answer["kinds"]}))

    @property
    def left_out(self) -> Counter[str]:
        """Sound records that the readers left out, by reason."""
        total = Counter[str]()
        for answer in self.answers:
            total.update(answer["left_out"])
        return total

    def posts(self) -> Posts:
        """Resolve all posts to their roots."""
        names = ("id", "check", "parent")
        columns = {name: _filled(self.parts("posts"), PARTS["posts"], name, self.num_rows("posts")) for name in names}
        return resolve(columns["id"], columns["check"], columns["parent"])

    def people(self) -> People:
        """Join the accounts of each person."""
        num, parts = self.num_rows("accounts"), self.parts("accounts")
        users: U64 = _filled(parts, PARTS["accounts"], "user", num)
        return join_accounts(users, _filled(parts, PARTS["accounts"], "person", num))

    def set_aside(self, quarantine: Quarantine) -> None:
        """List the malformed records, without their text, and refuse a file that has too many.

        Raises:
            ValueError: The share of malformed records of a file is above the tolerated one.
        """
        records, bad = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        for answer in self.answers:
            file = answer["source"], answer["file"]
            label = self.sources[file[0]].label
            place = f"{file[1]}+{answer['start']}" if answer["start"] else file[1]
            quarantine.add(label, place, (BadLine(number, why, b"") for number, why in answer["bad_lines"]))
            records[file] += max(answer["records"], answer["bad"])
            bad[file] += answer["bad"]
        for (source, name), count in records.items():
            if count:
                label = self.sources[source].label
                quarantine.check(name if name.startswith(label) else f"{label}/{name}", count, bad[source, name])

    def source_facts(self, items: npt.NDArray[np.int32]) -> list[SourceFacts]:
        """Describe each source; `items` are the numbers of the items' sources."""
        found = np.bincount(items, minlength=len(self.sources)).tolist()
        return [self._facts(number, source, found[number]) for number, source in enumerate(self.sources)]

    def _facts(self, number: int, source: Source, num_items: int) -> SourceFacts:
        reader = source.reader()
        mine = [answer for answer in self.answers if answer["source"] == number]
        rows = {kind: sum(answer["rows"][kind] for answer in mine) for kind in PARTS}
        return {
            "feed": source.feed,
            "label": source.label,
            "path": source.path.absolute().name,
            "licence": reader.licence,
            "seen_real": reader.seen_real,
            "posts": rows["posts"],
            "items": num_items,
            "replies": rows["posts"] - rows["items"],
            "reactions": rows["reactions"],
            "accounts": rows["accounts"],
            "bad": sum(answer["bad"] for answer in mine),
            "cut_short": sorted({answer["file"] for answer in mine if answer["cut_short"]}),
        }


def _filled(files: Sequence[str], schema: Any, name: str, num_rows: int) -> npt.NDArray[Any]:
    """Read one column of many files into one array."""
    column = np.empty(num_rows, schema.field(name).type.to_pandas_dtype())
    start = 0
    for file in files:
        values = pq.read_table(file, columns=[name])[name].to_numpy()
        column[start : start + len(values)] = values
        start += len(values)
    return column
