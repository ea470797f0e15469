"""EB-NeRD's articles, histories and behaviors, read row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.data.ebnerd_layout import open_table
from tastelab.data.feeds.text import MAX_TEXT_CHARS, clean_title
from tastelab.data.quarantine import BadLine
from tastelab.data.ragged import flat
from tastelab.schema import ITEMS

Ints = npt.NDArray[np.int64]
BLOCK = 8_192

ARTICLES = ("article_id", "title")
ARTICLE_EXTRAS = ("subtitle", "body", "category_str", "topics", "ner_clusters", "published_time")
"""Columns that smaller copies of the articles may lack. `subcategory` holds numbers without a name: `topics` it is."""
HISTORY = ("user_id", "article_id_fixed")
BEHAVIORS = ("impression_id", "user_id", "impression_time", "article_ids_inview")
CLICKED = "article_ids_clicked"


class ArticleRows:
    """The row of every article: those of the articles' file, then ids that only logs name, in order of appearance."""

    def __init__(self, ids: Ints) -> None:
        """Number the ids of the item table, which are distinct."""
        self.order = np.argsort(ids)
        self.ids, self.num_known = ids[self.order], len(ids)
        self.unknown: dict[int, int] = {}
        self._named = np.zeros(len(ids), np.bool_)

    def of(self, ids: Ints) -> npt.NDArray[np.int32]:
        """Return the rows of ids, giving unknown ones a row."""
        rows = np.full(len(ids), -1, np.int32)
        if self.num_known:
            places = np.minimum(np.searchsorted(self.ids, ids), self.num_known - 1)
            rows = np.where(self.ids[places] == ids, self.order[places], -1).astype(np.int32)
        self._named[rows[rows >= 0]] = True
        absent = np.flatnonzero(rows < 0)
        distinct, first, inverse = np.unique(ids[absent], return_index=True, return_inverse=True)
        for place in np.argsort(first):
            self.unknown.setdefault(int(distinct[place]), self.num_known + len(self.unknown))
        new = np.array([self.unknown[article] for article in distinct.tolist()], np.int32)
        rows[absent] = new[inverse]
        return rows

    @property
    def num_named(self) -> int:
        """Number of distinct articles that histories and impressions name."""
        return int(self._named.sum()) + len(self.unknown)

    def check(self, max_share: float) -> None:
        """Raise `ValueError` if too many of the articles named are unknown."""
        if len(self.unknown) > max_share * self.num_named:
            raise ValueError(
                f"{len(self.unknown):,} of the {self.num_named:,} articles that impressions and histories name are not "
                f"in articles.parquet (such as {', '.join(map(str, list(self.unknown)[:3]))}), more than the tolerated "
                f"{max_share:.2%}: check that the files belong together, or raise --max-unknown-share."
            )


def read_articles(path: Path, label: str) -> pa.Table:
    """Return the table of `schema.ITEMS`; of several articles with one id the first wins, one without an id is dropped.

    `abstract` is the subtitle, `body` its first 2,000 characters, `subcategory` the topics, `entities` the names found.
    """
    file = open_table(path, label, ARTICLES)
    names = [name for name in (*ARTICLES, *ARTICLE_EXTRAS) if name in file.schema_arrow.names]
    blocks = [_articles(pa.Table.from_batches([batch])) for batch in file.iter_batches(BLOCK, columns=names)]
    table = pa.concat_tables(blocks)
    _, first = np.unique(table["item_id"].to_numpy(zero_copy_only=False).astype(np.int64), return_index=True)
    return table.take(np.sort(first))


def _articles(block: pa.Table) -> pa.Table:
    block = block.filter(pc.is_valid(block["article_id"]))

    def text(name: str) -> list[str]:
        if name not in block.column_names:
            return [""] * block.num_rows
        cut = pc.utf8_slice_codeunits(block[name].cast(pa.string()).fill_null(""), 0, MAX_TEXT_CHARS)
        return [clean_title(value) for value in cut.to_pylist()]

    def joined(name: str) -> list[str]:
        values = block[name].to_pylist() if name in block.column_names else [None] * block.num_rows
        return [", ".join(dict.fromkeys(clean_title(str(v)) for v in each or () if v)) for each in values]

    times = pa.nulls(block.num_rows, pa.timestamp("s"))
    if "published_time" in block.column_names:
        times = _seconds(block["published_time"])
    columns = {
        "item_id": block["article_id"].cast(pa.int64()).cast(pa.string()),
        "title": text("title"),
        "abstract": text("subtitle"),
        "body": text("body"),
        "category": text("category_str"),
        "subcategory": joined("topics"),
        "entities": joined("ner_clusters"),
        "created": times,
        "has_text": [True] * block.num_rows,
    }
    return pa.table(columns).cast(ITEMS)


def _seconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.floor_temporal(times.cast(pa.timestamp("us")), unit="second").cast(pa.timestamp("s"))


