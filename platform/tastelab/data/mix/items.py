"""The item table of a mix: eligible posts by community and creation, so that timelines are slices of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.mix.gather import ITEM_PART, NO_TIME
from tastelab.data.mix.people import written_ids
from tastelab.data.mix.roots import Posts
from tastelab.data.mix.timelines import Timelines

THIN = ["id", "time", "community"]


@dataclass(frozen=True)
class Catalog:
    """The items of a build, in the order of their rows."""

    timelines: Timelines
    sources: npt.NDArray[np.int32]
    """Number of each item's source."""
    rows_of_posts: npt.NDArray[np.int32]
    """Row of each distinct post that is an item, −1 elsewhere."""
    _parts: Sequence[str]
    _taken: npt.NDArray[np.int64]
    """Place of each item among the rows of all parts."""

    def table(self, key: bytes, near_duplicates: npt.NDArray[np.int32] | None = None) -> pa.Table:
        """Read the texts of the items and return columns of `schema.ITEMS` and `schema.ITEM_EXTRAS`."""
        texts = self.texts(["title", "text", "tags"])
        community = pa.DictionaryArray.from_arrays(pa.array(self.timelines.communities), list(self.timelines.names))
        community = community.cast(pa.string())
        empty, num = pa.repeat("", len(texts)), len(texts)
        columns = {
            "item_id": written_ids("i", self.timelines.hashes, key),
            "title": texts["title"],
            "abstract": texts["text"],
            "body": empty,
            "category": community,
            "subcategory": pc.list_element(pc.split_pattern(texts["tags"], ","), 0) if num else empty,
            "entities": empty,
            "created": pa.array(self.timelines.created).cast(pa.timestamp("s")),
            "has_text": pa.repeat(True, num),
            "community": community,
        }
        if near_duplicates is not None:
            columns["near_duplicate"] = pa.array(near_duplicates, mask=near_duplicates < 0)
        return pa.table(columns)

    def texts(self, columns: list[str]) -> pa.Table:
        """Read columns of the parts, part by part, and bring the kept rows into order."""
        kept, start = [], 0
        wanted = np.sort(self._taken)
        for part in self._parts:
            table = pq.read_table(part, columns=columns)
            low, high = np.searchsorted(wanted, [start, start + len(table)])
            kept.append(table.take(pa.array(wanted[low:high] - start)))
            start += len(table)
        return pa.concat_tables(kept).take(pa.array(np.searchsorted(wanted, self._taken)))


def catalog(
    parts: Sequence[str], sources: Sequence[int], labels: Sequence[str], posts: Posts, newest: int
) -> tuple[Catalog, Counter[str]]:
    """Choose and order the items.

    Args:
        parts: Files of items' texts.
        sources: Number of the source of each part.
        labels: Label of each source: communities of two sources that are called the same are told apart by it.
        posts: All posts.
        newest: Latest plausible time, seconds since 1970.

    Returns:
        The items, and the number of posts without a parent that were left out, by reason.
    """
    tables = [pq.read_table(part, columns=THIN) for part in parts]
    thin = pa.concat_tables([ITEM_PART.empty_table().select(THIN), *tables])
    source = np.repeat(np.asarray(sources, np.int32), [len(table) for table in tables])
    titled = np.concatenate([np.empty(0, bool), *(_titled(part) for part in parts)])
    ids, times = thin["id"].to_numpy(), thin["time"].to_numpy()
    place = posts.find(ids)
    first = np.zeros(len(ids), bool)
    first[np.unique(place, return_index=True)[1]] = True  # the parts hold posts in the order in which they were read
    # A repeated id is already counted among the posts; it may also have come before with a parent.
    first &= posts.roots[place] == place
    reasons = {
        "post without a title": first & ~titled,
        "post without a time": first & titled & (times == NO_TIME),
        "post from the future": first & titled & (times > newest),
    }
    kept = np.flatnonzero(first & titled & (times != NO_TIME) & (times <= newest))
    names, codes = communities(thin["community"].take(pa.array(kept)), source[kept], labels)
    order = np.lexsort((ids[kept], times[kept], codes))
    taken = kept[order]
    rows = np.full(len(posts.ids), -1, np.int32)
    rows[place[taken]] = np.arange(len(taken))
    timelines = Timelines.of(names, codes[order], times[taken], ids[taken])
    dropped = Counter({reason: int(mask.sum()) for reason, mask in reasons.items()})
    return Catalog(timelines, source[taken], rows, parts, taken), +dropped


def _titled(part: str) -> npt.NDArray[np.bool_]:
    titles = pq.read_table(part, columns=["title"])["title"]
    found: npt.NDArray[np.bool_] = pc.greater(pc.binary_length(pc.utf8_trim_whitespace(titles)), 0).to_numpy()
    return found


def communities(
    names: pa.ChunkedArray, sources: npt.NDArray[np.int32], labels: Sequence[str]
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Number the communities of all sources in the order of their names.

    Returns:
        The names, and the number of each item's community. A name that two sources use becomes "<label>/<name>".
    """
    encoded = names.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    local = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    spelled = encoded.dictionary.to_pylist()
    pairs, inverse = np.unique(local * len(labels) + sources, return_inverse=True)
    used: dict[int, int] = defaultdict(int)
    for pair in pairs.tolist():
        used[pair // len(labels)] += 1
    found = [
        spelled[pair // len(labels)]
        if used[pair // len(labels)] == 1
        else f"{labels[pair % len(labels)]}/{spelled[pair // len(labels)]}"
        for pair in pairs.tolist()
    ]
    rank = np.argsort(np.argsort(np.asarray(found, object), kind="stable"), kind="stable").astype(np.int32)
    return tuple(sorted(found)), rank[inverse]


def roots_as_rows(posts: Posts, rows_of_posts: npt.NDArray[np.int32], no_item: int) -> npt.NDArray[np.int32]:
    """Return for every post the row of its item, or the reason why it has none (below 0)."""
    rows = np.where(posts.roots >= 0, rows_of_posts[posts.roots], posts.roots)
    return np.where((posts.roots >= 0) & (rows < 0), no_item, rows).astype(np.int32)
