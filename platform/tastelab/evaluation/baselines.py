"""The rows every ranking table ends with: random, popularity, newest, TF-IDF (methods.md §1).

A system that does not beat them has not learned taste. Scores are flat, one per candidate, impressions end to end.

Shape letters: N impressions, H clicks of all histories end to end, S slots (candidates end to end), I items, V words,
E words of the candidates of all slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import check_features, join_features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK_IMPRESSIONS = 1 << 10  # bounds the user vectors that TF-IDF holds at a time


@dataclass(frozen=True)
class _Request:
    """What a baseline may look at."""

    data: PreparedData
    impressions: pa.Table
    train_rows: Ints | None
    features: tuple[str, ...]
    max_history: int
    seed: int


def score(
    name: str,
    data: PreparedData,
    impressions: pa.Table,
    train_rows: NDArray[np.integer[Any]] | None = None,
    features: tuple[str, ...] = ("title",),
    max_history: int = 50,
    seed: int = 0,
) -> Floats:
    """Score all candidates of `impressions` with a baseline.

    - `random`: uniform in [0, 1), a pure function of (seed, row, slot), so parts of a split may be scored apart.
    - `popularity`: clicks on the item over the train split, logged impressions only, not histories.
    - `newest`: the item's date; items without one rank last.
    - `tfidf`: cosine of the candidate's TF-IDF vector and the sum of those of the last `max_history` clicks; 0 for
      all candidates of an empty history. Vocabulary and weights come from the texts of all items. Signs of
      feedback are not used.

    Args:
        name: one of `BASELINES`.
        data: the prepared data set that `impressions` refers to.
        impressions: N rows of `schema.IMPRESSIONS`; `row`, `history` and `candidates` are read.
        train_rows: rows of the train split whose clicks count; None counts all.
        features: text features that TF-IDF joins.
        max_history: clicks of the history that TF-IDF looks at, the most recent ones.
        seed: of the random scores.

    Returns:
        S scores in the order of the candidates.

    Raises:
        ValueError: unknown name or feature, `max_history` below 1, or data that lack what the baseline needs.
    """
    if name not in BASELINES:
        raise ValueError(f"Unknown baseline '{name}': choose one of {', '.join(BASELINES)}.")
    check_features(features)
    if max_history < 1:
        raise ValueError(f"max_history is {max_history}: choose at least 1 click.")
    rows = None if train_rows is None else np.asarray(train_rows, np.int64)
    return BASELINES[name](_Request(data, impressions, rows, features, max_history, seed))


def available(data: PreparedData) -> tuple[str, ...]:
    """Name the baselines that the data allow: popularity needs train clicks, newest needs dates."""
    missing = set()
    if "train" not in data.splits or not data.has_labels("train"):
        missing.add("popularity")
    if not _has_dates(data.items(["created"])["created"]):
        missing.add("newest")
    return tuple(name for name in BASELINES if name not in missing)


def _random(request: _Request) -> Floats:
    _, offsets_N1 = flat(request.impressions["candidates"])
    lengths_N = np.diff(offsets_N1)
    slot_S = np.arange(offsets_N1[-1]) - np.repeat(offsets_N1[:-1], lengths_N)
    row_S = np.repeat(request.impressions["row"].to_numpy(), lengths_N)
    seeds = np.full(len(slot_S), request.seed, np.int64)
    bits_S = _mixed(_mixed(_mixed(seeds.view(np.uint64)) + row_S.astype(np.uint64)) + slot_S.astype(np.uint64))
    return (bits_S >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits by one step of SplitMix64 (Steele, Lea and Flood 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _popularity(request: _Request) -> Floats:
    if "popularity" not in available(request.data):
        raise ValueError(f"'{request.data.name}' has no clicks in a train split: leave the row popularity out.")
    candidates_S, _ = flat(request.impressions["candidates"])
    clicks_I = _train_clicks(request.data, request.train_rows).astype(np.float64)
    return clicks_I[candidates_S]


def _train_clicks(data: PreparedData, train_rows: Ints | None) -> Ints:
    """Count the clicks on every item, one file of the train split after the other."""
    counted = np.full(data.num_impressions("train"), train_rows is None)
    if train_rows is not None:
        counted[train_rows] = True
    clicks_I = np.zeros(data.num_items, np.int64)
    for file in data.files("train"):
        table = pq.read_table(file, columns=["row", "candidates", "labels"])
        table = table.filter(pa.array(counted[table["row"].to_numpy()]))
        table = table.filter(pc.is_valid(table["labels"]))
        candidates_S, _ = flat(table["candidates"])
        labels_S, _ = flat(table["labels"])
        clicks_I += np.bincount(candidates_S[labels_S == 1], minlength=data.num_items)
    return clicks_I


def _newest(request: _Request) -> Floats:
    created = request.data.items(["created"])["created"]
    if not _has_dates(created):
        raise ValueError(f"No item of '{request.data.name}' has a date: leave the row newest out.")
    seconds = pc.cast(created.cast(pa.timestamp("s")), pa.int64())
    undated = pc.min(seconds).as_py() - 1
    candidates_S, _ = flat(request.impressions["candidates"])
    seconds_I: Floats = pc.fill_null(seconds, undated).to_numpy().astype(np.float64)
    return seconds_I[candidates_S]


def _has_dates(created: pa.ChunkedArray) -> bool:
    return bool(created.null_count < len(created))


def _tfidf(request: _Request) -> Floats:
    items_IV = _item_vectors(request.data, request.features)
    parts = [np.empty(0)]
    for start in range(0, request.impressions.num_rows, CHUNK_IMPRESSIONS):
        impressions = request.impressions.slice(start, CHUNK_IMPRESSIONS)
        users_NV = _history_matrix(impressions["history"], request.max_history, items_IV.shape[0]) @ items_IV
        candidates_S, offsets_N1 = flat(impressions["candidates"])
        user_S = np.repeat(np.arange(impressions.num_rows), np.diff(offsets_N1))
        parts.append(_cosines(users_NV, items_IV[candidates_S], user_S))
    return np.concatenate(parts)


def _item_vectors(data: PreparedData, features: tuple[str, ...]) -> sparse.csr_matrix:
    """Return the L2-normalised TF-IDF vectors of all items; an item without words is 0."""
    texts = join_features(data.items(list(features)), features, " ")
    try:
        return TfidfVectorizer().fit_transform(texts.to_pylist()).tocsr()
    except ValueError as error:
        raise ValueError(
            f"The items of '{data.name}' have no words in {', '.join(features)}: name features that have."
        ) from error


def _history_matrix(history: pa.ChunkedArray, max_history: int, num_items: int) -> sparse.csr_matrix:
    """Return N × I counts of the last `max_history` clicks of each history."""
    items_H, offsets_N1 = flat(history)
    lengths_N = np.diff(offsets_N1)
    recent_H = np.repeat(offsets_N1[1:], lengths_N) - np.arange(len(items_H)) <= max_history
    kept_N1 = np.append(0, np.cumsum(np.minimum(lengths_N, max_history)))
    kept_H = items_H[recent_H]
    return sparse.csr_matrix((np.ones(len(kept_H)), kept_H, kept_N1), shape=(len(lengths_N), num_items))


def _cosines(users_NV: sparse.csr_matrix, candidates_SV: sparse.csr_matrix, user_S: Ints) -> Floats:
    """Return the cosine of each unit-length candidate with its user's vector.

    Looks each word of a candidate up in its user's sorted words, so the work grows with the words of the candidates
    and not with history × candidates.
    """
    users_NV.sort_indices()
    num_words = users_NV.shape[1]
    slot_E = np.repeat(np.arange(len(user_S)), np.diff(candidates_SV.indptr))
    keys = np.repeat(np.arange(users_NV.shape[0]), np.diff(users_NV.indptr)) * num_words + users_NV.indices
    wanted_E = user_S[slot_E] * num_words + candidates_SV.indices
    place_E = np.searchsorted(keys, wanted_E)
    found_E = np.append(keys, -1)[place_E] == wanted_E
    products_E = candidates_SV.data * np.where(found_E, np.append(users_NV.data, 0.0)[place_E], 0.0)
    dots_S = np.bincount(slot_E, weights=products_E, minlength=len(user_S)).astype(np.float64, copy=False)
    norms_N = np.sqrt(np.asarray(users_NV.multiply(users_NV).sum(axis=1)).ravel())
    norms_S = norms_N[user_S]
    return dots_S / np.where(norms_S > 0, norms_S, 1.0)


BASELINES: dict[str, Callable[[_Request], Floats]] = {
    "random": _random,
    "popularity": _popularity,
    "newest": _newest,
    "tfidf": _tfidf,
}
"""The baselines by name, in the order of a table's rows."""
