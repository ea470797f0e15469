"""A model's metrics on parts of the impressions: cold items, new users, short histories (docs/slices.md).

Shape letters: N impressions, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from tastelab.data.domains import domains, impression_domains
from tastelab.data.mix.duplicates import cached_near_duplicates
from tastelab.data.tables import PreparedData
from tastelab.evaluation.evaluate import Evaluation
from tastelab.evaluation.slice_facts import Facts, Seen, facts, seen, title_words
from tastelab.metrics import ranking

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Slices = dict[str, list[dict[str, Any]]]

MIN_IMPRESSIONS = 50
"""A slice with fewer scored impressions gets no numbers: their interval would be wider than any difference here."""
MAX_RESAMPLED = 5_000
"""Values of a slice up to which its interval is a bootstrap; above, it is the normal one that a bootstrap tends to."""
NORMAL_95 = 1.959964

HISTORY = (0, 1, 5, 20)
CLICKS = (0, 1, 5)
WORDS = (1, 6, 11)
"""First values of the bins. They are absolute, so that a bin means the same on every data set."""


@dataclass(frozen=True)
class Dimension:
    """One way to cut impressions: `code_N` says which of `labels` each belongs to, -1 to none."""

    labels: tuple[str, ...]
    code_N: Ints


def slices(data: PreparedData, split: str, evaluation: Evaluation, seen_rows: Ints, max_history: int) -> Slices:
    """Measure an evaluated model on slices of the impressions.

    An impression without a positive has no metric and is in no slice that counts; one with several positives is cut by
    its first. See `dimensions` for what the slices are.

    Args:
        data: the prepared data set.
        split: the split that was measured.
        evaluation: values per impression, NaN where a metric does not exist; its rows are sorted.
        seen_rows: rows of the train split that the model was trained on. Without any (an untrained model) the whole
            train split is the reference, so that its slices hold the same impressions as a trained model's may.
        max_history: most recent clicks that the model sees.

    Returns:
        By dimension, a dict per slice: `{"slice", "n", "metrics": {name: {"mean", "low", "high", "n"}}}`, `n` the
        impressions with an AUC, or `{"slice", "n", "too_few": True}` below `MIN_IMPRESSIONS`. Dimensions that the data
        do not have are left out.
    """
    found = dimensions(data, split, evaluation.rows, seen_rows, max_history)
    return {name: _measured(dimension, evaluation.values) for name, dimension in found.items()}


def dimensions(data: PreparedData, split: str, rows: Ints, seen_rows: Ints, max_history: int) -> dict[str, Dimension]:
    """Cut impressions in every way that the data allow.

    - `items`: the positive is in no seen train impression, neither candidate nor in a history (cold), or it is (seen).
    - `users`: the user has no seen train impression (cold), or has (seen).
    - `history`: clicks in the history, `max_history` at most.
    - `popularity`: clicks on the positive in seen train impressions.
    - `community`: domain of the impression (`data.domains`), where the data have several.
    - `near-duplicate`: the history holds the positive or a near-duplicate of it.
    - `title length`: words of the positive's title.

    Args:
        data: the prepared data set.
        split: a labelled split.
        rows: N sorted rows of it.
        seen_rows: as for `slices`.
        max_history: as for `slices`.
    """
    words_I = title_words(data)
    titled = bool(words_I.any())
    own_I = np.arange(data.num_items)
    group_I = _groups(data) if titled else own_I
    known = facts(data, split, rows, max_history, group_I)
    found = _by_seen(known, seen(data, seen_rows, max_history)) if "train" in data.splits else {}
    found["history"] = _binned(known.history_N, HISTORY)
    if len(names := domains(data)) > 1:
        found["community"] = Dimension(names, np.asarray(impression_domains(data, split), np.int64)[rows])
    if titled:
        found["near-duplicate"] = Dimension(("yes", "no"), np.where(known.repeats_N, 0, 1))
        found["title length"] = _binned(words_I[known.positive_N], WORDS if words_I.all() else (0, *WORDS))
    clicked_N = known.positive_N >= 0
    ordered = {name: found[name] for name in ORDER if name in found}
    return {name: Dimension(d.labels, np.where(clicked_N, d.code_N, -1)) for name, d in ordered.items()}


ORDER = ("items", "users", "history", "popularity", "community", "near-duplicate", "title length")
"""Every dimension, in the order of tables."""


def _by_seen(known: Facts, reference: Seen) -> dict[str, Dimension]:
    """Cut by what the model has seen of the train split."""
    new_N = ~pc.is_in(known.users, value_set=reference.users).to_numpy().astype(np.bool_)
    labels = ("cold", "seen")
    found = {
        "items": Dimension(labels, np.where(reference.items_I[known.positive_N], 1, 0)),
        "users": Dimension(labels, np.where(new_N, 0, 1)),
    }
    if reference.clicks_I is not None:
        found["popularity"] = _binned(reference.clicks_I[known.positive_N], CLICKS)
    return found


def _groups(data: PreparedData) -> Ints:
    """Return the group of near-duplicates of every item; an item alone is its own."""
    group_I = np.asarray(cached_near_duplicates(data), np.int64)
    return np.where(group_I < 0, np.arange(data.num_items), group_I)


def _binned(value_N: Ints, firsts: Sequence[int]) -> Dimension:
    """Cut whole numbers into bins by the first value of each; the last bin is open."""
    lasts = [first - 1 for first in firsts[1:]]
    closed = [str(a) if a == b else f"{a}–{b}" for a, b in zip(firsts, lasts, strict=False)]
    return Dimension((*closed, f"{firsts[-1]}+"), np.searchsorted(firsts, value_N, side="right") - 1)


def _measured(dimension: Dimension, values: dict[str, Floats]) -> list[dict[str, Any]]:
    """Summarise every slice of a dimension."""
    order_N = np.argsort(dimension.code_N, kind="stable")
    bounds = np.searchsorted(dimension.code_N[order_N], np.arange(len(dimension.labels) + 1))
    rows = [order_N[start:stop] for start, stop in pairwise(bounds)]
    return [
        _slice(label, {name: value_N[chosen] for name, value_N in values.items()})
        for label, chosen in zip(dimension.labels, rows, strict=True)
    ]


def _slice(label: str, values: dict[str, Floats]) -> dict[str, Any]:
    scored = int(np.isfinite(values["auc"]).sum())
    if scored < MIN_IMPRESSIONS:
        return {"slice": label, "n": scored, "too_few": True}
    return {"slice": label, "n": scored, "metrics": {name: _interval(value) for name, value in values.items()}}


def _interval(value_N: Floats) -> dict[str, float]:
    """Bound a mean as `Evaluation.metrics` does, or by its normal distribution where resampling would take minutes."""
    present = value_N[np.isfinite(value_N)]
    if len(present) <= MAX_RESAMPLED:
        return ranking.summary({"": present})[""]
    mean, error = float(present.mean()), float(present.std(ddof=1)) / len(present) ** 0.5
    return {"mean": mean, "low": mean - NORMAL_95 * error, "high": mean + NORMAL_95 * error, "n": len(present)}
