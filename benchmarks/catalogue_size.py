"""Training steps of candidate generation as the catalogue grows from 10⁴ to 10⁷ items: their cost is to be flat.

Every size has its own model, table, moments and distribution, all in this process; steps of the sizes take turns, so
that whatever else the machine does falls on all alike. The embedding table's own memory grows with the catalogue and is
told apart.

A larger catalogue also brings more distinct items into a batch, and each costs what an item costs. `--law spread` (the
default) leaves that out: the clicks are on 10⁴ items that lie all over the catalogue, so every size computes the same
number of items. `--law zipf` lets clicks follow a Zipf law over all items, and tells how many are distinct.

    python benchmarks/catalogue_size.py [--steps 30] [--largest 7] [--json]
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field

import click
import numpy as np
import torch
from sides import surroundings

from tastelab.config import CandidateLoss, ItemTowerConfig, ModelConfig, OptimConfig, RetrievalConfig, UserTower
from tastelab.data.negatives import Drawer
from tastelab.data.propensity import Distribution
from tastelab.losses.contrast import ContrastiveLoss
from tastelab.modeling.candidates import CandidateResources, build_candidate_model
from tastelab.schema import Catalogue, SequenceBatch
from tastelab.training.candidate_module import CandidateModule, Drawn
from tastelab.training.loop import optimise
from tastelab.training.optim import build_optimizer

BATCH, HISTORY, WIDTH, SMALLEST = 256, 50, 64, 10**4
LOSSES = {
    "CLRec, queue of 2,560 IDs": CandidateLoss.named("clrec"),
    "sampled softmax, 1,024 shared": CandidateLoss.named("sampled_softmax", negatives=1_024),
}


@dataclass
class Side:
    """One loss on one catalogue, with its steps."""

    loss: str
    num_items: int
    module: CandidateModule
    optimizer: torch.optim.Optimizer
    law: str
    seconds: list[float] = field(default_factory=list)
    distinct: list[int] = field(default_factory=list)

    def step(self, number: int) -> None:
        """Take a training step on clicks of this catalogue."""
        batch = clicks(self.num_items, number, self.law)
        self.distinct.append(len(batch.item_ids_U))
        start = time.perf_counter()
        optimise(self.module, self.module, self.optimizer, [batch], OptimConfig(precision="fp32"))
        self.seconds.append(time.perf_counter() - start)


def build(loss: str, num_items: int, law: str) -> Side:
    """Build towers of ID embeddings alone over a catalogue without any text."""
    none_N = torch.full((num_items,), -1)
    tags = torch.empty((num_items, 0), dtype=torch.int32)
    catalogue = Catalogue(num_items, torch.ones(num_items, dtype=torch.bool), none_N, 0, none_N, 0, tags, 0)
    items = ItemTowerConfig(WIDTH, text="none", id_dropout=0.0)
    config = RetrievalConfig(items, UserTower.named("weighted"), LOSSES[loss])
    model = build_candidate_model(ModelConfig(), config, CandidateResources(catalogue, max_history=HISTORY))
    assert isinstance(config.loss, ContrastiveLoss)
    drawn = Drawn(Drawer(popularity(num_items, law), 1.0)) if config.loss.wants(num_items).sampled else Drawn()
    module = CandidateModule(model, config, drawn)
    return Side(loss, num_items, module, build_optimizer(module, OptimConfig()), law)


def popularity(num_items: int, law: str) -> Distribution:
    """Return what negatives are drawn from: all items alike, or by a Zipf law."""
    weights_N = 1.0 / np.arange(1, num_items + 1) if law == "zipf" else np.ones(num_items)
    return Distribution("clicks", np.log(weights_N / weights_N.sum()).astype(np.float32))


def clicks(num_items: int, number: int, law: str) -> SequenceBatch:
    """Draw histories and targets of a step."""
    rng = np.random.default_rng(number)
    ranked = num_items if law == "zipf" else SMALLEST
    ranks = np.minimum(ranked ** rng.random((BATCH, HISTORY + 1)), ranked).astype(np.int64) - 1
    items = ranks * (num_items // ranked)
    items_U, places = np.unique(items, return_inverse=True)
    target_BS = torch.zeros(items.shape, dtype=torch.bool)
    target_BS[:, -1] = True
    return SequenceBatch(
        torch.from_numpy(items_U),
        torch.from_numpy(places.reshape(items.shape)),
        torch.ones(items.shape, dtype=torch.bool),
        target_BS,
        torch.arange(BATCH),
        torch.arange(BATCH),
        0,
        number,
    )


@click.command()
@click.option("--steps", default=30, show_default=True, help="Steps of each side; three more warm up.")
@click.option("--largest", default=7, show_default=True, help="Power of ten of the largest catalogue.")
@click.option("--law", type=click.Choice(["spread", "zipf"]), default="spread", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(steps: int, largest: int, law: str, as_json: bool) -> None:
    """Compare the time of a step between catalogues of four sizes."""
    found = []
    for loss in LOSSES:
        sides = [build(loss, 10**power, law) for power in range(4, largest + 1)]
        for number in range(steps + 3):
            for side in sides:
                side.step(number)
        first = statistics.median(sides[0].seconds[3:])
        for side in sides:
            pairs = [b / a for a, b in zip(sides[0].seconds[3:], side.seconds[3:], strict=True)]
            median = statistics.median(side.seconds[3:])
            ratio = {"ratio": median / first, "median_of_pairs": statistics.median(pairs)}
            table_mb = side.num_items * WIDTH * 4 / 2**20
            sizes = {"distinct": round(statistics.mean(side.distinct)), "table_mb": round(table_mb)}
            found.append({"loss": loss, "items": side.num_items, "ms": 1e3 * median, **ratio, **sizes})
        del sides
    if as_json:
        print(json.dumps({"steps": steps, "law": law, "sizes": found} | surroundings()))
        return
    for row in found:
        print(
            f"{row['loss']:<32} {row['items']:>12,} items  {row['ms']:7.1f} ms a step  {row['ratio']:.2f} of 10⁴ "
            f"(pairs {row['median_of_pairs']:.2f})  {row['distinct']:,} distinct  table {row['table_mb']:,} MB"
        )
    print(surroundings())


if __name__ == "__main__":
    main()
