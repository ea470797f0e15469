"""Time and memory of an evaluation of MIND-dev size with given item vectors: all of it but the encoder.

Impressions are generated in a temporary folder with lengths like MIND's: 37 candidates on average and up to 300, 33
clicks in a history on average, of which the model sees the last 50. Items are drawn evenly, which is harder on the
caches than news, where few items take most of the impressions. What is measured is `evaluate` as a run calls it: to
read, gather, score, measure each impression, collect from the workers, and bootstrap the intervals. Memory is the peak
of each whole process, libraries included.

    python benchmarks/evaluate.py [--impressions 376000] [--workers 2] [--pooling mean] [--json]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from tastelab.config import Pooling, Scorer
from tastelab.data.tables import DatasetWriter, open_prepared
from tastelab.data.tokens import TokenStore
from tastelab.evaluation.evaluate import evaluate
from tastelab.modeling.bi_encoder import pooled_scores
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.pooling import ItemPooling
from tastelab.modeling.ranker import Ranker
from tastelab.modeling.scorers import VectorScorer

Ints = npt.NDArray[np.int64]

WIDTH, MAX_HISTORY, NUM_TOKENS = 384, 50, 16
CHUNK_IMPRESSIONS = 32_768


def prepare(folder: Path, impressions: int, items: int) -> None:
    """Write a data set with a dev split, and unit vectors of its items."""
    rng = np.random.default_rng(0)
    with DatasetWriter(folder / "data", "mind-dev-size") as writer:
        writer.write_items(item_table(items))
        for start in range(0, impressions, CHUNK_IMPRESSIONS):
            num = min(CHUNK_IMPRESSIONS, impressions - start)
            writer.write_impressions("dev", impression_table(rng, start, num, items))
    vectors = rng.standard_normal((items, WIDTH), np.float32)
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def item_table(num: int) -> pa.Table:
    text = {name: [""] * num for name in ("abstract", "body", "category", "subcategory", "entities")}
    names = [f"N{i}" for i in range(num)]
    created = pa.nulls(num, pa.timestamp("s"))
    return pa.table({"item_id": names, "title": names, **text, "created": created, "has_text": [True] * num})


def impression_table(rng: np.random.Generator, first: int, num: int, items: int) -> pa.Table:
    candidates = lists(rng, np.clip(rng.lognormal(3.22, 0.9, num), 2, 300).astype(np.int64), items)
    history = lists(rng, np.clip(rng.lognormal(2.95, 1.05, num), 0, 800).astype(np.int64), items)
    labels = (rng.random(len(candidates.values)) < 0.03).astype(np.int8)
    labels[candidates.offsets.to_numpy()[:-1]] = 1  # at least one click
    return pa.table(
        {
            "impression_id": [str(first + i) for i in range(num)],
            "user_id": [f"U{i}" for i in rng.integers(255_000, size=num)],
            "time": pa.array(1_573_000_000 + np.arange(first, first + num)).cast(pa.timestamp("s")),
            "history": history,
            "feedback": pa.nulls(num, pa.list_(pa.int8())),
            "candidates": candidates,
            "labels": pa.ListArray.from_arrays(candidates.offsets, pa.array(labels)),
        }
    )


def lists(rng: np.random.Generator, lengths: Ints, items: int) -> pa.ListArray:
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(rng.integers(items, size=offsets[-1], dtype=np.int32)))


class Given(Ranker):
    """A bi-encoder without an encoder: its items have the given vectors."""

    width = WIDTH

    def __init__(self, vectors_ND: Tensor, pooling: str) -> None:
        """Score by cosine after the named pooling."""
        super().__init__()
        self.vectors_ND = vectors_ND
        self.pooling = cast(ItemPooling, Pooling.named(pooling)).build(WIDTH)
        self.scorer = cast(VectorScorer, Scorer.named("cosine")).build(WIDTH)

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Look the vectors up."""
        return Items(ids_U, tokens_UT, mask_UT, self.vectors_ND[ids_U])

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates against pooled histories: scores_BC."""
        assert items.vectors_UD is not None
        return pooled_scores(self.pooling, self.scorer, items.vectors_UD, slots)


def work(folder: Path, rank: int, workers: int, pooling: str) -> None:
    """Be one worker: evaluate, and leave figures behind."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=workers)
    data, ranker = open_prepared(folder / "data"), Given(torch.from_numpy(np.load(folder / "vectors.npy")), pooling)
    offsets = np.arange(data.num_items + 1) * NUM_TOKENS
    store = TokenStore(np.ones(offsets[-1], np.int32), offsets, folder)
    if workers > 1:
        dist.barrier()
    start = time.perf_counter()
    found = evaluate(ranker, data, store, "dev", max_history=MAX_HISTORY, precision="fp32")
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    figures = {"evaluate_s": seconds, "peak_mb": peak_mb, "n": found.counts["n_total"], "metrics": found.metrics}
    (folder / f"{rank}.json").write_text(json.dumps(figures))
    if workers > 1:
        dist.destroy_process_group()


