"""What a study takes away from item texts: features that are absent at random, and titles cut short.

Whether an item lacks a feature is a pure function of its id and the feature's name: the same in every process and data
set, and nested, so that what is absent at a share of .25 is absent at .5.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.schema import TEXT_FEATURES


def check_availability(missing: float, title_words: int | None) -> None:
    """Raise `ValueError` for a share that is none, or for titles cut to nothing."""
    if not 0 <= missing <= 1:
        raise ValueError(f"missing is {missing}: choose the share of items that lack each feature, from 0 to 1.")
    if title_words is not None and title_words < 1:
        raise ValueError(f"title_words is {title_words}: keep at least 1 word of each title, or None for all.")


def take_away(items: pa.Table, missing: float = 0.0, title_words: int | None = None) -> pa.Table:
    """Return the item table with texts taken away: absent features are "" (methods.md §2).

    Args:
        items: `item_id` and any text features of `schema.ITEMS`; other columns stay as they are.
        missing: share of the items that lack each feature, drawn for each feature of each item; 0 changes nothing.
        title_words: how many words of each title stay, as blanks part them; None changes nothing.

    Raises:
        ValueError: the share is outside 0 to 1, or no word would stay.
    """
    check_availability(missing, title_words)
    if title_words is not None and "title" in items.column_names:
        items = _replaced(items, "title", first_words(items["title"], title_words))
    if missing:
        for name in (column for column in items.column_names if column in TEXT_FEATURES):
            absent = pa.array(draws(items["item_id"].to_pylist(), name) < missing)
            items = _replaced(items, name, pc.if_else(absent, "", items[name]))
    return items


def draws(item_ids: Iterable[str], feature: str) -> npt.NDArray[np.float64]:
    """Return a number from [0, 1) for each item: it lacks the feature at every share above its number."""
    person = feature.encode()
    hashes = [int.from_bytes(blake2b(name.encode(), digest_size=8, person=person).digest()) for name in item_ids]
    # 53 bits, all that a float holds: a number rounded up to 1 would be there even at the share 1.
    return np.array([value >> 11 for value in hashes], np.float64) / 2.0**53


def first_words(texts: pa.ChunkedArray, num_words: int) -> pa.ChunkedArray:
    """Keep the first words of each text, one blank between them; a text of no more words stays as it is."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))
    short = pc.binary_join(pc.list_slice(words, 0, num_words), " ")
    return pc.if_else(pc.greater(pc.list_value_length(words), num_words), short, texts)


def _replaced(items: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return items.set_column(items.column_names.index(name), items.schema.field(name), column)
