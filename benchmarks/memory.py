"""Memory of driver, worker and object store while an epoch streams, at 1× and at 10× as many impressions.

The worker is a real one: it builds the model and takes a few training steps, then goes through the rest of the epoch
batch by batch without training, so that everything that grows with the data has grown.

    python benchmarks/memory.py [--impressions 50000] [--times 10] [--json]
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil

from tastelab.cluster.settings import prepare_environment

TRAINED_STEPS = 5


class Watch(threading.Thread):
    """Samples the peak memory of this process, the Train worker, Data's tasks and the object store, in MB."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__(daemon=True)
        self.peak: dict[str, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.done.wait(0.25):
            for name, value in self.sample().items():
                self.peak[name] = max(self.peak.get(name, 0.0), value)

    def sample(self) -> dict[str, float]:
        """Measure once: memory of a process's own, and what the object store holds in shared memory."""
        found = {"driver": _own_mb(psutil.Process())}
        for process in psutil.Process().children(recursive=True):
            try:
                name, memory = " ".join(process.cmdline()), process.memory_info()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if "RayTrainWorker" in name:
                found["worker"] = max(found.get("worker", 0.0), (memory.rss - memory.shared) / 2**20)
            elif "ray::Read" in name or "ray::Map" in name:
                found["data task"] = max(found.get("data task", 0.0), (memory.rss - memory.shared) / 2**20)
            elif "raylet" in name and "plasma" in name:
                found["object store"] = max(found.get("object store", 0.0), memory.shared / 2**20)
        return found


def _own_mb(process: psutil.Process) -> float:
    memory = process.memory_info()
    return float(memory.rss - memory.shared) / 2**20


def stream(job: Any) -> dict[str, float]:
    """Train a few steps, then stream the rest of the epoch."""
    from tastelab.cluster.session import RaySession
    from tastelab.modeling.ranker import build_ranker
    from tastelab.training.loop import optimise
    from tastelab.training.module import TrainingModule
    from tastelab.training.optim import build_optimizer

    config, session = job.config, RaySession(job)
    module = TrainingModule(build_ranker(config.model, job.encoder_path), config.objective, job.contrast_size)
    optimizer = build_optimizer(module, config.optim)
    start, count = time.perf_counter(), 0
    for step, batch in enumerate(session.batches(0)):
        if step < TRAINED_STEPS:
            optimise(module, module, optimizer, [batch], config.optim)
            start, count = time.perf_counter(), 0
        else:
            count += int(batch.impression_mask_B.sum())
    return {"impressions_per_s": count / (time.perf_counter() - start)}


def prepared(impressions: int, home: Path) -> Any:
    """Open a synthetic world of this many train impressions, made once."""
    from tastelab.data.synthetic import named_spec, prepare
    from tastelab.data.tables import open_prepared

    folder, world = home / f"memory-{impressions}", named_spec("default")
    if (folder / "meta.json").exists():
        return open_prepared(folder)
    size = replace(world.size, num_users=impressions // 4, num_train=impressions, num_dev=100)
    return prepare(folder, replace(world, size=size))


def _last_json(done: subprocess.CompletedProcess[bytes]) -> dict[str, float]:
    return dict(json.loads(done.stdout.decode().strip().splitlines()[-1]))


def one(impressions: int, home: Path, encoder: str) -> dict[str, float]:
    """Stream one epoch over a synthetic world of this many impressions; return peaks in MB and the rate."""
    from tastelab.cluster.runtime import cluster
    from tastelab.cluster.trainer import fit
    from tastelab.config import ClusterConfig, RunConfig, replace_at
    from tastelab.data.tokens import ItemTexts, build_store, store_path
    from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
    from tastelab.training.job import Job

    data = prepared(impressions, home)
    source = find_encoder(encoder)
    fingerprint = encoder_fingerprint(source.path)
    config = replace_at(RunConfig(), {"data.dataset": data.name, "data.max_history": 20, "optim.global_batch": 16})
    texts = ItemTexts.of(config)
    store = store_path(data, texts, source.label, fingerprint)
    build_store(data, texts, store, load_tokenizer(source.path))
    places = ClusterConfig(home=home, workers=1, cpus_per_worker=0.9)
    job = Job(f"memory-{time.time_ns()}", config, places, data.path, store, source.path, fingerprint)
    gc.collect()
    watch = Watch()
    watch.start()
    with cluster(None):
        rate = fit(job, work=stream)
        watch.done.set()
        watch.join()
    return watch.peak | rate


@click.command()
@click.option("--impressions", default=50_000, show_default=True)
@click.option("--times", default=10, show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--home", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "tastelab-benchmark")
@click.option("--only", is_flag=True, help="Measure --impressions alone, in this process, and print JSON.")
@click.option("--json", "as_json", is_flag=True)
def main(impressions: int, times: int, encoder: str, home: Path, only: bool, as_json: bool) -> None:
    """Compare peak memory at both sizes, each in a process of its own, so that neither inherits the other's."""
    prepare_environment(local=True)
    if only:
        print(json.dumps(one(impressions, home, encoder)))
        return
    sizes = (impressions, impressions * times)
    for size in sizes:
        prepared(size, home)  # here, so that making the world is not measured as streaming it
    command = [sys.executable, __file__, "--only", "--encoder", encoder, "--home", str(home), "--impressions"]
    found = {
        size: _last_json(subprocess.run([*command, str(size)], stdout=subprocess.PIPE, check=True)) for size in sizes
    }
    small, large = (found[size] for size in sizes)
    ratio = {name: large[name] / value for name, value in small.items() if value and name in large}
    if as_json:
        print(json.dumps({"peaks_mb": found, "ratio": ratio, "cpus": os.cpu_count()}))
        return
    print(f"{'':<20}{sizes[0]:>12,}{sizes[1]:>12,}   ratio")
    for name in small:
        print(f"{name:<20}{small[name]:>12,.0f}{large.get(name, float('nan')):>12,.0f}   {ratio.get(name, 0):.3f}")


if __name__ == "__main__":
    main()
