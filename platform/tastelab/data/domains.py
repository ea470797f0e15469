"""The domain of every impression: the community or corpus that it comes from, to train on one and test on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData, open_prepared

Ints = npt.NDArray[np.int64]
NONE = -1


def domains(data: PreparedData) -> tuple[str, ...]:
    """Return the domains that impressions of `data` belong to, most train impressions first, ties by name.

    The domain of an item is its `community` where the item table has that column; else its `category`, if the
    candidates of each impression share one and there are at least two; else there is one domain, the data set's name.
    """
    return _assigned(str(data.path.absolute()), data.fingerprint)[0]


def impression_domains(data: PreparedData, split: str) -> Ints:
    """Return `[rows of the split]` codes into `domains(data)`.

    An impression belongs to the domain of its candidates: where they differ to that of its positives, where these
    differ, or are absent, to none (-1).

    Raises:
        ValueError: There is no such split.
    """
    data.num_impressions(split)  # knows the names of the splits
    return _assigned(str(data.path.absolute()), data.fingerprint)[1][split]


def rows_of(data: PreparedData, split: str, names: Sequence[str]) -> Ints:
    """Return the rows of a split whose domain is among `names`, sorted.

    Raises:
        ValueError: There is no such split, or a name is no domain of `data`.
    """
    known = domains(data)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"'{data.name}' has no domain '{unknown[0]}': choose among {', '.join(known)}.")
    chosen = np.array([known.index(name) for name in names], np.int64)
    return np.flatnonzero(np.isin(impression_domains(data, split), chosen))


@lru_cache(maxsize=8)
def _assigned(path: str, fingerprint: str) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """Name the domains of a prepared folder and code the impressions of each split; the fingerprint keys the cache."""
    data = open_prepared(Path(path))
    names, codes_N = item_domains(data)
    if len(names) == 1:
        return tuple(names), {split: _fixed(np.zeros(data.num_impressions(split))) for split in data.splits}
    codes = {split: _of_impressions(data, split, codes_N) for split in data.splits}
    counts = {split: np.bincount(codes[split][codes[split] >= 0], minlength=len(names)) for split in codes}
    train = counts.get("train", np.zeros(len(names), np.int64))
    used = np.flatnonzero(sum(counts.values()))
    order = sorted(used.tolist(), key=lambda code: (-train[code], names[code]))
    place = np.full(len(names) + 1, NONE)  # its last slot is what NONE points at
    place[order] = np.arange(len(order))
    return tuple(names[code] for code in order), {split: _fixed(place[codes[split]]) for split in codes}


def item_domains(data: PreparedData) -> tuple[list[str], Ints]:
    """Return names of domains and each item's code among these, -1 where it has none.

    The names are not those of `domains`: they stand in order of the item table, and some may have no impressions.
    """
    if data.has_item_column("community"):
        return _coded(data.items(["community"])["community"])
    names, codes_N = _coded(data.items(["category"])["category"])
    if len(names) > 1 and all(_is_shared(*block, codes_N) for split in data.splits for block in _blocks(data, split)):
        return names, codes_N
    return [data.name], np.zeros(data.num_items, np.int64)


def _coded(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    encoded = pc.if_else(pc.equal(column, ""), None, column).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # of zero items
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes = pc.fill_null(encoded.indices, NONE).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.astype(np.int64)


def _blocks(data: PreparedData, split: str) -> Iterator[tuple[pa.ChunkedArray, pa.ChunkedArray]]:
    """Yield the candidates and labels of a split, file by file."""
    for file in data.files(split):
        table = pq.read_table(file, columns=["candidates", "labels"])
        yield table["candidates"], table["labels"]


def _is_shared(candidates: pa.ChunkedArray, labels: pa.ChunkedArray, codes_N: Ints) -> bool:
    """Tell whether the candidates of every impression are of one domain."""
    values, offsets = flat(candidates)
    return bool((_common(codes_N[values], _owners(offsets), len(offsets) - 1)[np.diff(offsets) > 0] >= 0).all())


def _of_impressions(data: PreparedData, split: str, codes_N: Ints) -> Ints:
    parts = []
    for candidates, labels in _blocks(data, split):
        values, offsets = flat(candidates)
        signs, label_offsets = flat(labels)  # null, an empty list here, where a split has no labels
        owner = _owners(label_offsets)[signs == 1]
        positives = values[offsets[owner] + np.flatnonzero(signs == 1) - label_offsets[owner]]
        num_rows = len(offsets) - 1
        of_all = _common(codes_N[values], _owners(offsets), num_rows)
        parts.append(np.where(of_all >= 0, of_all, _common(codes_N[positives], owner, num_rows)))
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _owners(offsets: Ints) -> Ints:
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _common(codes: Ints, owner: Ints, num_rows: int) -> Ints:
    """Return the code that all values of a row have; -1 where they differ, one has none, or there are no values."""
    first = np.full(num_rows, NONE)
    first[owner[::-1]] = codes[::-1]  # of several writes to one row the last stays: its first value
    return np.where(np.bincount(owner, codes != first[owner], num_rows) > 0, NONE, first)


def _fixed(codes: npt.NDArray[np.generic]) -> Ints:
    """Keep callers of the cache from writing into it."""
    fixed = codes.astype(np.int64)
    fixed.setflags(write=False)
    return fixed
