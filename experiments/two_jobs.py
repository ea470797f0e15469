"""Can one text encoder retrieve and rank?

Varies  what the encoder is trained for: to rank what was shown (MINCE), to retrieve what was clicked ([B]'s contrastive
        loss of a user against the clicks of the batch), or both, by weight; at last with mix pooling, so that what is
        retrieved by the mean of a history is ranked by another score.
Fixed   bi-encoder, LoRA of rank 8, title only, one epoch.
Fills   reports/tables/two_jobs.md: AUC on what was shown, HR@k over the whole catalogue, and the pipeline of both: 200
        items retrieved by the mean of the history, ranked by the model's own score, 10 shown. And
        reports/tables/two_jobs_two_models.md: the same with two encoders, one for each job.
Costs   default size: about half an hour for 2 seeds on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.config import Auxiliary
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.probes import ProbeTable
from tastelab.results.tables import Table

RETRIEVAL = "objective.auxiliaries.in_batch.weight"
ROWS = {
    "Ranking only": {},
    "Retrieval only": {"objective.ranking_weight": 0.0, RETRIEVAL: 1.0},
    "Both, 1 : 0.3": {RETRIEVAL: 0.3},
    "Both, 1 : 1": {RETRIEVAL: 1.0},
    "Both, 1 : 1, mix pooling": {RETRIEVAL: 1.0, "model.pooling": presets.pooling("mix")},
}

TWO_MODELS = "by Retrieval only"

experiment = Experiment(
    name="two_jobs",
    question=__doc__,
    base=presets.bi_encoder(
        objective__auxiliaries=(Auxiliary.named("in_batch", weight=0.0),),
        evaluation__retrieve=200,
        evaluation__validations=3,
    ),
    group="row",
    rows=Variants(ROWS),
    probes={TWO_MODELS: {"evaluation.retriever": "Retrieval only"}},
    sizes={
        "smoke": presets.smoke(only=("Ranking only", "Retrieval only", "Both, 1 : 1, mix pooling")),
        "default": presets.default(seeds=(0, 1)),
        "paper": presets.paper(),
    },
)

tables = [
    Table(
        "two_jobs",
        "One encoder for ranking and retrieval",
        rows=tuple((label, label) for label in ROWS),
        columns=(
            *("auc", "auc:interval", "auc:sd", "hr@10", "hr@50", "hr@200", "pipeline_hr@10"),
            *("vs_first", "vs_first:holm", "seeds"),
        ),
        note="HR@k: share of an impression's clicks among the k items of the whole catalogue that are nearest to the "
        "mean of the user's history; impressions without a history have none. Pipeline: 200 items are retrieved, "
        "ordered by the model's own score, and the first 10 count; with mean pooling that is the order of retrieval.",
    ),
    ProbeTable(
        "two_jobs_two_models",
        "One encoder for both jobs against two",
        heading="Ranked by",
        across="Retrieved",
        rows=tuple(ROWS),
        columns=(TWO_MODELS,),
        metric="pipeline_hr@10",
        baselines=False,
        note="Pipeline HR@10 where the encoder that is trained for retrieval alone retrieves 200 items, and that of "
        "the row ranks them; `two_jobs.md` has the same where one encoder does both.",
    ),
]

if __name__ == "__main__":
    run(experiment, tables)
