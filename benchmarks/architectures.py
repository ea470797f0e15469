"""Training steps of every architecture: tastelab against the plain loop of the same architecture, step by step in turns.

The plain loops encode every text of every slot, padded to the longest of the batch (`plain.py`). Batches hold 16
impressions of up to 20 history titles and 16 candidates; the cross-encoder's, which puts each pair of a history and a
candidate through the encoder, 4 of up to 10 and 6. ID-SAS and NRMS have no encoder in their step: their rates alone.

    python benchmarks/architectures.py --data FOLDER [--steps 10] [--only colbert]... [--json]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
from plain import SCORES, plain_side
from sides import Setup, loss_difference, prepare, rate, ratios, surroundings, take_turns, tastelab_side, told

LARGE = {
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
ALONE: dict[str, dict[str, Any]] = {}


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


def settings_of(name: str) -> dict[str, Any]:
    """Return the configuration of an architecture's benchmark."""
    from tastelab.config import Architecture

    size = SMALL if name == "cross_encoder" else LARGE
    return size | {"model.architecture": Architecture.named(name)} | ALONE.get(name, {})


def tell(name: str, found: dict[str, Any]) -> None:
    """Print what was found of one architecture."""
    print(f"\n{name}")
    rates = found["impressions_per_s"]
    peaks = found["peak_mb_of_a_step"]
    for side, value in rates.items():
        print(f"  {side:<10} {value:7.1f} impressions/s, {peaks[side]:,.0f} MB above rest in a step")
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
@click.option("--home", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "tastelab-benchmark")
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, steps: int, only: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Compare the training rate and memory of every architecture with those of its plain loop."""
    found: dict[str, Any] = {}
    for name in only or SCORES:
        setup = prepare(data, encoder, home, settings_of(name), steps + 1)
        found[name] = compare(name, setup)
        if not as_json:
            tell(name, found[name])
    around = surroundings()
    print(json.dumps(found | around) if as_json else f"\n{around}")


if __name__ == "__main__":
    main()
