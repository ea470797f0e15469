"""Ranking metrics of impressions (methods.md §1): flat arrays in, one value per impression out.

Shape letters: N impressions, S slots (candidates of all impressions, end to end), G groups of tied slots, R ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tastelab.metrics.intervals import bootstrap_mean
from tastelab.metrics.slots import Floats, Groups, Ints, as_slots

TIES = ("expected", "official")


def per_impression(
    scores: ArrayLike,
    labels: ArrayLike,
    offsets: ArrayLike,
    ks: Sequence[int] = (5, 10),
    ties: str = "expected",
) -> dict[str, Floats]:
    """Compute AUC, MRR and nDCG@k of every impression (methods.md §1).

    AUC is Mann–Whitney, `P(positive scores higher) + P(tie) / 2`; MRR is `sum(y / rank) / sum(y)` over all positives;
    nDCG@k has gain `2^y - 1`, discount `log2(rank + 1)` and the ideal order of the labels.

    >>> values = per_impression([0.9, 0.8, 0.3, 0.2, 0.1], [0, 1, 0, 1, 0], [0, 5], ks=(5,))
    >>> {name: float(value[0].round(4)) for name, value in values.items()}  # the clicked ranks are 2 and 4
    {'auc': 0.5, 'mrr': 0.375, 'ndcg@5': 0.6509}

    Args:
        scores: S numbers, measured in float64; the highest ranks first. Infinities are allowed, NaN is not.
        labels: S numbers, 1 clicked and 0 not.
        offsets: N + 1 integers from 0 to S that never decrease; impression i has slots `offsets[i]:offsets[i + 1]`.
        ks: cut-offs of nDCG.
        ties: `expected`, the mean of MRR and nDCG over a random order of tied slots, or `official`, the order of
            `argsort(scores, kind="stable")[::-1]`: of tied slots the last comes first. AUC does not depend on it.

    Returns:
        `auc`, `mrr` and one `ndcg@k` per cut-off, each of N float64 values. NaN marks a metric that does not exist:
        AUC without a positive or without a negative, every metric without a positive.

    Raises:
        ValueError: malformed input, naming the first impression at fault, or an unknown option.
    """
    check_ties(ties)
    slots = as_slots(scores, labels, offsets)
    worths = _cumulated_worths(ks, int(np.diff(slots.offsets_N1).max(initial=0)))
    values = {name: np.full(slots.num_impressions, np.nan) for name in ("auc", *worths)}
    for chunk in slots.chunks():
        tied, ranked = chunk.groups(ties)
        num_positives_N = tied.total(tied.positives_G)
        values["auc"][chunk.rows] = _auc(tied)
        for name, worth_R in worths.items():
            ideal_N = num_positives_N if name == "mrr" else worth_R[num_positives_N.astype(np.int64)]
            values[name][chunk.rows] = _ratio(ranked.total(_earned(ranked, worth_R)), ideal_N)
    return values


def summary(
    values: Mapping[str, ArrayLike], resamples: int = 1_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Summarise each metric as `{"mean", "low", "high", "n"}`: mean and bootstrap interval over impressions.

    `n` counts the impressions that have the metric; NaN values are left out. See `intervals.bootstrap_mean`.
    """
    return {name: bootstrap_mean(value, resamples, confidence, seed)._asdict() for name, value in values.items()}


def counts(labels: ArrayLike, offsets: ArrayLike, history_lengths: ArrayLike) -> dict[str, int]:
    """Count the impressions behind a result row (methods.md §1).

    An impression is scored when it has an AUC and of a single class when it lacks a positive or a negative, so
    `n_total = n_scored + n_single_class`. (One with positives only still has MRR and nDCG: each metric's own n is in
    `summary`.) Impressions with an empty history are scored like any other.

    >>> counts([1, 0, 0, 0], [0, 2, 4], history_lengths=[7, 0])
    {'n_total': 2, 'n_scored': 1, 'n_single_class': 1, 'n_empty_history': 1}

    Args:
        labels: S numbers, 1 clicked and 0 not.
        offsets: N + 1 integers.
        history_lengths: N integers.

    Raises:
        ValueError: malformed input, as in `per_impression`, or not one history length per impression.
    """
    slots = as_slots(labels, labels, offsets)
    lengths_N = np.asarray(history_lengths)
    if lengths_N.shape != (slots.num_impressions,):
        raise ValueError(f"Pass one history length per impression: {slots.num_impressions}, not {lengths_N.size}.")
    scored = 0
    for chunk in slots.chunks():
        positives_N = np.diff(np.append(0, np.cumsum(chunk.labels_S))[chunk.offsets_N1])
        scored += int(np.count_nonzero((positives_N > 0) & (positives_N < np.diff(chunk.offsets_N1))))
    return {
        "n_total": slots.num_impressions,
        "n_scored": scored,
        "n_single_class": slots.num_impressions - scored,
        "n_empty_history": int(np.count_nonzero(lengths_N == 0)),
    }


def official_ranks(scores: ArrayLike, offsets: ArrayLike) -> Ints:
    """Rank the slots of every impression from 1, the highest score first, ties by the official order.

    Returns S ranks in the order of the slots: a permutation of 1, 2, … within each impression.

    >>> official_ranks([0.1, 0.9, 0.9, 5.0], [0, 3, 4]).tolist()
    [3, 2, 1, 1]
    """
    slots = as_slots(scores, np.zeros(np.shape(scores), np.int8), offsets)
    ranks_S = np.empty(len(slots.scores_S), np.int64)
    for chunk in slots.chunks():
        order_S, impression_S = chunk.sorted(stable=True)
        first = slots.offsets_N1[chunk.rows.start]
        ranks_S[first + order_S] = chunk.offsets_N1[impression_S + 1] - np.arange(len(order_S))
    return ranks_S


def check_ties(ties: str) -> None:
    """Raise `ValueError` unless `ties` names a dialect."""
    if ties not in TIES:
        raise ValueError(f"Unknown ties '{ties}': choose one of {', '.join(TIES)}.")


def _cumulated_worths(ks: Sequence[int], longest: int) -> dict[str, Floats]:
    """Tabulate what the ranks 1 … r are worth together to each metric, for r = 0 … longest."""
    if wrong := [k for k in ks if k < 1]:
        raise ValueError(f"There is no nDCG@{wrong[0]}: choose cut-offs of at least 1.")
    rank_R = np.arange(1, longest + 1)
    worths = {"mrr": 1 / rank_R} | {f"ndcg@{k}": (rank_R <= k) / np.log2(rank_R + 1) for k in ks}
    return {name: np.append(0.0, np.cumsum(worth_R)) for name, worth_R in worths.items()}


def _auc(tied: Groups) -> Floats:
    num_positives_N = tied.total(tied.positives_G)
    num_negatives_N = tied.total(tied.size_G) - num_positives_N
    wins_G = tied.positives_G * (tied.negatives_below_G + (tied.size_G - tied.positives_G) / 2)
    return _ratio(tied.total(wins_G), num_positives_N * num_negatives_N)


def _earned(groups: Groups, worth_R: Floats) -> Floats:
    """Return what the positives of each group are worth on average when its ranks are dealt at random."""
    worth_G = worth_R[groups.last_rank_G] - worth_R[groups.last_rank_G - groups.size_G]
    earned_G: Floats = groups.positives_G * worth_G / groups.size_G
    return earned_G


def _ratio(numerator_N: Floats, denominator_N: Floats) -> Floats:
    ratio_N = np.full(len(numerator_N), np.nan)
    np.divide(numerator_N, denominator_N, out=ratio_N, where=denominator_N > 0)
    return ratio_N
