"""Which ranking loss? [A] Table 4, and the losses that [A] names without a row.

Varies  the loss: MINCE, margin, RankNet, BCE, InfoNCE, cosine embedding; and MINCE with uniformity over groups of 8
        impressions ([A]'s batch 8 × 6: contrast_size 8 in a batch of 48; at default size 8 × 2).
Fixed   bi-encoder, full fine-tuning, title only, one epoch.
Fills   reports/tables/losses.md.
Costs   default size: about half an hour for 3 seeds on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.tables import Table

ROWS = {
    "Bi-encoder MINCE": {},
    "<> Margin": presets.loss("margin"),
    "<> RankNet": presets.loss("ranknet"),
    "+ Uniformity (groups of 8)": {"objective.auxiliaries.uniformity.weight": 0.1, "objective.contrast_size": 8},
    "<> BCE": presets.loss("bce"),
    "<> InfoNCE": presets.loss("infonce"),
    "<> Cosine embedding": presets.loss("cosine_embedding"),
}

experiment = Experiment(
    name="losses",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("Bi-encoder MINCE", "+ Uniformity (groups of 8)", "<> BCE")),
        "default": presets.default(seeds=(0, 1, 2)),
        "paper": presets.paper(),
    },
)

tables = [
    Table(
        "losses",
        "Losses",
        rows=tuple((label, label) for label in ROWS),
        published={
            "Bi-encoder MINCE": "A4.bi_encoder_mince",
            "<> Margin": "A4.margin",
            "<> RankNet": "A4.ranknet",
            "+ Uniformity (groups of 8)": "A4.uniformity",
        },
        note="InfoNCE takes one click of an impression, MINCE all: where each impression has one, as in the Mix "
        "sample, they are one loss.",
    )
]

if __name__ == "__main__":
    run(experiment, tables)
