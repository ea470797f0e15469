"""Which loss generates candidates best, and which favours what is popular already? [B], over the whole catalogue.

Varies  what a clicked item is contrasted with: every item (full softmax), drawn negatives (negative sampling, shared
        negative sampling, sampled softmax with its logQ correction), nothing but a weight (IPW), the other clicks
        of the batch and of past batches (CLRec); and the user tower: several interests or intents, SASRec, the mean.
        Temperature, queue, intents and auxiliary weights are searched by Optuna on a validation part of train.
Fixed   item tower (ID, category, source, tags, frozen text), width, epochs, batch; the catalogue is never sampled.
Fills   reports/tables/candidate_generation.md and the degree histogram of what each system retrieves.
Costs   default size: about half an hour on 2 CPU cores for 24 trials and 2 seeds, more on MovieLens, whose 20,000
        clicks an epoch take 55 s a run; --smoke: two minutes; --paper: GPUs.
"""

from tastelab.experiment import NOTHING, Choice, Experiment, Float, Given, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.degrees import DegreeHistogram
from tastelab.results.pairs import MetricPair
from tastelab.results.tables import Table

ROWS = {
    "Full softmax": retrieval.contrast("full_softmax"),
    "Negative sampling": retrieval.contrast("negative_sampling", shared=False),
    "Shared negative sampling": retrieval.contrast("negative_sampling", shared=True),
    "Sampled softmax": retrieval.contrast("sampled_softmax"),
    "IPW, q from clicks": retrieval.contrast("ipw", propensity="clicks"),
    "CLRec, batch alone": retrieval.contrast("clrec", queue=0),
    "CLRec": retrieval.contrast("clrec"),
    "CLRec, cached": retrieval.contrast("clrec", cached=True),
    "CLRec, SASRec users": retrieval.tower("sasrec"),
    "CLRec, mean users": retrieval.tower("mean"),
    "Multi-interest (MIND)": retrieval.multi_interest(),
    "Multi-CLRec": retrieval.multi_clrec(num_intents=8),
}
QUEUED = ("CLRec", "CLRec, cached", "CLRec, SASRec users", "CLRec, mean users", "Multi-CLRec")
INTENTS = {"Multi-CLRec": Choice.of(4, 8, 16)}
AUXILIARY = {"Multi-CLRec": Choice.of(0.0, 0.1, 1.0)}

experiment = Experiment(
    name="candidate_generation",
    question=__doc__,
    base=retrieval.candidate_generation(),
    group="row",
    rows=Variants(ROWS),
    search={
        "retrieval.temperature": Float(0.05, 0.3, log=True),
        "retrieval.loss.queue": Given("row", {label: Choice.of(640, 2_560) for label in QUEUED}, otherwise=NOTHING),
        "retrieval.user.num_intents": Given("row", INTENTS, otherwise=NOTHING),
        "retrieval.loss.aux1": Given("row", AUXILIARY, otherwise=NOTHING),
        "retrieval.loss.aux2": Given("row", AUXILIARY, otherwise=NOTHING),
        "retrieval.loss.aux3": Given("row", AUXILIARY, otherwise=NOTHING),
    },
    even=True,
    sizes={
        "smoke": retrieval.smoke(only=("Sampled softmax", "CLRec", "Multi-CLRec"), trials=3),
        "default": retrieval.default(trials=24, seeds=(0, 1)),
        "paper": retrieval.paper(trials=120),
    },
    baselines=("random", "popularity", "frozen"),
)

FIGURES = ("candidate_generation_degrees", "candidate_generation_popularity")
LABELS = tuple((label, label) for label in ROWS)

tables = [
    Table(
        "candidate_generation",
        "Candidate generation over the whole catalogue",
        rows=LABELS,
        columns=(
            *(
                "hr@50",
                "hr@50:interval",
                "hr@50:sd",
                "hr@10",
                "hr@200",
                "hr@50_warm",
                "hr@50_cold",
                "diversity",
                "coverage",
                "gini",
            ),
            *("popularity_index", "vs_first", "vs_first:holm", "seeds"),
        ),
        details=("trials", "trained", "wall_time", "throughput", "memory"),
        datasets=(("ml-100k", "MovieLens-100K"), ("mix_sample", "Mix sample"), ("synthetic", "Synthetic")),
        published={
            "Negative sampling": "B.negative_sampling",
            "Shared negative sampling": "B.shared_negative_sampling",
            "Sampled softmax": "B.sampled_softmax",
            "CLRec": "B.clrec",
            "Multi-interest (MIND)": "B.mind",
        },
        figures=FIGURES,
    )
]
plots = [
    DegreeHistogram(FIGURES[0], "How often an item is retrieved", rows=LABELS),
    MetricPair(FIGURES[1], "Hit rate against popularity", rows=LABELS, metric="hr@50", against="popularity_index"),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
