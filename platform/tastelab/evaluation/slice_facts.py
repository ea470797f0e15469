"""What slices are cut by: facts of the measured impressions, and what of the train split a model has seen.

Shape letters: N impressions, H history slots, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.data.order import row_groups
from tastelab.data.ragged import flat, last_slots, padded
from tastelab.data.tables import PreparedData
from tastelab.evaluation.evaluate import tables

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Facts:
    """Of every impression, in the order of its rows."""

    positive_N: Ints
    """Item row of the first clicked candidate; -1: nothing was clicked."""
    history_N: Ints
    """Length of the history that the model sees."""
    repeats_N: Bools
    """Whether the positive, or another item of its group, is in that history."""
    users: pa.ChunkedArray


@dataclass(frozen=True)
class Seen:
    """What the reference impressions of the train split show."""

    items_I: Bools
    """Items that are a candidate or in a history, as far back as the model looks."""
    clicks_I: Ints | None
    """Clicks on every item; None where no impression has labels."""
    users: pa.Array


def facts(data: PreparedData, split: str, rows: Ints, max_history: int, group_I: Ints) -> Facts:
    """Read the facts of labelled impressions.

    Args:
        data: the prepared data set.
        split: the split that was measured.
        rows: N sorted rows of it.
        max_history: most recent clicks that the model sees.
        group_I: items of one value count as the same item.
    """
    positives, lengths, repeats, users = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)], []
    for table in tables(row_groups(data, split, rows), ["user_id", "history", "candidates", "labels"]):
        positive_N = first_positives(table)
        history_NH, mask_NH = padded(*flat(table["history"]), max_history)
        same_NH = group_I[history_NH] == group_I[positive_N][:, None]
        positives.append(positive_N)
        lengths.append(mask_NH.sum(axis=1))
        repeats.append((same_NH & mask_NH).any(axis=1) & (positive_N >= 0))
        users.append(table["user_id"].combine_chunks())
    named = pa.chunked_array(users, pa.string())
    return Facts(np.concatenate(positives), np.concatenate(lengths), np.concatenate(repeats), named)


def first_positives(impressions: pa.Table) -> Ints:
    """Return the item row of the first clicked candidate of each impression, -1 where there is none."""
    candidates, offsets = flat(impressions["candidates"])
    clicked = np.flatnonzero(flat(impressions["labels"])[0] == 1)
    impression, first = np.unique(np.searchsorted(offsets, clicked, side="right") - 1, return_index=True)
    positive_N = np.full(impressions.num_rows, -1)
    positive_N[impression] = candidates[clicked[first]]
    return positive_N


def seen(data: PreparedData, rows: Ints, max_history: int) -> Seen:
    """Read what some impressions of the train split show; no rows stand for the whole split."""
    rows = rows if len(rows) else np.arange(data.num_impressions("train"))
    items_I, clicks_I = np.zeros(data.num_items, np.bool_), np.zeros(data.num_items, np.int64)
    users: list[pa.Array] = []
    columns = ["user_id", "history", "candidates", "labels"]
    for table in tables(row_groups(data, "train", np.sort(rows)), columns):
        history, offsets = flat(table["history"])
        position_NH, mask_NH = last_slots(offsets, max_history)
        items_I[history[position_NH[mask_NH]]] = True
        items_I[flat(table["candidates"])[0]] = True
        labelled = table.filter(pc.is_valid(table["labels"]))
        clicked = flat(labelled["candidates"])[0][flat(labelled["labels"])[0] == 1]
        clicks_I += np.bincount(clicked, minlength=data.num_items)
        users.append(pc.unique(table["user_id"]))
    named = pc.unique(pa.chunked_array(users, pa.string()))
    return Seen(items_I, clicks_I if data.has_labels("train") else None, named)


def title_words(data: PreparedData) -> Ints:
    """Count the words of every item's title: what blanks part."""
    titles = pc.utf8_trim_whitespace(data.items(["title"])["title"])
    words = pc.list_value_length(pc.utf8_split_whitespace(titles))
    return np.asarray(pc.if_else(pc.equal(titles, ""), 0, words).to_numpy(), np.int64)