def measure(folder: Path, workers: int, pooling: str) -> dict[str, Any]:
    """Run the workers in processes of their own."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--worker", str(folder), "--workers", str(workers), "--pooling", pooling]
    load, start = os.getloadavg()[0], time.perf_counter()
    processes = [subprocess.Popen([*command, "--rank", str(rank)], env=environment) for rank in range(workers)]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.kill()
    seconds = time.perf_counter() - start
    if any(codes):
        raise SystemExit(f"The workers ended with {codes}.")
    ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(workers)]
    return {
        "impressions": ranks[0]["n"],
        "workers": workers,
        "pooling": pooling,
        "evaluate_s": max(rank["evaluate_s"] for rank in ranks),
        "with_start_s": seconds,
        "peak_mb": [rank["peak_mb"] for rank in ranks],
        "peak_mb_together": sum(rank["peak_mb"] for rank in ranks),
        "impressions_per_s": ranks[0]["n"] / max(rank["evaluate_s"] for rank in ranks),
        "load_before": load,
        "auc": ranks[0]["metrics"]["auc"],
    }


@click.command()
@click.option("--impressions", default=376_000, show_default=True)
@click.option("--items", default=72_000, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes; each has its share of the cores as threads.")
@click.option("--pooling", default="mean", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--worker", type=click.Path(path_type=Path), hidden=True)
@click.option("--rank", default=0, hidden=True)
def main(
    impressions: int, items: int, workers: int, pooling: str, as_json: bool, worker: Path | None, rank: int
) -> None:
    """Generate impressions, evaluate them, and print time and memory."""
    if worker:
        work(worker, rank, workers, pooling)
        return
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepare(Path(folder), impressions, items)
        prepared_s = time.perf_counter() - start
        found = measure(Path(folder), workers, pooling)
    if as_json:
        print(json.dumps(found))
        return
    peaks = ", ".join(f"{mb:,.0f}" for mb in found["peak_mb"])
    auc = found["auc"]
    print(
        f"{impressions:,} impressions, {items:,} items of width {WIDTH}, {pooling} pooling; made in {prepared_s:.0f} s"
    )
    print(f"evaluation       {found['evaluate_s']:>8.1f} s in {workers} process(es) on {os.cpu_count()} cores")
    print(f"with their start {found['with_start_s']:>8.1f} s")
    print(f"rate             {found['impressions_per_s']:>8,.0f} impressions/s")
    print(f"peak memory      {found['peak_mb_together']:>8,.0f} MB ({peaks})")
    print(f"load before      {found['load_before']:>8.2f}")
    print(f"AUC              {auc['mean']:>8.4f} ({auc['low']:.4f} to {auc['high']:.4f}; the vectors are random)")


if __name__ == "__main__":
    main()
