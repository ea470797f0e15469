"""Training steps: tastelab against the plain loop that a user would write, both in this process, in turns.

The plain loop encodes every title of every real slot, padded to the longest of the batch, under bf16 autocast.
tastelab encodes each distinct title of the batch once, sorted by length. Model, LoRA, data, order of impressions, loss
and optimiser are the same, and so must be the losses. `architectures.py` does the same for every architecture.

    python benchmarks/train.py --data FOLDER [--steps 10] [--json]
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from architectures import compare, settings_of, tell
from sides import HOME, prepare, surroundings


@click.command()
@click.option("--data", default="synthetic", show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--steps", default=10, show_default=True, help="Steps of each side; one more warms up.")
@click.option("--home", type=click.Path(path_type=Path), default=HOME)
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, steps: int, home: Path, as_json: bool) -> None:
    """Compare training steps per second and memory of both sides."""
    setup = prepare(data, encoder, home, settings_of("bi_encoder"), steps + 1)
    found = compare("bi_encoder", setup)
    slots = [int(b.history_mask_BH.sum() + b.candidate_mask_BC.sum()) for b in setup.batches]
    found["slots_per_distinct_item"] = sum(slots) / sum(len(b.item_ids_U) for b in setup.batches)
    if as_json:
        print(json.dumps(found | surroundings()))
        return
    tell("bi_encoder", found)
    print(f"  slots      {found['slots_per_distinct_item']:.2f} per distinct item\n{surroundings()}")


if __name__ == "__main__":
    main()
