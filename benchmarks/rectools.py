"""Training steps of a SASRec user tower with sampled negatives: tastelab against RecTools' SASRecModel, in turns.

Width, layers, heads, dropout, length of histories, sequences of a batch, number of negatives, precision, threads and
clicks are the same on both sides. What differs is told in docs/benchmarks.md; above all, RecTools draws its negatives
for every position and uniformly, tastelab one set for the batch and by popularity. So tastelab has two sides: as it
comes, and with uniform negatives for every position.

RecTools lives in an environment of its own and runs as a process beside this one: it fits, and waits while it is not
its turn. Counted are reading, collating, forward and backward pass and the optimiser's step.

    python benchmarks/rectools.py --rectools-python ENVIRONMENT/bin/python [--items 20000] [--negatives 128] [--json]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, Self, cast

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sides import surroundings

from tastelab.config import CandidateLoss, ItemTowerConfig, ModelConfig, OptimConfig, RetrievalConfig, UserTower
from tastelab.data.negatives import Drawer
from tastelab.data.order import Share
from tastelab.data.propensity import Distribution
from tastelab.data.sequence_collate import SequenceCollate
from tastelab.data.sequence_stream import SequencePipeline, sequence_pipeline
from tastelab.data.sequences import Sequences, write_sequences
from tastelab.modeling.candidates import CandidateResources, build_candidate_model
from tastelab.schema import UNKNOWN_TIME, Catalogue, SequenceBatch
from tastelab.training.candidate_module import CandidateModule, Drawn
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.loop import optimise
from tastelab.training.optim import build_optimizer

Ints = npt.NDArray[np.int64]

TARGET = 2.0
OURS = {"tastelab, shared": {}, "tastelab, each": {"shared": False, "distribution": "uniform"}}
"""tastelab's sides by what their loss differs in from its defaults."""


@dataclass(frozen=True)
class Sizes:
    """What both sides are built by."""

    items: int
    negatives: int
    dropout: float
    threads: int
    users: int = 12_800
    batch: int = 128
    history: int = 50
    width: int = 64
    layers: int = 2
    heads: int = 4


@dataclass(frozen=True)
class Turn:
    """What some steps of a side took."""

    seconds: float
    cpu_seconds: float
    loss: float


@dataclass
class Side:
    """One way to take steps, and its turns."""

    name: str
    take: Callable[[int], Turn]
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """As much of a job as reading needs."""

    pipeline_of_all: SequencePipeline
    batch: int

    def pipeline(self) -> SequencePipeline:
        """Return what streams the clicks."""
        return self.pipeline_of_all

    def collate(self, epoch: int) -> SequenceCollate:
        """Return what makes batches."""
        return SequenceCollate(epoch)

    def share(self, workers: int, rank: int) -> Share:
        """Return a worker's part of a batch."""
        return Share(self.batch, workers, rank)


