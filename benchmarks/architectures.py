"""Training steps of every architecture: tastelab against the plain loop of the same architecture, in turns.

The plain loops encode every text of every slot, padded to the longest of the batch (`plain.py`). Batches hold 16
impressions of up to 20 history titles and 16 candidates; the cross-encoder's, which puts each pair of a history and a
candidate through the encoder, 4 of up to 10 and 6. ID-SAS and NRMS have no encoder in their step: their rates alone.

    python benchmarks/architectures.py --data FOLDER [--steps 10] [--only colbert]... [--json]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from plain import plain_side
from sides import HOME, Setup, loss_difference, prepare, rate, ratios, surroundings, take_turns, tastelab_side, told

from tastelab.config import Adaptation, Architecture, Pooling

LARGE: dict[str, Any] = {
    "data.max_history": 20,
    "data.sampler.num_candidates": 16,
    "optim.global_batch": 16,
    "optim.learning_rate": 5e-4,
}
SMALL = LARGE | {"data.max_history": 10, "data.sampler.num_candidates": 6, "optim.global_batch": 4}
TARGETS = {
    "bi_encoder": 2.5,
    "colbert": 2.0,
    "half_cross_encoder": 1.5,
    "half_cross_encoder_colbert": 1.5,
    "cross_encoder": 1.2,
}
RATES = {"id_sas": 300.0, "nrms": 50.0}
OWN: dict[str, dict[str, Any]] = {
    "id_sas": {
        "model.adaptation": Adaptation.named("frozen"),
        "model.pooling": Pooling.named("sasrec"),
        "optim.global_batch": 32,
    },
    "nrms": {"objective.temperature": 1.0, "optim.global_batch": 32},
}


def compare(name: str, setup: Setup) -> dict[str, Any]:
    """Measure one architecture against its plain loop; the first step of each warms up."""
    plain, ours = plain_side(setup, setup.config), tastelab_side(setup, setup.config)
    take_turns([plain, ours], setup.batches)
    steps = slice(1, None)
    peaks = {side.name: max(side.peaks_mb) for side in (plain, ours)}
    return {
        "target": TARGETS[name],
        "ratio": ratios(plain, ours, steps),
        "impressions_per_s": {side.name: rate(side, setup.batches, steps) for side in (plain, ours)},
        "peak_mb_of_a_step": peaks,
        "memory_ratio": peaks["tastelab"] / peaks["plain loop"],
        "first_loss": {side.name: side.losses[0] for side in (plain, ours)},
        "loss_difference": loss_difference(plain, ours),
    }


def measure(name: str, setup: Setup) -> dict[str, Any]:
    """Measure the rate of an architecture without an encoder in its step; the first epoch, which fills, warms up."""
    ours = tastelab_side(setup, setup.config)
    take_turns([ours], setup.batches)
    steps = slice(len(setup.batches) // 2, None)
    return {
        "target": RATES[name],
        "impressions_per_s": {ours.name: rate(ours, setup.batches, steps)},
        "peak_mb_of_a_step": {ours.name: max(ours.peaks_mb)},
    }


def settings_of(name: str) -> dict[str, Any]:
    """Return the configuration of an architecture's benchmark."""
    size = SMALL if name == "cross_encoder" else LARGE
    return size | {"model.architecture": Architecture.named(name)} | OWN.get(name, {})


def tell(name: str, found: dict[str, Any]) -> None:
    """Print what was found of one architecture."""
    print(f"\n{name}")
    peaks = found["peak_mb_of_a_step"]
    for side, rates in found["impressions_per_s"].items():
        aim = "" if "ratio" in found else f"; target {found['target']:.0f}"
        print(f"  {side:<10} {rates['clock']:7.1f} impressions/s ({rates['cpu']:.1f} of processor time{aim})")
        print(f"             {peaks[side]:7,.0f} MB above rest in a step")
    if "ratio" in found:
        difference = found["loss_difference"]
        print(f"  ratio      {told(found['ratio'], found['target'])}")
        print(f"  memory     {found['memory_ratio']:.2f} of the plain loop's")
        print(f"  loss       {difference['max']:.1e} apart at most, {difference['of_means']:.1e} on average")


@click.command()
@click.option("--data", default="synthetic", show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--steps", default=10, show_default=True, help="Steps of each side beside the first, which warms up.")
@click.option("--only", multiple=True, type=click.Choice([*TARGETS, *RATES]), help="Architectures; all by default.")
@click.option("--home", type=click.Path(path_type=Path), default=HOME)
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, steps: int, only: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Compare the training rate and memory of every architecture with those of its plain loop."""
    found: dict[str, Any] = {}
    for name in only or (*TARGETS, *RATES):
        alone = name in RATES
        setup = prepare(data, encoder, home, settings_of(name), 4 * steps if alone else steps + 1)
        found[name] = measure(name, setup) if alone else compare(name, setup)
        if not as_json:
            tell(name, found[name])
    around = surroundings()
    print(json.dumps(found | around) if as_json else f"\n{around}")


if __name__ == "__main__":
    main()
