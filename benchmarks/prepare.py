"""How fast raw files in MIND's layout become a prepared data set, whether time is linear in size, and the memory.

Writes files with the lengths of MIND-large (about 32 clicks of history and 37 candidates per impression) at several
sizes, prepares each in a fresh process, the sizes interleaved, and prints the medians:

    python benchmarks/prepare.py                              # 160 thousand impressions (100 MB) and twice that
    python benchmarks/prepare.py --impressions 2200000 --times 1 --repeats 1   # MIND-large's train split
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np

from tastelab.data.mind import prepare

MEAN_HISTORY, MEAN_CANDIDATES, CLICK_RATE = 32, 37, 0.04
CHUNK = 5_000
WORDS = [
    "the",
    "of",
    "new",
    "how",
    "why",
    "game",
    "season",
    "market",
    "storm",
    "recipe",
    "best",
    "star",
    "city",
    "first",
]


@click.command()
@click.option("--impressions", default=160_000, show_default=True, help="Impressions at 1×.")
@click.option("--items", default=100_000, show_default=True, help="Items, the same at every size.")
@click.option("--times", default=[1, 2], multiple=True, show_default=True, help="Sizes as multiples of 1×.")
@click.option("--repeats", default=3, show_default=True, help="Preparations of each size.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write (a temporary folder unless given).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(impressions: int, items: int, times: list[int], repeats: int, folder: Path | None, as_json: bool) -> None:
    """Prepare synthetic raw files at several sizes and print MB/s, linearity and peak memory."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        sizes = {factor: Path(scratch) / f"raw-{factor}" for factor in times}
        for factor, raw in sizes.items():
            write_raw(raw / "train", impressions * factor, items)
        runs = [(factor, in_fresh_process(raw)) for _ in range(repeats) for factor, raw in sizes.items()]
    report = summarise(runs, impressions)
    click.echo(json.dumps(report) if as_json else table(report))


def write_raw(folder: Path, num_impressions: int, num_items: int) -> None:
    """Write `news.tsv` and `behaviors.tsv` of a split, chunk by chunk."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "news.tsv").open("w") as file:
        for item in range(num_items):
            words = [WORDS[word] for word in rng.integers(0, len(WORDS), 40)]
            title, abstract = " ".join(words[:11]), " ".join(words[11:])
            entities = json.dumps([{"Label": word.title(), "Type": "P", "WikidataId": "Q1"} for word in words[:2]])
            file.write(f"N{item}\tnews\tworld\t{title}\t{abstract}\thttps://example.org/{item}\t{entities}\t[]\n")
    with (folder / "behaviors.tsv").open("w") as file:
        for start in range(0, num_impressions, CHUNK):
            file.writelines(lines(rng, start, min(CHUNK, num_impressions - start), num_items))


def lines(rng: np.random.Generator, start: int, count: int, num_items: int) -> Iterator[str]:
    """Yield behaviors with geometric lengths and items drawn with a heavy head, as clicks are."""
    num_history, num_candidates = rng.geometric(1 / MEAN_HISTORY, count), rng.geometric(1 / MEAN_CANDIDATES, count)
    drawn = (num_items * rng.random(int(num_history.sum() + num_candidates.sum())) ** 2).astype(int)
    tokens = [f"N{item}" for item in drawn.tolist()]
    labels = np.where(rng.random(len(tokens)) < CLICK_RATE, "-1", "-0").tolist()
    place = 0
    for index, (history, candidates) in enumerate(zip(num_history.tolist(), num_candidates.tolist(), strict=True)):
        middle, end = place + history, place + history + candidates
        shown = " ".join(map(str.__add__, tokens[middle:end], labels[middle:end]))
        number = start + index
        clock = f"11/{9 + number % 6}/2019 {1 + number % 12}:{number % 60:02d}:{number % 59:02d} {'AP'[number % 2]}M"
        yield f"{number + 1}\tU{number % 700_000}\t{clock}\t{' '.join(tokens[place:middle])}\t{shown}\n"
        place = end


def in_fresh_process(raw: Path) -> dict[str, float]:
    """Prepare in a process of its own, so that the peak memory is that of one preparation."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure, raw).result()


def measure(raw: Path) -> dict[str, float]:
    """Return the size of the raw text and one preparation's wall and CPU time and peak memory, and that before it."""
    target = raw.with_name("prepared")
    num_bytes = sum(file.stat().st_size for file in raw.rglob("*.tsv"))
    before, start, cpu_start = peak_rss_mb(), time.perf_counter(), time.process_time()
    prepare(raw, target, progress=False)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    shutil.rmtree(target)
    return {
        "mb": num_bytes / 1e6,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_rss_mb": peak_rss_mb(),
        "rss_before_mb": before,
    }


def peak_rss_mb() -> float:
    """Return this process's peak resident memory; unlike `ru_maxrss`, Linux's `VmHWM` starts anew at exec."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def summarise(runs: list[tuple[int, dict[str, float]]], impressions: int) -> dict[str, object]:
    """Return medians per size, and the seconds per MB of the largest size over those of the smallest."""
    sizes = {}
    for factor in sorted({factor for factor, _ in runs}):
        of_size = [run for each, run in runs if each == factor]
        medians = {key: statistics.median(run[key] for run in of_size) for key in of_size[0]}
        sizes[factor] = medians | {"impressions": impressions * factor, "mb_per_s": medians["mb"] / medians["seconds"]}
    first, *_, last = [*sizes.values()] * 2
    return {"sizes": sizes, "linearity": first["mb_per_s"] / last["mb_per_s"]}


def table(report: dict[str, object]) -> str:
    """Format the report for a person."""
    rows = [f"{'impressions':>12} {'MB':>8} {'s':>7} {'MB/s':>7} {'CPU s':>7} {'peak RSS MB':>12} {'before MB':>10}"]
    for size in report["sizes"].values():  # type: ignore[attr-defined]
        rows.append(
            f"{size['impressions']:>12,} {size['mb']:>8.1f} {size['seconds']:>7.2f} {size['mb_per_s']:>7.1f} "
            f"{size['cpu_s']:>7.2f} {size['peak_rss_mb']:>12.0f} {size['rss_before_mb']:>10.0f}"
        )
    return "\n".join([*rows, f"time per MB, largest over smallest: {report['linearity']:.3f} (1 is linear)"])


if __name__ == "__main__":
    main()
