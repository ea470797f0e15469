"""Is anisotropy a fault? Mean cosine, uniformity and principal components over training, and against AUC ([A] §4).

Varies  full fine-tuning, LoRA, uniformity as an auxiliary loss at two weights, and whitening: of the fine-tuned
        encoder's item vectors, and of the encoder as it comes (ZCA fitted on the training items, at evaluation only).
Fixed   bi-encoder, MINCE, title only, one epoch; health is measured on the same validation candidates all along,
        before whitening.
Fills   reports/tables/representation_health.md and its figures.
Costs   default size: 10 minutes on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.curves import Curves
from tastelab.results.health import HealthAgainstAUC
from tastelab.results.tables import Table

UNIFORMITY = "objective.auxiliaries.uniformity.weight"
ROWS = {
    "Bi-encoder MINCE": {},
    "+ LoRA only": presets.with_lora(),
    "+ Uniformity 0.1": {UNIFORMITY: 0.1},
    "+ Uniformity 1": {UNIFORMITY: 1.0},
    "Bi-encoder MINCE, whitened": {"evaluation.whitening": True},
    "Frozen, whitened": {"evaluation.whitening": True, "model.adaptation": presets.frozen(), "optim.epochs": 0},
}

experiment = Experiment(
    name="representation_health",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("Bi-encoder MINCE", "+ Uniformity 1", "Bi-encoder MINCE, whitened")),
        "default": presets.default(),
        "paper": presets.paper(),
    },
)

LABELS = tuple((label, label) for label in ROWS)
TRAINED = LABELS[:4]
FIGURES = ("representation_health_steps", "representation_health_auc")

tables = [Table("representation_health", "Representation health", rows=LABELS, figures=FIGURES)]
plots = [
    Curves(
        FIGURES[0],
        "Representation health over training",
        rows=TRAINED,
        curves=(
            ("health/mean_cosine", "mean pairwise cosine"),
            ("health/uniformity", "uniformity"),
            ("health/pca_top5", "variance of the first 5 components"),
            ("val/auc", "validation AUC"),
        ),
    ),
    HealthAgainstAUC(FIGURES[1], "Representation health against AUC", rows=TRAINED),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
