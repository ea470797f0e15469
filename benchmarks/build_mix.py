"""Cost and memory of `tastelab data build-mix` on generated feeds of 1, 3 and 10 million events.

Every size is built in a process of its own, on a Ray of its own; memory is that of the driver and of all processes of
Ray, sampled, pages that several share counted once (PSS).

    python benchmarks/build_mix.py [--events 1000000] [--times 1 --times 3 --times 10] [--cpus 2] [--json]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

NUM_COMMUNITIES, EVENTS_PER_ITEM, EVENTS_PER_PERSON = 8, 20, 20
CHUNK = 500_000
START, SPAN_S = 1_400_000_000, 4 * 365 * 86_400
NUM_WORDS, TITLE_WORDS = 20_000, 7


def generate(folder: Path, num_events: int) -> None:
    """Write a generic feed, chunk by chunk: popular items come up more often, events follow their item by days."""
    folder.mkdir(parents=True)
    num_items, num_people = num_events // EVENTS_PER_ITEM, num_events // EVENTS_PER_PERSON
    rng = np.random.default_rng(0)
    created = START + np.sort(rng.integers(0, SPAN_S, num_items))
    words = vocabulary(rng)[rng.integers(0, NUM_WORDS, (num_items, TITLE_WORDS))]
    items = {
        "id": [f"item-{row}" for row in range(num_items)],
        "title": [" ".join(row) for row in words],
        "community": [f"community-{row % NUM_COMMUNITIES}" for row in range(num_items)],
        "time": pa.array(created, pa.timestamp("s")),
    }
    pq.write_table(pa.table(items), folder / "items.parquet", row_group_size=CHUNK)
    schema = pa.schema(
        [("user", pa.string()), ("item", pa.string()), ("time", pa.timestamp("s")), ("weight", pa.float32())]
    )
    with pq.ParquetWriter(folder / "events.parquet", schema) as writer:
        for start in range(0, num_events, CHUNK):
            count = min(CHUNK, num_events - start)
            rows = (num_items * rng.random(count) ** 1.5).astype(np.int64)
            columns = {
                "user": [f"user-{row}" for row in rng.integers(0, num_people, count)],
                "item": [f"item-{row}" for row in rows],
                "time": pa.array(created[rows] + rng.integers(0, 5 * 86_400, count), pa.timestamp("s")),
                "weight": pa.array(np.where(rng.random(count) < 0.05, -1.0, 1.0), pa.float32()),
            }
            writer.write_table(pa.table(columns, schema=schema))


def vocabulary(rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Make words of 3 to 9 letters, so that titles differ as real ones do."""
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), (NUM_WORDS, 9))
    lengths = rng.integers(3, 10, NUM_WORDS)
    return np.array(["".join(row[:length]) for row, length in zip(letters, lengths, strict=True)])


class Watch(threading.Thread):
    """Samples the memory of this process and of all below it, in MB."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__(daemon=True)
        self.peak: dict[str, float] = {"driver": 0.0, "largest task": 0.0, "all": 0.0}
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.done.wait(0.5):
            own = pss_mb(psutil.Process())
            others = {each.pid: (name_of(each), pss_mb(each)) for each in psutil.Process().children(recursive=True)}
            tasks = [size for name, size in others.values() if name.startswith("ray::")]
            found = {"driver": own, "largest task": max(tasks, default=0.0)}
            found["all"] = own + sum(size for _, size in others.values())
            self.peak = {name: max(self.peak[name], value) for name, value in found.items()}


def name_of(process: psutil.Process) -> str:
    """Return the command of a process, "" if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def pss_mb(process: psutil.Process) -> float:
    """Return the memory of a process in MB, shared pages divided among those that share them; 0 if it has ended."""
    try:
        return float(process.memory_full_info().pss) / 2**20
    except (psutil.Error, AttributeError, OSError):
        return 0.0


def one(feed: Path, out: Path, cpus: int) -> dict[str, Any]:
    """Build one feed on a Ray of its own; return seconds by stage and the peaks."""
    from tastelab.cluster.settings import prepare_environment

    prepare_environment(local=True)
    import ray

    from tastelab.data.mix.build import MixOptions, build_mix
    from tastelab.data.tables import open_prepared

    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=2**28,
        include_dashboard=False,
        log_to_driver=False,
    )
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    built = build_mix([f"generic:{feed}"], out, MixOptions(salt="benchmark", force=True))
    seconds = time.perf_counter() - start
    watch.done.set()
    watch.join()
    ray.shutdown()
    every = open_prepared(out / "all")
    return {
        "seconds": seconds,
        "impressions": sum(every.num_impressions(split) for split in every.splits),
        "items": built.num_items,
        "peak_mb": watch.peak,
    }


@click.command()
@click.option("--events", default=1_000_000, show_default=True, help="Events at 1×.")
@click.option("--times", default=[1, 3, 10], multiple=True, show_default=True, help="Sizes as multiples of 1×.")
@click.option("--cpus", default=2, show_default=True, help="CPUs of Ray.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write (a temporary folder unless given).")
@click.option("--only", nargs=2, type=click.Path(path_type=Path), hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    events: int, times: list[int], cpus: int, folder: Path | None, only: tuple[Path, Path] | None, as_json: bool
) -> None:
    """Build generated feeds of several sizes and print cost and memory of each."""
    if only:
        print(json.dumps(one(*only, cpus)))
        return
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        found = {}
        for factor in times:
            feed, out = Path(scratch) / f"feed-{factor}", Path(scratch) / f"mix-{factor}"
            generate(feed, events * factor)
            command = [sys.executable, __file__, "--cpus", str(cpus), "--only", str(feed), str(out)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found[events * factor] = json.loads(done.stdout.decode().strip().splitlines()[-1])
            shutil.rmtree(feed)
            shutil.rmtree(out)
    print(json.dumps({"sizes": found, "cpus": os.cpu_count()}) if as_json else table(found))


def table(found: dict[int, dict[str, Any]]) -> str:
    """Format the sizes for a person."""
    names = f"{'events':>12}{'impressions':>13}{'items':>9}{'s':>8}{'events/s':>10}{'cost of one':>13}"
    lines = [names + f"{'driver MB':>11}{'task MB':>9}{'all MB':>8}"]
    least = min(found)
    for num, size in found.items():
        cost = size["seconds"] / num / (found[least]["seconds"] / least)
        peak = size["peak_mb"]
        lines.append(
            f"{num:>12,}{size['impressions']:>13,}{size['items']:>9,}{size['seconds']:>8.1f}"
            f"{num / size['seconds']:>10,.0f}{cost:>13.2f}{peak['driver']:>11,.0f}{peak['largest task']:>9,.0f}"
            f"{peak['all']:>8,.0f}"
        )
    return "\n".join([*lines, "cost of one: seconds per event over those of the smallest size (1: linear)"])


if __name__ == "__main__":
    main()
