"""Is q, what a system shows, near p_data, what is clicked, as [B] assumes? And what does the logged q change?

Varies  where q comes from: nowhere (naive), clicks, as weights (IPW), as negatives that are corrected (sampled softmax
        with logQ) or not (CLRec: the batch and its queue); or counts of what was shown, as weights and as negatives.
Fixed   item tower of IDs, categories, sources and tags, weighted attention over clicks.
Fills   reports/tables/exposure.md: HR@50, how popular and how diverse what is retrieved is; and the figure of q
        against p_data, counted over the train split, with their rank correlation. [B]'s q is what a system showed. The
        world of the default size is such a log, and its q is known. The candidates of the mix are windows in time and
        those of MovieLens are drawn: their counts say how candidates were made, not what a policy showed. MIND's
        candidates are what was shown (--paper).
Costs   default size: about five minutes on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.exposure import ExposureFigure
from tastelab.results.tables import Table

NEGATIVES = 512
QUEUE = 512

ROWS = {
    "Naive": retrieval.contrast("full_softmax"),
    "Sampled softmax, logQ": retrieval.contrast("sampled_softmax", negatives=NEGATIVES),
    "CLRec, q ≈ p_data": retrieval.contrast("clrec", queue=QUEUE),
    "Contrastive, logged q": retrieval.contrast(
        "sampled_softmax", negatives=NEGATIVES, correct=False, distribution="logged"
    ),
    "IPW, q ≈ p_data": retrieval.contrast("ipw", propensity="clicks"),
    "IPW, logged q": retrieval.contrast("ipw", propensity="logged"),
}

experiment = Experiment(
    name="exposure",
    question=__doc__,
    base=retrieval.candidate_generation(retrieval__ks=(10, 50)),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": retrieval.smoke(
            {"data.train_impressions": None, "optim.global_batch": 64},
            dataset="exposure-smoke",
            only=("CLRec, q ≈ p_data", "Contrastive, logged q", "IPW, logged q"),
        ),
        "default": retrieval.default(dataset="exposure", seeds=(0, 1, 2)),
        "paper": retrieval.paper(),
    },
    baselines=("random", "popularity"),
)

LABELS = tuple((label, label) for label in ROWS)

tables = [
    Table(
        "exposure",
        "What was shown in place of what was clicked",
        rows=LABELS,
        columns=(
            *("hr@50", "hr@50:interval", "hr@50:sd", "popularity", "popularity_index", "diversity", "coverage"),
            *("gini", "vs_first", "vs_first:holm", "seeds"),
        ),
        details=("trained", "wall_time", "throughput", "memory"),
        datasets=(
            ("exposure", "Known policy"),
            ("mix_sample", "Mix sample (candidates are windows in time, not a policy's log)"),
            ("mind-small", "MIND-small"),
        ),
        figures=("exposure",),
        note="HR@50 is over clicks on what the logging policy showed, and so favours what resembles that policy.",
    )
]
plots = [ExposureFigure("exposure", "What is shown against what is clicked", rows=LABELS)]

if __name__ == "__main__":
    run(experiment, tables, plots)
