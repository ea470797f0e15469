"""Rankers that know nothing of taste, and how well they do (methods.md §7).

An impression whose negatives are drawn carelessly gives its click away by age, place or length. Each ranker here looks
at one such trace; on sound data all but popularity have an AUC near ½.

Shape letters: N impressions, S slots (candidates of all impressions, end to end), E earlier clicks, M items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastelab.data.ragged import Ints, flat
from tastelab.data.tables import PreparedData

Floats = npt.NDArray[np.float64]

RANKERS = {
    "random": "a random order",
    "newest": "newest first",
    "middle": "nearest to the middle of the candidates' ages first",
    "popularity": "most clicked so far first",
    "id": "highest id first",
    "slot": "in the order shown",
    "title length": "longest title first",
}
"""Name of a ranker → what it does."""
EXPECTED = frozenset({"popularity"})
"""Rankers that may differ from ½ on sound data: people do like what others like."""
TOLERANCE = 0.05
MAX_IMPRESSIONS = 100_000
"""Impressions of a split that are measured, about; of a larger one files at even distances are taken."""
NEVER = np.iinfo(np.int64).min


class Auc(NamedTuple):
    """Mean AUC over impressions, its 95 % interval (normal approximation), and how many impressions have one."""

    mean: float
    low: float
    high: float
    n: int


def trivial_aucs(data: PreparedData, split: str, seed: int = 0) -> dict[str, Auc]:
    """Measure the trivial rankers on a split, or on `MAX_IMPRESSIONS` of it, a file at a time.

    AUC is Mann–Whitney with ties counted ½, per impression, then the mean (methods.md §1). *Popularity so far* of a
    candidate is the number of impressions of any split, strictly earlier in time, in which it was a positive. Ids are
    compared as numbers as far as they are: by length, then by character. A ranker that needs a date leaves out the
    impressions without one (*newest* and *middle*: with a candidate without one); one that has no impression left is
    not in the result.

    Raises:
        ValueError: the split is unknown or has no labels.
    """
    if not data.has_labels(split):
        raise ValueError(f"The {split} split of '{data.name}' has no labels: there is nothing to rank.")
    traces, rng = _Traces.of(data), np.random.default_rng(seed)
    values: dict[str, list[Floats]] = {name: [] for name in RANKERS}
    for file in data.files(split)[:: max(1, data.num_impressions(split) // MAX_IMPRESSIONS)]:
        table = pq.read_table(file, columns=["time", "candidates", "labels"])
        table = table.filter(pc.is_valid(table["labels"]))
        if table.num_rows:
            _measure(table, traces, rng, values)
    whole = {name: np.concatenate([np.empty(0), *parts]) for name, parts in values.items()}
    return {name: _mean(auc_N) for name, auc_N in whole.items() if np.isfinite(auc_N).any()}


def named(aucs: Mapping[str, Auc]) -> list[str]:
    """Describe in a sentence each ranker but popularity whose AUC lies outside .5 ± .05."""
    return [
        f"'{name}' ({RANKERS[name]}) alone has an AUC of {auc.mean:.3f} (95 % interval {auc.low:.3f} to "
        f"{auc.high:.3f}, n {auc.n:,}): {_advice(auc)}."
        for name, auc in aucs.items()
        if name not in EXPECTED and abs(auc.mean - 0.5) > TOLERANCE
    ]


def _advice(auc: Auc) -> str:
    by_chance = auc.low <= 0.5 <= auc.high
    return "with so few impressions this may be chance" if by_chance else "compare models with it, not with .5"


def auc_per_impression(scores_S: Floats, clicked_S: npt.NDArray[np.bool_], offsets: Ints) -> Floats:
    """Compute the Mann–Whitney AUC of each impression, ties counted ½; NaN without a positive or a negative.

    Args:
        scores_S: S scores, the highest first.
        clicked_S: S labels.
        offsets: N + 1 integers; impression i has slots `offsets[i]:offsets[i + 1]`.
    """
    num = len(offsets) - 1
    impression_S = np.repeat(np.arange(num), np.diff(offsets))
    order = np.lexsort((scores_S, impression_S))
    sorted_scores, sorted_impressions, positive = scores_S[order], impression_S[order], clicked_S[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(sorted_impressions) > 0) | (sorted_scores[1:] != sorted_scores[:-1])
    tie_S = np.cumsum(begins) - 1
    positives_T = np.bincount(tie_S, positive)
    negatives_T = np.bincount(tie_S, ~positive)
    of_tie = sorted_impressions[begins]
    below_T = np.cumsum(negatives_T) - negatives_T
    negatives_N = np.bincount(of_tie, negatives_T, num)
    below_T -= (np.cumsum(negatives_N) - negatives_N)[of_tie]  # counted from the impression's own first slot
    won_N = np.bincount(of_tie, positives_T * (below_T + negatives_T / 2), num)
    pairs_N = np.bincount(of_tie, positives_T, num) * negatives_N
    auc_N: Floats = np.divide(won_N, pairs_N, out=np.full(num, np.nan), where=pairs_N > 0)
    return auc_N


@dataclass(frozen=True)
class _Traces:
    """What the rankers look at: per item, and the clicks of all splits by item and time."""

    created_M: Ints
    """Seconds; `NEVER` where there is no date."""
    title_length_M: Ints
    id_rank_M: Ints
    distinct_times: Ints
    """Times of clicks, sorted."""
    clicks: Ints
    """Item and place in `distinct_times` of every click in one number each, sorted."""

    @classmethod
    def of(cls, data: PreparedData) -> _Traces:
        items = data.items(["item_id", "title", "created"])
        ids = items["item_id"].combine_chunks()
        ranked = pa.table({"length": pc.utf8_length(ids), "id": ids})
        order = pc.sort_indices(ranked, [("length", "ascending"), ("id", "ascending")]).to_numpy()
        id_rank_M = np.empty(len(order), dtype=np.int64)
        id_rank_M[order] = np.arange(len(order))
        lengths = pc.utf8_length(items["title"]).to_numpy().astype(np.int64)
        clicked, times = _clicks(data)
        distinct, place = np.unique(times, return_inverse=True)
        clicks = np.sort(clicked * (len(distinct) + 1) + place)
        return cls(_seconds(items["created"]), lengths, id_rank_M, distinct, clicks)

    def popularity(self, items_S: Ints, times_S: Ints) -> Floats:
        """Number of clicks on each item strictly before a time."""
        start = items_S * (len(self.distinct_times) + 1)
        until = start + np.searchsorted(self.distinct_times, times_S)
        return (np.searchsorted(self.clicks, until) - np.searchsorted(self.clicks, start)).astype(np.float64)


def _clicks(data: PreparedData) -> tuple[Ints, Ints]:
    """Item and time of every positive candidate of every split."""
    items, times = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for file in (file for split in data.splits if data.has_labels(split) for file in data.files(split)):
        table = pq.read_table(file, columns=["time", "candidates", "labels"])
        table = table.filter(pc.and_(pc.is_valid(table["labels"]), pc.is_valid(table["time"])))
        candidates_S, offsets = flat(table["candidates"])
        clicked_S = flat(table["labels"])[0] > 0
        items.append(candidates_S[clicked_S])
        times.append(np.repeat(_seconds(table["time"]), np.diff(offsets))[clicked_S])
    return np.concatenate(items), np.concatenate(times)


def _measure(table: pa.Table, traces: _Traces, rng: np.random.Generator, values: dict[str, list[Floats]]) -> None:
    """Append each ranker's AUC of every impression of a table; NaN where it cannot rank."""
    candidates_S, offsets = flat(table["candidates"])
    clicked_S, times_N = flat(table["labels"])[0] > 0, _seconds(table["time"])
    impression_S = np.repeat(np.arange(len(times_N)), np.diff(offsets))
    created_S = traces.created_M[candidates_S]
    dated_N = np.bincount(impression_S, created_S == NEVER, len(times_N)) == 0
    slot_S = np.arange(len(candidates_S)) - offsets[impression_S]
    scores = {
        "random": rng.random(len(candidates_S)),
        "newest": created_S,
        "middle": -np.abs(created_S - _medians(created_S, offsets)[impression_S]),
        "popularity": traces.popularity(candidates_S, times_N[impression_S]),
        "id": traces.id_rank_M[candidates_S],
        "slot": -slot_S,
        "title length": traces.title_length_M[candidates_S],
    }
    usable = {"newest": dated_N, "middle": dated_N, "popularity": times_N != NEVER}
    for name, scores_S in scores.items():
        auc_N = auc_per_impression(scores_S.astype(np.float64), clicked_S, offsets)
        values[name].append(np.where(usable.get(name, True), auc_N, np.nan))


def _medians(values_S: Ints, offsets: Ints) -> Floats:
    """Median of the values of each impression; 0 for one without slots."""
    lengths_N = np.diff(offsets)
    impression_S = np.repeat(np.arange(len(lengths_N)), lengths_N)
    sorted_S = np.append(values_S[np.lexsort((values_S, impression_S))], 0).astype(np.float64)
    low, high = offsets[:-1] + (lengths_N - 1) // 2, offsets[:-1] + lengths_N // 2
    return np.where(lengths_N > 0, (sorted_S[low] + sorted_S[np.minimum(high, len(values_S))]) / 2, 0.0)


def _seconds(times: pa.ChunkedArray) -> Ints:
    return np.asarray(times.cast(pa.int64()).fill_null(NEVER).to_numpy(), dtype=np.int64)


def _mean(auc_N: Floats) -> Auc:
    auc_N = auc_N[np.isfinite(auc_N)]
    mean, n = float(auc_N.mean()), len(auc_N)
    half = 1.96 * float(auc_N.std(ddof=1)) / n**0.5 if n > 1 else 0.5
    return Auc(mean, max(0.0, mean - half), min(1.0, mean + half), n)
