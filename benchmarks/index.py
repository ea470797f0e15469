"""Top-50 of a large catalogue by an index of `tastelab index`, against FAISS comparing all items (IndexFlatIP).

Items are unit vectors in clusters, as those of a trained item tower are; queries come from the same clusters. A cluster
is a random centre plus noise of length `--spread`, so two items of it have a cosine of about 1 / (1 + spread²). Both
sides search the same batch of queries in turns, with the same number of threads; the index is opened from its files,
and its side includes the checks and the merge of `ItemIndex.search`. Recall is of the exact top 50.

    python benchmarks/index.py [--items 1000000] [--width 64] [--kind auto] [--spread 0.5] [--pairs 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tastelab.retrieval.index import ItemIndex, Source, build, open_index, share_found
from tastelab.retrieval.kinds import KINDS, faiss

Vectors = npt.NDArray[np.float32]
Timed = tuple[npt.NDArray[np.int64], float]
K, NUM_CLUSTERS = 50, 2_000
CHUNK = 100_000
TARGETS = {"recall": 0.99, "ratio": 20.0, "build_s": 300.0}


class World:
    """Clusters that items and queries are drawn from."""

    def __init__(self, width: int, spread: float, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = _unit(self.rng.standard_normal((NUM_CLUSTERS, width), np.float32))
        self.noise = np.float32(spread / np.sqrt(width))

    def draw(self, num: int) -> Vectors:
        """Return unit vectors of random clusters."""
        drawn = np.empty((num, self.centres.shape[1]), np.float32)
        for start in range(0, num, CHUNK):
            part = drawn[start : start + CHUNK]
            part[:] = self.centres[self.rng.integers(NUM_CLUSTERS, size=len(part))]
            part += self.noise * self.rng.standard_normal(part.shape, np.float32)
        return _unit(drawn)


def _unit(vectors: Vectors) -> Vectors:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def timed(search: Callable[[], npt.NDArray[np.int64]]) -> Timed:
    start = time.perf_counter()
    rows = search()
    return rows, time.perf_counter() - start


def compare(index: ItemIndex, items: Vectors, queries: Vectors, pairs: int) -> dict[str, Any]:
    """Search by turns; the first turn warms up."""
    flat = faiss.IndexFlatIP(items.shape[1])
    flat.add(items)
    users = queries[:, None]
    ratios, exact_s, index_s, recall = [], [], [], 0.0
    for turn in range(pairs + 1):
        exact, slow = timed(lambda: flat.search(queries, K)[1])
        rows, fast = timed(lambda: index.search(users, K)[0])
        recall = share_found(rows, exact)
        if turn:
            ratios.append(slow / fast)
            exact_s.append(slow)
            index_s.append(fast)
    return {
        "recall": recall,
        "exact_queries_per_s": len(queries) / float(np.median(exact_s)),
        "index_queries_per_s": len(queries) / float(np.median(index_s)),
        "ratio": float(np.median(ratios)),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="An index of item vectors against exact search.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--kind", choices=["auto", *KINDS], default="auto")
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=5, help="0 builds alone")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    world = World(options.width, options.spread)
    items, queries = world.draw(options.items), world.draw(options.queries)
    found: dict[str, Any] = {name: value for name, value in vars(options).items() if name != "json"}
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(row) for row in range(options.items)]
        about = build(items, ids, Path(folder) / "index", Source("run", "weights", "data"), options.kind)
        found |= {"kind": about.kind, "search_width": about.search_width, "build_s": about.build_s}
        found |= {"sample_recall": about.recall, "targets": TARGETS}
        if options.pairs:
            found |= compare(open_index(Path(folder) / "index"), items, queries, options.pairs)
    print(json.dumps(found) if options.json else told(found))


def told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['items']:,} items of width {found['width']}, spread {found['spread']}, {found['threads']} threads",
        f"{found['kind']} of search width {found['search_width']}: built in {found['build_s']:.1f} s, "
        f"recall of a sample of items {found['sample_recall']:.4f}",
    ]
    if "ratio" in found:
        lines += [
            f"exact search {found['exact_queries_per_s']:>10,.0f} queries/s",
            f"the index    {found['index_queries_per_s']:>10,.0f} queries/s, recall@{K} {found['recall']:.4f}",
            f"ratio {found['ratio']:.0f} (of the pairs {found['ratio_min']:.0f} to {found['ratio_max']:.0f})",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
