"""Does candidate generation that learned from weekdays hold at the weekend, as [B] asks?

Varies  the system: sampled softmax, CLRec, Multi-CLRec with intents.
Fixed   trained on clicks from Monday to Friday (UTC) alone; histories keep every click. Tested on the following
        weekdays and weekends, which training never saw.
Fills   reports/tables/weekday_weekend.md: HR@50 on weekdays beside weekends. Only data with real click times can tell:
        MovieLens' times are those of rating sessions, and the synthetic world has no weekends.
Costs   default size: about three minutes on 2 CPU cores; --smoke: a minute; --paper: GPUs.
"""

from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.tables import Table

QUEUE = 1_024
"""Places of the queue: of a small data set's weekdays there are fewer clicks than [B]'s queue has places."""
ROWS = {
    "Sampled softmax": retrieval.contrast("sampled_softmax"),
    "CLRec": retrieval.contrast("clrec", queue=QUEUE),
    "Multi-CLRec": retrieval.multi_clrec(num_intents=8, queue=QUEUE),
}

experiment = Experiment(
    name="weekday_weekend",
    question=__doc__,
    base=retrieval.candidate_generation(retrieval__days="weekdays"),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": retrieval.smoke(only=("CLRec", "Multi-CLRec")),
        "default": retrieval.default(seeds=(0, 1, 2)),
        "paper": retrieval.paper(),
    },
    baselines=("random", "popularity", "frozen"),
)

tables = [
    Table(
        "weekday_weekend",
        "Trained on weekdays, tested on weekdays and weekends",
        rows=tuple((label, label) for label in ROWS),
        columns=(
            *("hr@50_weekday", "hr@50_weekday:interval", "hr@50_weekend", "hr@50_weekend:interval"),
            *("hr@50", "hr@50:sd", "vs_first", "vs_first:holm", "seeds"),
        ),
        details=("trained", "wall_time", "throughput", "memory"),
        datasets=(("mix_sample", "Mix sample"),),
        published={"CLRec": "B.clrec_shift", "Multi-CLRec": "B.multi_clrec_shift"},
    )
]

if __name__ == "__main__":
    run(experiment, tables)
