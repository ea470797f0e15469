"""What does each addition to the bi-encoder bring? [A] Table 3.

Varies  one thing at a time: LoRA for full fine-tuning, SASRec pooling, mix pooling, the redundancy penalty; then all
        components (LoRA, mix pooling, redundancy).
Fixed   bi-encoder, MINCE, title only, one epoch.
Fills   reports/tables/components.md and the gradient norms of LoRA and full fine-tuning.
Costs   default size: about half an hour for 3 seeds on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.curves import Curves
from tastelab.results.tables import Table

ROWS = {
    "Bi-encoder MINCE": {},
    "+ LoRA only": presets.with_lora(),
    "+ SASRec pool": {"model.pooling": presets.pooling("sasrec")},
    "+ Mix pool": {"model.pooling": presets.pooling("mix")},
    "+ Redundancy": {"objective.auxiliaries.redundancy.weight": 0.1},
    "+ All components": presets.all_components(),
}

experiment = Experiment(
    name="components",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("Bi-encoder MINCE", "+ SASRec pool", "+ All components")),
        "default": presets.default(seeds=(0, 1, 2)),
        "paper": presets.paper(),
    },
)

LABELS = tuple((label, label) for label in ROWS)

tables = [
    Table(
        "components",
        "Additions to the bi-encoder",
        rows=LABELS,
        published={
            "Bi-encoder MINCE": "A3.bi_encoder_mince",
            "+ LoRA only": "A3.lora",
            "+ SASRec pool": "A3.sasrec",
            "+ Mix pool": "A3.mix_pool",
            "+ Redundancy": "A3.redundancy",
            "+ All components": "A3.all_components",
        },
        figures=("components_grad_norm",),
    )
]
plots = [
    Curves(
        "components_grad_norm",
        "Gradient norm before clipping",
        rows=LABELS,
        curves=(("train/grad_norm", "gradient norm"),),
        columns=1,
    )
]

if __name__ == "__main__":
    run(experiment, tables, plots)