class Peer:
    """RecTools in a process of its own."""

    def __init__(self, python: str, sizes: Sizes, clicks: Path) -> None:
        """Start it; it prepares its data, builds its model and waits."""
        # Isolated, `import rectools` finds the library and not this file beside the script.
        command = [python, "-I", str(Path(__file__).with_name("rectools_side.py"))]
        environment = os.environ | {"OMP_NUM_THREADS": str(sizes.threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        self.about = self._ask(asdict(sizes) | {"clicks": str(clicks)})

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.process.communicate()

    def take(self, steps: int) -> Turn:
        """Let it take steps."""
        return Turn(**self._ask(steps))

    def _ask(self, question: object) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        if not (answer := self.process.stdout.readline()):
            raise SystemExit("RecTools ended without an answer: what it wrote above says why.")
        found: dict[str, Any] = json.loads(answer)
        return found


def draw_clicks(sizes: Sizes) -> Ints:
    """Draw items_US by a Zipf law; every item occurs, because RecTools knows no other items than those."""
    rng = np.random.default_rng(0)
    weights_N = 1.0 / np.arange(1, sizes.items + 1)
    clicks = rng.choice(sizes.items, size=sizes.users * (sizes.history + 1), p=weights_N / weights_N.sum())
    places = rng.choice(len(clicks), size=sizes.items, replace=False)
    clicks[places] = np.arange(sizes.items)
    return clicks.reshape(sizes.users, -1)


def sequences_of(items_US: Ints, path: Path) -> Sequences:
    """Write the clicks as tastelab keeps them."""
    path.mkdir()
    num_users, length = items_US.shape
    sequences = Sequences(
        path,
        pa.array(map(str, range(num_users))),
        np.arange(num_users + 1) * length,
        items_US.ravel().astype(np.int32),
        np.full(items_US.size, UNKNOWN_TIME),
        np.zeros(items_US.size, np.int8),
        np.full(items_US.size, -1, np.int32),
    )
    write_sequences(path, sequences)
    return sequences


def module_of(sizes: Sizes, counts_N: Ints, **changes: Any) -> CandidateModule:
    """Build towers of ID embeddings alone, with their loss."""
    none_N = torch.full((sizes.items,), -1)
    tags = torch.empty((sizes.items, 0), dtype=torch.int32)
    catalogue = Catalogue(sizes.items, torch.ones(sizes.items, dtype=torch.bool), none_N, 0, none_N, 0, tags, 0)
    loss = CandidateLoss.named("sampled_softmax", negatives=sizes.negatives, **changes)
    config = RetrievalConfig(
        ItemTowerConfig(sizes.width, text="none"),
        UserTower.named("sasrec", num_layers=sizes.layers, num_heads=sizes.heads, dropout=sizes.dropout),
        loss,
        targets="window",
    )
    model = build_candidate_model(ModelConfig(), config, CandidateResources(catalogue, max_history=sizes.history))
    weights_N = np.ones(sizes.items) if changes.get("distribution") == "uniform" else counts_N
    drawer = Drawer(Distribution("clicks", np.log(weights_N / weights_N.sum()).astype(np.float32)))
    return CandidateModule(model, config, Drawn(drawer))


def own_side(name: str, sizes: Sizes, sequences: Sequences) -> Side:
    """Build a side of tastelab's."""
    counts_N = np.bincount(sequences.items, minlength=sizes.items)
    module = module_of(sizes, counts_N, **OURS[name])
    optim = OptimConfig(precision="fp32", global_batch=sizes.batch)
    optimizer = build_optimizer(module, optim)
    rows = np.flatnonzero(np.arange(sequences.num_clicks) % (sizes.history + 1))  # a user's first click is no target
    pipeline = sequence_pipeline(sequences, rows, sizes.history, seed=0, targets="window")
    session = LocalSession(cast(Job, Reading(pipeline, sizes.batch)))
    batches: Iterator[SequenceBatch] = (batch for epoch in count() for batch in session.batches(epoch))

    def take(steps: int) -> Turn:
        clock, cpu = time.perf_counter(), time.process_time()
        losses = [optimise(module, module, optimizer, [batch], optim)["train/loss"] for batch in islice(batches, steps)]
        return Turn(time.perf_counter() - clock, time.process_time() - cpu, statistics.mean(losses))

    return Side(name, take)


def take_turns(sides: list[Side], steps: int, pairs: int) -> None:
    """Let every side take its steps, `pairs` times; who begins changes. One more turn, not kept, warms up."""
    for number in range(pairs + 1):
        start = number % len(sides)
        for side in (*sides[start:], *sides[:start]):
            turn = side.take(steps)
            if number:
                side.turns.append(turn)


def summary(side: Side, theirs: Side, sequences: int) -> dict[str, Any]:
    """Put together the rate of a side and how many times RecTools' it is, pair by pair."""
    pairs = list(zip(side.turns, theirs.turns, strict=True))
    found = [other.seconds / own.seconds for own, other in pairs]
    return {
        "side": side.name,
        "sequences_per_s": sequences / statistics.median(turn.seconds for turn in side.turns),
        "ratio": statistics.median(found),
        "min": min(found),
        "max": max(found),
        "ratio_cpu": statistics.median(other.cpu_seconds / own.cpu_seconds for own, other in pairs),
        "first_loss": side.turns[0].loss,
        "last_loss": side.turns[-1].loss,
    }


def measure(python: str, sizes: Sizes, steps: int, pairs: int, folder: Path) -> dict[str, Any]:
    """Measure all sides on the same clicks."""
    items_US = draw_clicks(sizes)
    clicks = folder / "clicks.npy"
    np.save(clicks, items_US)
    sequences = sequences_of(items_US, folder / "sequences")
    with Peer(python, sizes, clicks) as peer:
        theirs = Side("RecTools", peer.take)
        sides = [theirs, *(own_side(name, sizes, sequences) for name in OURS)]
        take_turns(sides, steps, pairs)
    rows = [summary(side, theirs, steps * sizes.batch) for side in sides]
    return {"sizes": asdict(sizes), "steps": steps, "pairs": pairs, "sides": rows, "rectools": peer.about}


@click.command()
@click.option("--rectools-python", required=True, help="Interpreter of the environment that has RecTools.")
@click.option("--items", default=20_000, show_default=True, help="Items of the catalogue.")
@click.option("--negatives", default=128, show_default=True, help="Negatives of a position, or of the batch.")
@click.option("--dropout", default=0.2, show_default=True, help="RecTools' default, not tastelab's, which is 0.")
@click.option("--threads", default=1, show_default=True, help="Threads of each side.")
@click.option("--steps", default=3, show_default=True, help="Steps of a turn.")
@click.option("--pairs", default=7, show_default=True, help="Turns of each side; one more warms up.")
@click.option("--json", "as_json", is_flag=True)
def main(
    rectools_python: str,
    items: int,
    negatives: int,
    dropout: float,
    threads: int,
    steps: int,
    pairs: int,
    as_json: bool,
) -> None:
    """Compare the sequences per second that both sides train on."""
    torch.set_num_threads(threads)
    sizes = Sizes(items, negatives, dropout, threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(rectools_python, sizes, steps, pairs, Path(folder))
    found |= {"torch": torch.__version__} | surroundings("fp32")
    if as_json:
        print(json.dumps(found))
        return
    for row in found["sides"]:
        print(
            f"{row['side']:<17} {row['sequences_per_s']:8.1f} sequences/s  {row['ratio']:6.2f} of RecTools "
            f"(median of {pairs} pairs, {row['min']:.2f} to {row['max']:.2f}; of processor time {row['ratio_cpu']:.2f}"
            f"; target {TARGET})  loss {row['first_loss']:.2f} to {row['last_loss']:.2f}"
        )
    print({key: value for key, value in found.items() if key != "sides"})


if __name__ == "__main__":
    main()
