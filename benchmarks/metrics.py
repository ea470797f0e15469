"""How fast impressions are measured: `per_impression` against a loop that calls scikit-learn for each of them.

Both sides measure the same impressions (sizes like MIND's: about 37 candidates, 2 to 300, some scores tied) in one
process, by turns. Printed are impressions per second, the median of the pairs' ratios, and the largest difference.

    python benchmarks/metrics.py [--impressions 2000] [--pairs 5] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from tastelab.metrics.ranking import per_impression

Values = dict[str, NDArray[np.float64]]


def impressions(num: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64]]:
    """Draw scores with some ties, and labels with at least one click and one other slot in each impression."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(3.2, 0.9, num).astype(np.int64), 2, 300)
    offsets = np.append(0, np.cumsum(sizes))
    labels = (rng.random(offsets[-1]) < 0.04).astype(np.int8)
    labels[offsets[:-1]], labels[offsets[:-1] + 1] = 1, 0
    return (rng.random(len(labels)) + 0.1 * labels).round(2), labels, offsets


def expected_mrr(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    """Average MRR over the order of ties; scikit-learn has no MRR of several positives."""
    _, group, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    group_of_rank = np.repeat(np.arange(len(sizes)), sizes)
    worth = np.bincount(group_of_rank, weights=1 / np.arange(1, len(scores) + 1)) / sizes
    return float((labels * worth[group]).sum() / labels.sum())


def loop(scores: NDArray[np.float64], labels: NDArray[np.int8], offsets: NDArray[np.int64]) -> Values:
    rows = []
    for start, stop in itertools.pairwise(offsets):
        score, label = scores[start:stop], labels[start:stop]
        row = {"auc": roc_auc_score(label, score), "mrr": expected_mrr(score, label)}
        rows.append(row | {f"ndcg@{k}": ndcg_score(label[None], score[None], k=k) for k in (5, 10)})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def timed(side: Callable[..., Values], *arguments: object) -> tuple[Values, float]:
    start = time.perf_counter()
    values = side(*arguments)
    return values, time.perf_counter() - start


def compare(num: int, pairs: int, seed: int = 0) -> dict[str, float]:
    """Time both sides by turns, after one unmeasured call of each on a few impressions."""
    for side in (loop, per_impression):
        side(*impressions(10, seed))
    data, ratios, loop_s, vector_s, difference = impressions(num, seed), [], [], [], 0.0
    for _ in range(pairs):
        expected, slow = timed(loop, *data)
        values, fast = timed(per_impression, *data)
        ratios.append(slow / fast)
        loop_s.append(slow)
        vector_s.append(fast)
        difference = max(difference, *(float(np.abs(values[name] - expected[name]).max()) for name in expected))
    return {
        "impressions": num,
        "slots": len(data[0]),
        "pairs": pairs,
        "loop_impressions_per_s": num / float(np.median(loop_s)),
        "per_impression_impressions_per_s": num / float(np.median(vector_s)),
        "ratio_median": float(np.median(ratios)),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "max_difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Metrics against a scikit-learn loop.")
    parser.add_argument("--impressions", type=int, default=2_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = compare(options.impressions, options.pairs)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['impressions']:,} impressions, {result['slots']:,} candidates, {result['pairs']} pairs")
    print(f"scikit-learn loop  {result['loop_impressions_per_s']:>12,.0f} impressions/s")
    print(f"per_impression     {result['per_impression_impressions_per_s']:>12,.0f} impressions/s")
    spread = f"(of the pairs {result['ratio_min']:.0f} to {result['ratio_max']:.0f})"
    print(f"ratio              {result['ratio_median']:>12,.0f} {spread}")
    print(f"largest difference {result['max_difference']:>12.1e}")


if __name__ == "__main__":
    main()
