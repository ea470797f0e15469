"""Metrics as other libraries define them, each under its own name; a table cell never mixes them (methods.md §1).

Shape letters: N impressions, S slots, G groups of tied slots, of which B hold the best positive of an impression.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tastelab.metrics.ranking import check_ties, per_impression
from tastelab.metrics.slots import Floats, Groups, Ints, as_slots


def pooled_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Compute the AUC of all slots in one pool, impressions ignored; NaN where a class is missing.

    >>> pooled_auc([10, 9, 1, 0], [1, 0, 1, 0])  # two impressions of two slots, each with AUC 1
    0.75
    """
    return float(per_impression(scores, labels, [0, np.size(np.asarray(scores))], ks=())["auc"][0])


def first_hit_mrr(scores: ArrayLike, labels: ArrayLike, offsets: ArrayLike, ties: str = "expected") -> Floats:
    """Compute `1 / rank` of the best-ranked positive of every impression; NaN without a positive.

    Of m tied slots with p positives, the best positive stands at place j with probability
    `C(m - j, p - 1) / C(m, p)`; `expected` averages over it. Arguments and errors are those of `per_impression`.

    >>> first_hit_mrr([0.9, 0.8, 0.3, 0.2, 0.1], [0, 1, 0, 1, 0], [0, 5]).tolist()
    [0.5]
    """
    check_ties(ties)
    slots = as_slots(scores, labels, offsets)
    values_N = np.full(slots.num_impressions, np.nan)
    for chunk in slots.chunks():
        _, ranked = chunk.groups(ties)
        best_B = _best_groups(ranked)
        values_N[chunk.rows.start + ranked.impression_G[best_B]] = _expected_first(ranked, best_B)
    return values_N


def _best_groups(groups: Groups) -> Ints:
    """Find the highest-scored group with a positive of each impression that has one."""
    hits = np.flatnonzero(groups.positives_G)
    last_of_impression = np.diff(groups.impression_G[hits], append=groups.num_impressions) > 0
    return hits[last_of_impression]


def _expected_first(groups: Groups, best_B: Ints) -> Floats:
    """Average `1 / rank` of the first positive over the order within each of the groups `best_B`."""
    size_B, positives_B = groups.size_G[best_B], groups.positives_G[best_B]
    better_B = groups.last_rank_G[best_B] - size_B
    group_S = np.repeat(np.arange(len(best_B)), size_B)
    place_S = np.arange(1, len(group_S) + 1) - np.repeat(np.cumsum(size_B) - size_B, size_B)
    possible_S = place_S <= (size_B - positives_B)[group_S] + 1
    group_S, place_S = group_S[possible_S], place_S[possible_S]
    size_S, positives_S = size_B[group_S], positives_B[group_S]
    # Binomials overflow beyond some thousand slots, their logarithms do not.
    log_factorial = np.append(0.0, np.cumsum(np.log(np.arange(1, size_B.max(initial=0) + 1))))
    log_probability_S = _log_choose(log_factorial, size_S - place_S, positives_S - 1)
    log_probability_S -= _log_choose(log_factorial, size_S, positives_S)
    worth_S = np.exp(log_probability_S) / (better_B[group_S] + place_S)
    return np.bincount(group_S, weights=worth_S, minlength=len(best_B)).astype(np.float64, copy=False)


def _log_choose(log_factorial: Floats, n: Ints, k: Ints) -> Floats:
    log_binomial: Floats = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return log_binomial
