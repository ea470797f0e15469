"""Does full fine-tuning forget less, and rank better, with its lowest layers frozen? [A] §4 on LoRA.

Varies  the share of layers frozen from the lowest, 0 to 75 %, under full fine-tuning; LoRA beside it.
Fixed   bi-encoder, MINCE, title only, one epoch; word embeddings frozen always.
Fills   reports/tables/freezing.md and the gradient norms.
Costs   default size: 10 minutes on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.against import Against
from tastelab.results.curves import Curves
from tastelab.results.tables import Table

SHARES = {
    f"full, {share:.0%} frozen": {"model.adaptation": presets.full(share)} if share else {}
    for share in (0.0, 0.25, 0.5, 0.75)
}
ROWS = {**SHARES, "LoRA r=8": presets.with_lora()}

experiment = Experiment(
    name="freezing",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("full, 0% frozen", "full, 50% frozen", "LoRA r=8")),
        "default": presets.default(),
        "paper": presets.paper(),
    },
)

LABELS = tuple((label, label) for label in ROWS)
FIGURES = ("freezing", "freezing_grad_norm")

tables = [Table("freezing", "Frozen layers", rows=LABELS, heading="Fine-tuning", figures=FIGURES)]
plots = [
    Against(
        FIGURES[0],
        "AUC against the share of frozen layers",
        rows=LABELS,
        parameter="config.model.adaptation.frozen_layers_share",
        heading="share of layers frozen, from the lowest",
        form=".0%",
        references=("frozen", "tfidf", "LoRA r=8"),
    ),
    Curves(
        FIGURES[1],
        "Gradient norm before clipping",
        rows=LABELS,
        curves=(("train/grad_norm", "gradient norm"),),
        columns=1,
    ),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
