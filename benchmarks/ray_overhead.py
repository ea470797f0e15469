"""What Ray adds to the bare training step: Ray Data and Ray Train together against the same steps from memory.

Both sides run in one worker process, epoch by epoch in turns, on the same batches in the same order: one epoch fetched
from the worker's Ray Data shard with the session's logging, one from batches that lie in memory. The first step of an
epoch, in which the pipeline starts, is left out of both: this is the steady state.

    python benchmarks/ray_overhead.py --data FOLDER [--pairs 12] [--steps 8] [--json]
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from tastelab.cluster.settings import prepare_environment

SETTINGS = {
    "data.max_history": 20,
    "data.sampler.num_candidates": 16,
    "optim.global_batch": 16,
    "evaluation.validations": 1,
}


def measure(job: Any) -> list[tuple[float, float]]:
    """Time both sides in this Ray Train worker: seconds per step with Ray and without, per pair of epochs."""
    from tastelab.cluster.session import RaySession
    from tastelab.modeling.ranker import build_ranker
    from tastelab.training.local import LocalSession
    from tastelab.training.loop import optimise
    from tastelab.training.module import TrainingModule
    from tastelab.training.optim import build_optimizer

    config, session = job.config, RaySession(job)
    module = TrainingModule(build_ranker(config.model, job.encoder_path), config.objective, job.contrast_size)
    wrapped, optimizer = session.wrap(module), build_optimizer(module, config.optim)

    def seconds_per_step(batches: Iterable[Any], log: bool) -> float:
        start, steps = 0.0, 0
        for step, batch in enumerate(batches):
            scalars = optimise(wrapped, module, optimizer, [batch], config.optim)
            if log:
                session.log(step, scalars)
            if step == 0:
                start = time.perf_counter()
            else:
                steps += 1
        return (time.perf_counter() - start) / steps

    local = LocalSession(job)
    pairs = []
    for epoch in range(config.optim.epochs):
        in_memory = list(local.batches(epoch))
        sides = [lambda e=epoch: (session.batches(e), True), lambda b=in_memory: (b, False)]
        times = [0.0, 0.0]
        for side in (0, 1) if epoch % 2 else (1, 0):  # neither side always comes first
            times[side] = seconds_per_step(*sides[side]())
        pairs.append((times[0], times[1]))
    return pairs


def bootstrap(values: list[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    draws = np.random.default_rng(seed).choice(values, (10_000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


@click.command()
@click.option("--data", default="synthetic", show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--pairs", default=12, show_default=True, help="Pairs of epochs; the first warms up and is not counted.")
@click.option("--steps", default=8, show_default=True, help="Steps of an epoch.")
@click.option("--home", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "tastelab-benchmark")
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, pairs: int, steps: int, home: Path, as_json: bool) -> None:
    """Measure Ray's share of a training step."""
    prepare_environment(local=True)
    from tastelab.cluster.runtime import cluster
    from tastelab.cluster.trainer import fit
    from tastelab.config import ClusterConfig, RunConfig, replace_at
    from tastelab.data.catalog import resolve
    from tastelab.data.tokens import ItemTexts, build_store, store_path
    from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
    from tastelab.training.job import Job

    prepared, source = resolve(data, home), find_encoder(encoder)
    size = {"data.train_impressions": 16 * steps, "optim.epochs": pairs + 1}
    config = replace_at(RunConfig(), {"data.dataset": prepared.name, **SETTINGS, **size})
    fingerprint = encoder_fingerprint(source.path)
    texts = ItemTexts.of(config)
    store = store_path(prepared, texts, source.label, fingerprint)
    build_store(prepared, texts, store, load_tokenizer(source.path))
    places = ClusterConfig(home=home, workers=1, cpus_per_worker=0.9)
    job = Job(f"overhead-{time.time_ns()}", config, places, prepared.path, store, source.path, fingerprint)
    with cluster(None):
        found = fit(dataclasses.replace(job), work=lambda job: {"pairs": measure(job)})["pairs"][1:]
    added = [100 * (ray / bare - 1) for ray, bare in found]
    low, high = bootstrap(added)
    result = {
        "added_percent_median": statistics.median(added),
        "interval": [low, high],
        "pairs": len(added),
        "bare_step_s": statistics.median(bare for _, bare in found),
        "ray_step_s": statistics.median(ray for ray, _ in found),
        "all": added,
    }
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"bare step {result['bare_step_s'] * 1e3:.1f} ms, with Ray Data and Train {result['ray_step_s'] * 1e3:.1f} ms"
    )
    spread = f"median of {len(added)} pairs, 95 % {low:+.2f} to {high:+.2f}"
    print(f"Ray adds {result['added_percent_median']:+.2f} % ({spread})")


if __name__ == "__main__":
    main()
