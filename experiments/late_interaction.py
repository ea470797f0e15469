"""Does attention within the history, or between tokens, pay for its latency? [A] Table 2.

Varies  the architecture: bi-encoder, half cross-encoder, ColBERT's late interaction on each, cross-encoder.
Fixed   MINCE (the cross-encoder: BCE, as in [A]), full fine-tuning, no additional components, title only, one epoch.
        On CPU those that read histories as one sequence train on fewer impressions; their rows say how many.
Fills   reports/tables/late_interaction.md, with latency per impression at batch 1 and 64.
Costs   default size: about a quarter of an hour on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.tables import Table
from tastelab.results.tradeoff import Tradeoff

ROWS = {
    "Bi-Encoder": {},
    "Half Cross-Encoder": presets.architecture("half_cross_encoder"),
    "Bi-Encoder ColBERT": presets.architecture("colbert"),
    "Half Cross-Encoder ColBERT": presets.architecture("half_cross_encoder_colbert"),
    "Cross-Encoder": presets.cross_encoder(),
}
FEWER = {
    "Half Cross-Encoder": {"data.train_impressions": 512},
    "Half Cross-Encoder ColBERT": {"data.train_impressions": 512},
    "Cross-Encoder": {"data.train_impressions": 128},
}

experiment = Experiment(
    name="late_interaction",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("Bi-Encoder", "Half Cross-Encoder ColBERT", "Cross-Encoder")),
        "default": presets.default(rows=FEWER),
        "paper": presets.paper(),
    },
)

LABELS = tuple((label, label) for label in ROWS)

tables = [
    Table(
        "late_interaction",
        "Cross-encoders and late interaction",
        rows=LABELS,
        published={
            "Half Cross-Encoder": "A2.half_cross_encoder",
            "Bi-Encoder ColBERT": "A2.bi_encoder_colbert",
            "Half Cross-Encoder ColBERT": "A2.half_cross_encoder_colbert",
        },
        figures=("late_interaction_tradeoff",),
        details=(
            *("trained", "train_impressions", "wall_time", "throughput"),
            *("latency_1", "latency_64", "latency_cold_1", "latency_cold_64", "memory"),
        ),
    )
]
plots = [Tradeoff("late_interaction_tradeoff", "AUC against latency", rows=LABELS)]

if __name__ == "__main__":
    run(experiment, tables, plots)
