"""An experiment small enough for a test: three rows, one of which cannot be trained."""

from tastelab import presets
from tastelab.experiment import Choice, Experiment, Float, Given, Size
from tastelab.launch import run
from tastelab.results.plots import RankCurve, SearchPlot
from tastelab.results.tables import Table

ROWS = Choice({"full": presets.full(), "LoRA r=2": presets.lora(2), "LoRA r=4": presets.lora(4)})
BROKEN = "LoRA r=4"

experiment = Experiment(
    name="small_sweep",
    question="Does a sweep go on whatever happens to it?",
    base=presets.bi_encoder(),
    group="model.adaptation",
    rows=ROWS,
    search={
        "optim.learning_rate": Given("model.adaptation", {BROKEN: Choice.of(1e30)}, otherwise=Float(1e-4, 1e-3)),
        "objective.temperature": Float(0.05, 0.2, log=True),
    },
    probes={"one word": {"data.title_words": 1}},
    sizes={
        "default": Size(
            {
                "data.max_history": 5,
                "data.max_tokens": 16,
                "data.sampler.num_candidates": 6,
                "optim.global_batch": 16,
                "optim.epochs": 2,
                "optim.precision": "fp32",
                "evaluation.validations": 2,
            },
            trials=4,
            seeds=(0,),
        )
    },
)

LABELS = tuple((label, label) for label in ROWS.values)

if __name__ == "__main__":
    run(
        experiment,
        [Table("small_sweep", "A small sweep", rows=LABELS, heading="Adaptation")],
        [RankCurve("small_sweep", "AUC", rows=LABELS), SearchPlot("small_sweep_search", "All trials", rows=LABELS)],
    )
