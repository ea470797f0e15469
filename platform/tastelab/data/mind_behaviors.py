"""One block of a behaviors file → impressions whose items are rows.

A line is `impression id, user, time, history, candidates` between tabs; history and candidates are separated by blanks,
a candidate is written `N1-1` (clicked) or `N1-0`, or `N1` where the file has no labels. Ids are looked up where they
stand in the block's bytes, all at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastelab.data.mind_blocks import Block
from tastelab.data.mind_ids import PADDING, Ints, Keys, KeyTable, keys_of

NUM_COLUMNS = 5
TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"  # 11/15/2019 9:55:12 AM
REASONS = ("", "empty candidates", "label neither 0 nor 1", "unparsable time", "duplicate impression id")
GOOD, EMPTY, WRONG_LABEL, WRONG_TIME, DUPLICATE = range(len(REASONS))
BLANK, DASH, ZERO, ONE = b" -01"


@dataclass(frozen=True)
class ItemLists:
    """A column of item lists: flat rows and offsets of length n + 1.

    Rows are -1 at `unknown_at`, where an item is named that the table lacks: `unknown_ids[unknown_index]`.
    """

    rows: NDArray[np.int32]
    offsets: Ints
    unknown_at: Ints
    unknown_index: Ints
    unknown_ids: list[str]


@dataclass(frozen=True)
class Parsed:
    """The impressions of a block, one per line, each with the code of the reason why it cannot be right or `GOOD`."""

    impression_ids: pa.Array
    impression_keys: Keys
    user_ids: pa.Array
    times: pa.Array
    history: ItemLists
    candidates: ItemLists
    labels: NDArray[np.int8] | None
    reasons: NDArray[np.uint8]


def has_labels(text: bytes) -> bool:
    """Tell from a file's first block whether most of its lines end with a label."""
    return 2 * (text.count(b"-0\n") + text.count(b"-1\n")) >= text.count(b"\n")


def parse(block: Block, items: KeyTable, labelled: bool) -> Parsed:
    """Parse well-formed lines; a pure function, so that blocks can be parsed in parallel."""
    text = np.frombuffer(block.text + PADDING, np.uint8)
    fields = block.field_ends(NUM_COLUMNS)
    history, candidates = _tokens(text, fields)
    labels, labels_valid = _labels(text, candidates) if labelled else (None, None)
    if labelled:
        candidates = _Tokens(candidates.starts, candidates.lengths - 2, candidates.offsets)
    times = _times(_strings(block.text, fields, 2))
    line_starts = np.concatenate([[0], fields[:-1, -1] + 1]).astype(np.int64)
    return Parsed(
        impression_ids=_strings(block.text, fields, 0),
        impression_keys=keys_of(text, line_starts, fields[:, 0] - line_starts),
        user_ids=_strings(block.text, fields, 1),
        times=times,
        history=_look_up(text, history, items),
        candidates=_look_up(text, candidates, items),
        labels=labels,
        reasons=_reasons(candidates, labels_valid, times),
    )


@dataclass(frozen=True)
class _Tokens:
    """Where the tokens of a column stand; those of line i are `offsets[i] : offsets[i + 1]`."""

    starts: Ints
    lengths: Ints
    offsets: Ints


def _tokens(text: NDArray[np.uint8], fields: Ints) -> tuple[_Tokens, _Tokens]:
    """Find the tokens of the history and the candidates; empty ones (two blanks, an empty field) are none."""
    ends = np.flatnonzero(text[: -len(PADDING)] <= BLANK)  # tabs and newlines too
    starts = np.concatenate([[0], ends[:-1] + 1])
    borders = np.searchsorted(ends, fields[:, 2:])  # the last token of time, history, candidates of each line
    runs = np.diff(borders.ravel(), prepend=-1)
    column = np.repeat(np.tile(np.array([0, 1, 2], np.uint8), len(fields)), runs)
    column[starts == ends] = 0
    found = []
    for number in (1, 2):
        chosen = np.flatnonzero(column == number)
        offsets = np.concatenate([[0], np.searchsorted(chosen, borders[:, 2], side="right")])
        found.append(_Tokens(starts[chosen], ends[chosen] - starts[chosen], offsets))
    return found[0], found[1]


def _labels(text: NDArray[np.uint8], candidates: _Tokens) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Read the label behind each candidate's last dash, and tell which are 0 or 1 behind a dash behind an id."""
    last = candidates.starts + candidates.lengths - 1
    label = text[last]
    valid = (text[last - 1] == DASH) & ((label == ZERO) | (label == ONE)) & (candidates.lengths > 2)
    return (label == ONE).astype(np.int8), valid


def _look_up(text: NDArray[np.uint8], tokens: _Tokens, items: KeyTable) -> ItemLists:
    lengths = np.maximum(tokens.lengths, 0)
    keys = keys_of(text, tokens.starts, lengths)
    rows = items.find(keys)
    unknown_at = np.flatnonzero(rows < 0)
    _, first, index = np.unique(keys[unknown_at], return_index=True, return_inverse=True)
    order = np.argsort(first)  # ids in the order in which the file names them
    places = unknown_at[first[order]]
    ids = [
        bytes(text[start : start + length]).decode("utf-8", "backslashreplace")
        for start, length in zip(tokens.starts[places].tolist(), lengths[places].tolist(), strict=True)
    ]
    return ItemLists(rows, tokens.offsets, unknown_at, np.argsort(order)[index], ids)


def _reasons(candidates: _Tokens, labels_valid: NDArray[np.bool_] | None, times: pa.Array) -> NDArray[np.uint8]:
    """Return the code of the first thing that is wrong with each line."""
    reasons = np.where(times.is_null().to_numpy(zero_copy_only=False), WRONG_TIME, GOOD).astype(np.uint8)
    if labels_valid is not None:
        reasons[np.searchsorted(candidates.offsets, np.flatnonzero(~labels_valid), side="right") - 1] = WRONG_LABEL
    reasons[np.diff(candidates.offsets) == 0] = EMPTY
    return reasons


def _strings(text: bytes, fields: Ints, column: int) -> pa.Array:
    """Copy one column out of the block."""
    offsets = np.concatenate([[0], fields.ravel() + 1]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    with_separator = pa.Array.from_buffers(pa.binary(), fields.size, buffers)
    chosen = with_separator.take(pa.array(np.arange(column, fields.size, NUM_COLUMNS)))
    return pc.binary_slice(chosen, 0, -1).cast(pa.string())


def _times(texts: pa.Array) -> pa.Array:
    """Parse MIND's 12-hour clock; null where a text is no such time."""
    series = pl.Series(texts).str.to_datetime(TIME_FORMAT, strict=False)
    return series.to_arrow().cast(pa.timestamp("s"))
