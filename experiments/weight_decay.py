"""Is it implicit regularisation that LoRA gives? Weight decay on full fine-tuning ([A] §4 on LoRA).

Varies  the weight decay of full fine-tuning, 1e-3 to 1e-1; LoRA beside it.
Fixed   bi-encoder, MINCE, title only, one epoch.
Fills   reports/tables/weight_decay.md and the gradient norms.
Costs   default size: 8 minutes on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.against import Against
from tastelab.results.curves import Curves
from tastelab.results.tables import Table

DECAYS = {f"full, decay {decay:g}": {"optim.weight_decay": decay} for decay in (0.001, 0.01, 0.1)}
ROWS = {**DECAYS, "LoRA r=8": presets.with_lora()}

experiment = Experiment(
    name="weight_decay",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("full, decay 0.001", "full, decay 0.1", "LoRA r=8")),
        "default": presets.default(),
        "paper": presets.paper(),
    },
)

LABELS = tuple((label, label) for label in ROWS)
FIGURES = ("weight_decay", "weight_decay_grad_norm")

tables = [Table("weight_decay", "Weight decay", rows=LABELS, heading="Fine-tuning", figures=FIGURES)]
plots = [
    Against(
        FIGURES[0],
        "AUC against weight decay",
        rows=LABELS[:-1],
        parameter="config.optim.weight_decay",
        heading="weight decay",
        log=True,
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
