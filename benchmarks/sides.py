"""What the benchmarks of training share: ways to take a step, in turns in one process, on the same batches."""

from __future__ import annotations

import ctypes
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tastelab.config import ClusterConfig, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.tokens import ItemTexts, build_store, store_path
from tastelab.data.words import load_words, prepare_words
from tastelab.evaluation.encode import autocast
from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
from tastelab.modeling.ranker import Ranker, RankerArchitecture, Resources, build_ranker
from tastelab.schema import Batch
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.loop import optimise
from tastelab.training.module import TrainingModule
from tastelab.training.optim import build_optimizer

MAX_TOKENS = 32
HOME = Path(tempfile.gettempdir()) / "tastelab-benchmark"
"""Where prepared data lies, unless told otherwise."""


@dataclass
class Side:
    """One way to take a step, and what its steps measured."""

    name: str
    step: Callable[[Batch], float]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    """Processor time: what the step costs where other processes want the cores too (best with one thread)."""
    losses: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)

    def take(self, batch: Batch) -> None:
        """Take one step and note its time, loss and peak memory above rest."""
        settle_memory()
        before = _status_mb("VmRSS")
        start, cpu = time.perf_counter(), time.process_time()
        self.losses.append(self.step(batch))
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu)
        self.peaks_mb.append(_status_mb("VmHWM") - before)


@dataclass(frozen=True)
class Setup:
    """A configuration with its data: batches of the first epochs, in order."""

    config: RunConfig
    encoder_path: str
    tokens: list[list[int]]
    """Token ids of every item's title, special tokens included."""
    batches: list[Batch]

    @property
    def num_items(self) -> int:
        """Items of the data set."""
        return len(self.tokens)


def prepare(data: str, encoder: str, home: Path, settings: Mapping[str, Any], num_batches: int) -> Setup:
    """Prepare data, tokens and batches; epochs follow one another while batches are wanted."""
    prepared, source = resolve(data, home), find_encoder(encoder)
    config = replace_at(RunConfig(), {"data.dataset": prepared.name, "data.max_tokens": MAX_TOKENS, **settings})
    path, fingerprint, texts = source.path, encoder_fingerprint(source.path), ItemTexts.of(config)
    if cast(RankerArchitecture, config.model.architecture).tokens == "words":
        folder, fingerprint = prepare_words(prepared, texts)
        path, place, tokenizer = str(folder), folder / "store", load_words(folder)
    else:
        place = store_path(prepared, texts, source.label, fingerprint)
        tokenizer = load_tokenizer(path)
    store = build_store(prepared, texts, place, tokenizer)
    session = LocalSession(Job("benchmark", config, ClusterConfig(home=home), prepared.path, place, path, fingerprint))
    batches = list(islice((batch for epoch in range(num_batches) for batch in session.batches(epoch)), num_batches))
    tokens = [store.tokens[a:b].tolist() for a, b in zip(store.offsets[:-1], store.offsets[1:], strict=True)]
    return Setup(config, path, tokens, batches)


def build(setup: Setup, config: RunConfig, **resources: Any) -> Ranker:
    """Build tastelab's ranker."""
    return build_ranker(
        config.model, Resources(setup.encoder_path, num_items=setup.num_items, **resources), config.seed
    )


def tastelab_side(
    setup: Setup,
    config: RunConfig,
    name: str = "tastelab",
    before: Callable[[Ranker], None] | None = None,
    **resources: Any,
) -> Side:
    """Build tastelab's own step; `before` is called before each, within its time."""
    ranker = build(setup, config, **resources)
    module = TrainingModule(ranker, config.objective, config.optim.global_batch)
    optimizer = build_optimizer(module, config.optim)

    def step(batch: Batch) -> float:
        if before is not None:
            before(ranker)
        return optimise(module, module, optimizer, [batch], config.optim)["train/loss"]

    return Side(name, step)


def take_turns(sides: Sequence[Side], batches: Sequence[Batch]) -> None:
    """Take a step of every side on each batch; who begins changes, so that none always follows the same other."""
    first = cycle(range(len(sides)))
    for batch in batches:
        start = next(first)
        for side in (*sides[start:], *sides[:start]):
            side.take(batch)


def rate(side: Side, batches: Sequence[Batch], steps: slice) -> dict[str, float]:
    """Impressions per second by the median step, of the clock and of processor time."""
    size = len(batches[-1].rows_B)
    clock, cpu = statistics.median(side.seconds[steps]), statistics.median(side.cpu_seconds[steps])
    return {"clock": size / clock, "cpu": size / cpu}


def ratios(slow: Side, fast: Side, steps: slice) -> dict[str, float]:
    """How many times faster `fast` is, pair by pair of steps: median, least and most."""
    found = [a / b for a, b in zip(slow.seconds[steps], fast.seconds[steps], strict=True)]
    cpu = [a / b for a, b in zip(slow.cpu_seconds[steps], fast.cpu_seconds[steps], strict=True)]
    median = statistics.median(found)
    return {"median": median, "min": min(found), "max": max(found), "pairs": len(found), "cpu": statistics.median(cpu)}


def loss_difference(one: Side, other: Side) -> dict[str, float]:
    """How far two sides' losses are apart: at most, and by the mean over all steps."""
    differences = np.subtract(one.losses, other.losses)
    return {"max": float(np.abs(differences).max()), "of_means": float(abs(differences.mean()))}


def told(found: Mapping[str, float], target: float | None = None) -> str:
    """Write ratios as a line of text."""
    spread = f"median of {found['pairs']} pairs, {found['min']:.2f} to {found['max']:.2f}"
    aim = f"; target {target}" if target else ""
    return f"{found['median']:.2f} ({spread}; of processor time {found['cpu']:.2f}{aim})"


def settle_memory() -> None:
    """Give freed memory back to the system and reset the peak, so that the next peak is the next side's own."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def surroundings(precision: str = "auto") -> dict[str, Any]:
    """Say what the figures depend on beside the code."""
    with autocast(precision, torch.device("cpu")):
        bf16 = torch.is_autocast_enabled("cpu")
    load = float(Path("/proc/loadavg").read_text().split()[0])
    return {"precision": "bf16" if bf16 else "fp32", "threads": torch.get_num_threads(), "load_1_min": load}


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
