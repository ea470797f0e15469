"""What frozen layers save: full fine-tuning, the lowest half frozen, and the same with their outputs kept per item.

They take the same steps in turns in one process. A pass goes once over the same batches; in the first one most
items are new, in the later ones all are known, as in a second epoch or for items that many users see.

    python benchmarks/frozen.py --data FOLDER [--batches 6] [--passes 3] [--json]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click
from sides import HOME, Setup, loss_difference, prepare, rate, ratios, surroundings, take_turns, tastelab_side, told

from tastelab.config import Adaptation, replace_at
from tastelab.modeling.backbone import blocks
from tastelab.modeling.bi_encoder import BiEncoderRanker
from tastelab.modeling.ranker import Ranker
from tastelab.schema import Batch

SETTINGS = {
    "data.max_history": 20,
    "data.sampler.num_candidates": 16,
    "optim.global_batch": 16,
    "optim.learning_rate": 1e-4,
}
FULL, ANEW = "full fine-tuning", "half frozen"
ALL_NEW, REUSED = "half frozen, kept, all new", "half frozen, kept"
TARGETS = {FULL: 1.6, ANEW: 1.0}


def measure(setup: Setup, passes: int) -> dict[str, Any]:
    """Take the steps; the first batch warms up and counts in no figure."""
    trained = {
        FULL: replace_at(setup.config, {"model.adaptation": Adaptation.named("full")}),
        ANEW: replace_at(setup.config, {"model.adaptation": Adaptation.named("full", frozen_layers_share=0.5)}),
    }
    full = tastelab_side(setup, trained[FULL], FULL)
    anew = tastelab_side(setup, trained[ANEW], ANEW, reuse_mb=0)
    reused = tastelab_side(setup, trained[ANEW], REUSED)
    all_new = tastelab_side(setup, trained[ANEW], ALL_NEW, before=forget)
    sides, (warm_up, *batches) = [full, anew, reused, all_new], setup.batches
    take_turns(sides, [warm_up, *batches * passes])
    spans = {"first pass": slice(1, 1 + len(batches)), "later passes": slice(1 + len(batches), None)}
    return {
        "impressions_per_s": {
            name: {side.name: rate(side, batches, span)["clock"] for side in sides} for name, span in spans.items()
        },
        "ratio": {
            name: {slow.name: ratios(slow, reused, span) for slow in (full, anew)} for name, span in spans.items()
        },
        "ratio_all_new": ratios(anew, all_new, slice(1, None)),
        "new_items": _share_of_new(setup.batches),
        "loss_difference": loss_difference(anew, reused),
        "peak_mb_of_a_step": {side.name: max(side.peaks_mb) for side in sides},
    }


def forget(ranker: Ranker) -> None:
    """Let a ranker begin with nothing kept: the dearest step there is."""
    encoder = cast(BiEncoderRanker, ranker).encoder
    encoder.reuse(len(blocks(encoder.backbone)) // 2, 2_048)


def _share_of_new(batches: list[Batch]) -> float:
    """Return the share of a batch's items that no earlier batch had, in the first pass after the warm-up."""
    seen, new, total = set(batches[0].item_ids_U.tolist()), 0, 0
    for batch in batches[1:]:
        ids = set(batch.item_ids_U.tolist())
        new, total, seen = new + len(ids - seen), total + len(ids), seen | ids
    return new / total


def tell(found: dict[str, Any]) -> None:
    """Print what was found."""
    for name, of in found["ratio"].items():
        rates = ", ".join(f"{side} {value:.1f}" for side, value in found["impressions_per_s"][name].items())
        share = f", {found['new_items']:.0%} of a batch's items new" if name == "first pass" else ""
        print(f"{name}{share}\n  impressions/s: {rates}")
        for slow, value in of.items():
            print(f"  kept against {slow}: {told(value, TARGETS[slow])}")
    print(f"every item new in every step\n  kept against {ANEW}: {told(found['ratio_all_new'])}")
    difference = found["loss_difference"]
    print(
        f"loss with and without keeping: {difference['max']:.1e} apart at most, {difference['of_means']:.1e} on average"
    )
    print(", ".join(f"{side} {value:,.0f} MB" for side, value in found["peak_mb_of_a_step"].items()), "in a step")


@click.command()
@click.option("--data", default="synthetic", show_default=True)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True)
@click.option("--batches", default=6, show_default=True, help="Different batches; one more warms up.")
@click.option("--passes", default=3, show_default=True, help="Passes over them.")
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "bf16", "fp32"]))
@click.option("--home", type=click.Path(path_type=Path), default=HOME)
@click.option("--json", "as_json", is_flag=True)
def main(data: str, encoder: str, batches: int, passes: int, precision: str, home: Path, as_json: bool) -> None:
    """Compare steps with frozen layers, kept and not, with those of full fine-tuning."""
    setup = prepare(data, encoder, home, SETTINGS | {"optim.precision": precision}, batches + 1)
    found, around = measure(setup, passes), surroundings(precision)
    if as_json:
        print(json.dumps(found | around))
        return
    tell(found)
    print(around)


if __name__ == "__main__":
    main()
