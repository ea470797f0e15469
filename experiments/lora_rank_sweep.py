"""Does the rank of LoRA matter, and does low rank beat full fine-tuning ([A] §4)?

Varies  the adaptation: full fine-tuning and LoRA of rank 2 to 32, each searched over learning rate, temperature,
        item pooling, and the weights of uniformity and redundancy (Optuna TPE, ASHA); the search sees a validation
        part cut from the end of train, never dev.
Fixed   bi-encoder, MINCE, cosine, title only, one epoch, LoRA scale 2 (alpha = 2 · rank), three validations.
Fills   reports/tables/lora_rank_sweep.md: the best configuration of each rank, trained with several seeds and scored
        once on dev.
Costs   default size: about 12 minutes on 2 CPU cores, timed before SASRec and attention joined the search;
        --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Choice, Experiment, Float, Given, Size
from tastelab.launch import run
from tastelab.results.plots import RankCurve, SearchPlot
from tastelab.results.tables import Table

RANKS = (2, 4, 8, 16, 32)
POOLINGS = ("mean", "top_k", "mix", "sasrec", "attention")
ROWS = Choice({"full": presets.full()} | {f"LoRA r={rank}": presets.lora(rank) for rank in RANKS})

experiment = Experiment(
    name="lora_rank_sweep",
    question=__doc__,
    base=presets.bi_encoder(evaluation__validations=3),
    group="model.adaptation",
    rows=ROWS,
    search={
        "optim.learning_rate": Given(
            "model.adaptation", {"full": Float(1e-5, 3e-4, log=True)}, otherwise=Float(1e-4, 3e-3, log=True)
        ),
        "objective.temperature": Float(0.03, 0.3, log=True),
        "model.pooling": Choice({name: presets.pooling(name) for name in POOLINGS}),
        "objective.auxiliaries.uniformity.weight": Choice.of(0.0, 0.01, 0.1),
        "objective.auxiliaries.redundancy.weight": Choice.of(0.0, 0.1, 1.0),
    },
    sizes={
        "smoke": Size(
            {
                "data.train_impressions": 32,
                "data.max_history": 8,
                "data.sampler.num_candidates": 6,
                "optim.global_batch": 8,
                "model.encoder.num_layers": 2,
                "evaluation.validations": 1,
            },
            dataset="synthetic-smoke",
            trials=2,
            seeds=(0,),
            only=("full", "LoRA r=8"),
            workers=1,
            cpus_per_worker=0.4,
        ),
        "default": Size(
            {
                "data.train_impressions": 256,
                "data.max_history": 15,
                "data.sampler.num_candidates": 8,
                "optim.global_batch": 16,
                "evaluation.max_impressions": 200,
            },
            trials=8,
            seeds=(0, 1),
        ),
        "paper": Size(
            {"optim.global_batch": 48, "data.sampler.num_candidates": 32},
            dataset="mind-small",
            encoder="Alibaba-NLP/gte-modernbert-base",
            trials=60,
            seeds=(0, 1, 2),
        ),
    },
)

TABLE_ROWS = tuple((label, label if label != "full" else "full fine-tuning") for label in ROWS.values)
TICKS = tuple((label, label.removeprefix("LoRA r=")) for label in ROWS.values)

FIGURES = ("lora_rank_sweep", "lora_rank_sweep_search")

tables = [
    Table(
        "lora_rank_sweep",
        "LoRA rank against full fine-tuning",
        rows=TABLE_ROWS,
        heading="Adaptation",
        figures=FIGURES,
    )
]
plots = [
    RankCurve(FIGURES[0], "AUC against LoRA rank", rows=(*TICKS[1:], TICKS[0])),
    SearchPlot(FIGURES[1], "All trials of the search", rows=(*TICKS[1:], TICKS[0])),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
