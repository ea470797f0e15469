"""Behaviors files → tables of impressions in file order, parsed by threads; unknown items get rows of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tastelab.data.mind_behaviors import DUPLICATE, GOOD, NUM_COLUMNS, REASONS, ItemLists, Parsed, has_labels, parse
from tastelab.data.mind_blocks import Block, read_blocks, well_formed
from tastelab.data.mind_ids import KeyTable, SeenKeys, keys_of_strings
from tastelab.data.mind_layout import RawFile
from tastelab.data.quarantine import BadLine, Quarantine
from tastelab.schema import IMPRESSIONS

NUM_THREADS = 2

Advance = Callable[[int], object]


class ItemRows:
    """The row of every item: those of the news files, then ids that only impressions name, in order of appearance."""

    def __init__(self, item_ids: list[str]) -> None:
        """Number the ids of the item table, which are distinct."""
        self.table = KeyTable(keys_of_strings(item_ids))
        self.num_known = len(item_ids)
        self.unknown: dict[str, int] = {}
        self._named = np.zeros(self.num_known, np.bool_)

    def complete(self, lists: ItemLists) -> pa.ListArray:
        """Give unknown items a row and return the column as Arrow lists."""
        rows = lists.rows.copy()
        self._named[rows[rows >= 0]] = True
        new = [self.unknown.setdefault(item, self.num_known + len(self.unknown)) for item in lists.unknown_ids]
        rows[lists.unknown_at] = np.array(new, np.int32)[lists.unknown_index]
        return pa.ListArray.from_arrays(pa.array(lists.offsets, pa.int32()), pa.array(rows))

    @property
    def num_named(self) -> int:
        """Number of distinct items that impressions name."""
        return int(self._named.sum()) + len(self.unknown)

    def check(self, max_share: float) -> None:
        """Raise `ValueError` if too many of the items named by impressions are unknown."""
        if len(self.unknown) > max_share * self.num_named:
            raise ValueError(
                f"{len(self.unknown):,} of the {self.num_named:,} items that impressions name are in no news file "
                f"(such as {', '.join(list(self.unknown)[:3])}), more than the tolerated {max_share:.2%}: "
                f"check that news and behaviors belong together, or raise --max-unknown-share."
            )


def read_impressions(
    split: str, file: RawFile, rows: ItemRows, quarantine: Quarantine, advance: Advance
) -> Iterator[pa.Table]:
    """Yield a split's impressions (`schema.IMPRESSIONS` but `row`) block by block, in file order.

    Malformed lines go to `quarantine`, which fails at the end of the file if they are too many.
    """
    seen = SeenKeys()
    num_lines = num_bad = 0
    for work in _parsed_blocks(file, rows.table, advance):
        num_lines += work.block.num_lines + len(work.bad)
        parsed, bad = _only_good(work, rows.table, seen)
        num_bad += quarantine.add(split, file.label, sorted(work.bad + bad))
        yield _as_table(parsed, rows)
    quarantine.check(file.label, num_lines, num_bad)


class _Work(NamedTuple):
    """A block, what was malformed in it by its columns alone, and what parsing the rest gave."""

    block: Block
    bad: list[BadLine]
    labelled: bool
    parsed: Parsed


def _parsed_blocks(file: RawFile, items: KeyTable, advance: Advance) -> Iterator[_Work]:
    """Parse the blocks of a file ahead of their use, a thread more than are in work, so that few are in memory."""
    labelled: bool | None = None
    pending: deque[Future[_Work]] = deque()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for number, text in read_blocks(file, advance):
            labelled = has_labels(text) if labelled is None else labelled
            pending.append(pool.submit(_work, number, text, items, labelled))
            if len(pending) > NUM_THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _work(number: int, text: bytes, items: KeyTable, labelled: bool) -> _Work:
    block, bad = well_formed(number, text, (NUM_COLUMNS,))
    return _Work(block, bad, labelled, parse(block, items, labelled))


def _only_good(work: _Work, items: KeyTable, seen: SeenKeys) -> tuple[Parsed, list[BadLine]]:
    """Leave out lines whose values cannot be right or whose impression id came before."""
    reasons = work.parsed.reasons.copy()
    good = np.flatnonzero(reasons == GOOD)
    reasons[good[seen.repeated(work.parsed.impression_keys[good])]] = DUPLICATE
    if not reasons.any():
        return work.parsed, []
    kept, rest = work.block.split(reasons == GOOD)
    codes = reasons[reasons != GOOD].tolist()
    bad = [BadLine(number, REASONS[code], line) for code, (number, line) in zip(codes, rest, strict=True)]
    return parse(kept, items, work.labelled), bad


def _as_table(parsed: Parsed, rows: ItemRows) -> pa.Table:
    num_rows = len(parsed.impression_ids)
    candidates = rows.complete(parsed.candidates)
    labels = pa.nulls(num_rows, pa.list_(pa.int8()))
    if parsed.labels is not None:
        labels = pa.ListArray.from_arrays(candidates.offsets, pa.array(parsed.labels))
    columns = {
        "impression_id": parsed.impression_ids,
        "user_id": parsed.user_ids,
        "time": parsed.times,
        "history": rows.complete(parsed.history),
        "feedback": pa.nulls(num_rows, pa.list_(pa.int8())),
        "candidates": candidates,
        "labels": labels,
    }
    return pa.table(columns, schema=pa.schema([IMPRESSIONS.field(name) for name in columns]))
