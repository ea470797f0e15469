"""What the impressions of a prepared data set say of clicks: who, when, what was known, what was clicked.

Shape letters: I impressions of all splits, in file order, train first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData
from tastelab.schema import SPLITS, UNKNOWN_TIME

Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

SECONDS = pa.timestamp("s")  # Parquet knows no seconds: it gives back milliseconds
COLUMNS = ["user_id", "time", "history", "feedback", "candidates", "labels"]


@dataclass(frozen=True)
class Lists:
    """A list of items for each impression: impression i owns `items[offsets[i]:offsets[i + 1]]`."""

    items: Items
    offsets: Ints

    @property
    def lengths(self) -> Ints:
        """Items of each list."""
        return np.diff(self.offsets)

    def taken(self, rows: Ints) -> Lists:
        """Return the lists of some impressions, in that order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Lists(self.items[source], offsets)


@dataclass(frozen=True)
class Logged:
    """Histories (liked items only) and positives of all impressions."""

    user_ids: pa.Array
    users_I: Ints  # into `user_ids`, which stand in the order of their first impression
    times_I: Ints  # seconds, UNKNOWN_TIME where the data have none
    splits_I: npt.NDArray[np.int8]  # place in `schema.SPLITS`
    history: Lists
    positives: Lists  # in the order shown


def read_logged(data: PreparedData) -> Logged:
    """Read all splits; an item that a history marks as disliked is no click, and a split without labels has none."""
    parts = [part for code, split in enumerate(SPLITS) if split in data.splits for part in _parts(data, split, code)]
    users, times, splits, histories, positives = zip(*parts, strict=True)
    encoded = pa.chunked_array(users).combine_chunks().dictionary_encode()
    return Logged(
        encoded.dictionary,
        encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        np.concatenate(times),
        np.concatenate(splits),
        _joined(histories),
        _joined(positives),
    )


Part = tuple[pa.Array, Ints, npt.NDArray[np.int8], Lists, Lists]


def _parts(data: PreparedData, split: str, code: int) -> Iterator[Part]:
    for file in data.files(split):
        table = pq.read_table(file, columns=COLUMNS)
        times = table["time"].cast(SECONDS).cast("int64").fill_null(UNKNOWN_TIME).to_numpy()
        users = pa.concat_arrays([pa.array([], pa.string()), *table["user_id"].chunks])
        yield users, times, np.full(len(table), code, np.int8), _liked(table), _positives(table)


def _liked(table: pa.Table) -> Lists:
    items, offsets = flat(table["history"])
    if table["feedback"].null_count == len(table):
        return Lists(items.astype(np.int32), offsets)
    given_I = table["feedback"].is_valid().to_numpy()
    liked = np.ones(len(items), np.bool_)
    liked[np.repeat(given_I, np.diff(offsets))] = flat(table["feedback"])[0] > 0
    return _kept(items, offsets, liked)


def _positives(table: pa.Table) -> Lists:
    items, offsets = flat(table["candidates"])
    labels, _ = flat(table["labels"])  # of an impression without labels: none
    clicked = np.zeros(len(items), np.bool_)
    clicked[np.repeat(table["labels"].is_valid().to_numpy(), np.diff(offsets))] = labels == 1
    return _kept(items, offsets, clicked)


def _kept(items: Ints, offsets: Ints, kept: Bools) -> Lists:
    counted = np.concatenate([[0], np.cumsum(kept)])
    return Lists(items[kept].astype(np.int32), counted[offsets].astype(np.int64))


def _joined(lists: tuple[Lists, ...]) -> Lists:
    lengths = np.concatenate([each.lengths for each in lists])
    return Lists(np.concatenate([each.items for each in lists]), np.concatenate([[0], np.cumsum(lengths)]))