@dataclass(frozen=True)
class Histories:
    """The clicks of each user before a split, oldest first."""

    users: Ints  # sorted
    starts: Ints
    stops: Ints
    rows: npt.NDArray[np.int32]  # of items, all users one after the other

    def of(self, users: Ints) -> tuple[npt.NDArray[np.int32], Ints]:
        """Return the histories of impressions: flat rows of items and offsets; a user without one has none."""
        places = np.minimum(np.searchsorted(self.users, users), len(self.users) - 1)
        known = self.users[places] == users
        starts, lengths = self.starts[places], np.where(known, self.stops[places] - self.starts[places], 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return self.rows[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets


def read_histories(path: Path, label: str, articles: ArticleRows) -> Histories:
    """Read the histories of a split, in order of time where their times are there; the first of a user's rows wins."""
    file = open_table(path, label, HISTORY)
    times = [name for name in ("impression_time_fixed",) if name in file.schema_arrow.names]
    users, lengths, rows = [], [], []
    for batch in file.iter_batches(BLOCK, columns=[*HISTORY, *times]):
        batch = batch.filter(pc.is_valid(batch["user_id"]))
        ids, offsets = flat(batch["article_id_fixed"])
        if times:
            ids = _by_time(ids, offsets, batch["impression_time_fixed"])
        users.append(batch["user_id"].cast(pa.int64()).to_numpy())
        lengths.append(np.diff(offsets))
        rows.append(articles.of(ids))
    stops = np.cumsum(np.concatenate(lengths))
    distinct, first = np.unique(np.concatenate(users), return_index=True)
    return Histories(distinct, (stops - np.concatenate(lengths))[first], stops[first], np.concatenate(rows))


def _by_time(ids: Ints, offsets: Ints, times: pa.Array) -> Ints:
    values, time_offsets = flat(times.cast(pa.list_(pa.timestamp("us"))).cast(pa.list_(pa.int64())))
    if not np.array_equal(offsets, time_offsets):
        return ids
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    falls = (np.diff(values) < 0) & (np.diff(owner) == 0)
    return ids[np.lexsort((values, owner))] if falls.any() else ids


def read_behaviors(
    path: Path,
    label: str,
    histories: Histories,
    articles: ArticleRows,
    advance: Callable[[int], object],
) -> Iterator[tuple[int, pa.Table, list[BadLine]]]:
    """Yield (rows read, impressions without what cannot be right, what was left out) block by block."""
    file = open_table(path, label, BEHAVIORS)
    clicked = [name for name in (CLICKED,) if name in file.schema_arrow.names]
    first = 1
    for batch in file.iter_batches(BLOCK, columns=[*BEHAVIORS, *clicked]):
        block = pa.Table.from_batches([batch])
        reasons = _reasons(block)
        good = np.array([not reason for reason in reasons], np.bool_)
        ids = block["impression_id"].cast(pa.string()).fill_null("").to_pylist()
        bad = [BadLine(first + int(i), reasons[i], f"impression {ids[i]}".encode()) for i in np.flatnonzero(~good)]
        yield block.num_rows, _impressions(block.filter(pa.array(good)), histories, articles), bad
        first += block.num_rows
        advance(block.num_rows)


def _reasons(block: pa.Table) -> list[str]:
    """Return why each row cannot be right, "" where it can."""
    inview, offsets = flat(block["article_ids_inview"])
    reasons = np.full(block.num_rows, "", object)
    if CLICKED in block.column_names:
        clicks, click_offsets = flat(block[CLICKED])
        outside = ~np.isin(_keys(clicks, click_offsets), _keys(inview, offsets))
        reasons[np.bincount(_owner(click_offsets), outside, block.num_rows) > 0] = "click on what was not in view"
    reasons[block["impression_time"].is_null().to_numpy()] = "no time"
    reasons[block["user_id"].is_null().to_numpy()] = "no user"
    reasons[np.diff(offsets) == 0] = "nothing in view"
    found: list[str] = reasons.tolist()
    return found


def _impressions(block: pa.Table, histories: Histories, articles: ArticleRows) -> pa.Table:
    inview, offsets = flat(block["article_ids_inview"])
    past, past_offsets = histories.of(block["user_id"].cast(pa.int64()).to_numpy())
    labels = pa.nulls(block.num_rows, pa.list_(pa.int8()))
    if CLICKED in block.column_names:
        clicked = np.isin(_keys(inview, offsets), _keys(*flat(block[CLICKED])))
        labels = _lists(clicked.astype(np.int8), offsets)
    return pa.table(
        {
            "impression_id": block["impression_id"].cast(pa.string()).fill_null(""),
            "user_id": block["user_id"].cast(pa.string()),
            "time": _seconds(block["impression_time"]),
            "history": _lists(past, past_offsets),
            "feedback": pa.nulls(block.num_rows, pa.list_(pa.int8())),
            "candidates": _lists(articles.of(inview), offsets),
            "labels": labels,
        }
    )


def _owner(offsets: Ints) -> Ints:
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _keys(ids: Ints, offsets: Ints) -> Ints:
    """Return one number per (row, article): an article's id has 32 bits."""
    return (_owner(offsets) << 32) + ids


def _lists(values: npt.NDArray[np.generic], offsets: Ints) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
