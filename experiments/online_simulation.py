"""SIMULATION, no real users: what is clicked, and for how long, where systems learn from their own log? [B], online.

Varies  the system that serves: the capsule network MIND, sampled softmax with its logQ correction, negative sampling,
        CLRec, Multi-CLRec, and a contrast with what the log says was shown (q known, in place of q ≈ p_data); three
        policies that train nothing: random, popularity, the oracle that knows every click probability. Then whether
        items are alike in appeal, so that popularity is exposure alone, or not, so that q ≈ p_data fails.
Fixed   a population of 1,000 made users whose preferences are known and drift; 12 days of a popularity-biased
        production policy, then 8 days that the system serves, trained further before each on all that was logged. Its
        slates of 10 are drawn from the 50 items that it retrieves.
Fills   reports/tables/online_simulation.md and online_simulation_appeal.md: CTR, seconds per click, distinct items
        shown, popularity; and their course over the days. [B] measured these on people: its figures stand beside ours,
        and are not comparable in value.
Costs   default size: about ten minutes on 2 CPU cores; --smoke: a minute.
"""

from tastelab.config import SimulationConfig
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.days import CurvesOverDays
from tastelab.results.tables import Table

SHOWN = retrieval.contrast("sampled_softmax", correct=False, distribution="logged")
ALIKE = {
    "Multi-interest (MIND)": retrieval.multi_interest(),
    "Sampled softmax": retrieval.contrast("sampled_softmax"),
    "Negative sampling": retrieval.contrast("negative_sampling"),
    "CLRec": retrieval.contrast("clrec"),
    "Multi-CLRec": retrieval.multi_clrec(num_intents=8, intent_queue=128),
    "Contrast with what was shown": SHOWN,
    "Random": {"retrieval.simulation.policy": "random"},
    "Popularity": {"retrieval.simulation.policy": "popularity"},
    "Oracle": {"retrieval.simulation.policy": "oracle"},
}
COMPARED = ("Sampled softmax", "CLRec", "Contrast with what was shown", "Random", "Popularity", "Oracle")
APPEAL = {f"{label}, unlike appeal": {**ALIKE[label], "retrieval.simulation.appeal": 0.5} for label in COMPARED}
SMALL = {
    "data.max_history": 8,
    "optim.global_batch": 32,
    "optim.epochs": 1,
    "model.encoder.num_layers": 2,
    "evaluation.validations": 1,
    "retrieval.simulation": SimulationConfig(users=200, slots=8, retrieved=20, warmup_days=5, days=2),
}

experiment = Experiment(
    name="online_simulation",
    question=__doc__,
    base=retrieval.candidate_generation(
        data__max_history=30,
        optim__global_batch=128,
        optim__epochs=5,
        evaluation__validations=8,
        retrieval__metric="ctr",
        retrieval__simulation=SimulationConfig(),
    ),
    group="row",
    rows=Variants({**ALIKE, **APPEAL}),
    sizes={
        "smoke": retrieval.smoke(
            SMALL,
            rows={"CLRec": retrieval.contrast("clrec", queue=64)},
            only=("Multi-interest (MIND)", "CLRec", "Popularity", "Oracle, unlike appeal"),
        ),
        "default": retrieval.default(seeds=(0, 1)),
    },
    baselines=(),
)

COLUMNS = (
    *("ctr", "ctr:interval", "ctr:sd", "dwell", "dwell:interval", "dwell_gain", "diversity", "gini"),
    *("popularity", "popularity_index"),
)
NOTE = (
    "This is a simulation: users and their preferences are made, and nobody was served anything. CTR, dwell time "
    "(seconds per click), diversity (distinct items shown) and popularity (mean share of the clicks before the first "
    "served day) are over all served days. "
)
DETAILS = ("trained", "wall_time", "throughput", "memory")
DATASETS = (("synthetic", "Synthetic world, simulated"),)
ALIKE_ROWS = tuple((label, label) for label in ALIKE)
APPEAL_ROWS = tuple((group, label) for group, label in zip(APPEAL, COMPARED, strict=True))
CURVES = (
    ("sim/ctr", "CTR"),
    ("sim/dwell", "seconds per click"),
    ("sim/diversity", "distinct items shown on a day"),
    ("sim/popularity", "popularity of what is shown"),
)

tables = [
    Table(
        "online_simulation",
        "Simulation: made users, served by systems that learn from their own log",
        rows=ALIKE_ROWS,
        columns=(*COLUMNS, "vs_first", "vs_first:holm", "seeds"),
        details=DETAILS,
        baselines=False,
        datasets=DATASETS,
        published={
            "Multi-interest (MIND)": "B.mind",
            "Sampled softmax": "B.sampled_softmax",
            "CLRec": "B.clrec_online",
        },
        figures=("online_simulation_days",),
        note=NOTE + "All items are alike in appeal: an item is popular because it was shown.",
    ),
    Table(
        "online_simulation_appeal",
        "Simulation: made users, where some items appeal to everybody",
        rows=APPEAL_ROWS,
        columns=(*COLUMNS, "seeds"),
        details=DETAILS,
        baselines=False,
        datasets=DATASETS,
        figures=("online_simulation_appeal_days",),
        note=NOTE + "Items differ in appeal (standard deviation 0.5 in logits): clicks say more than exposure, so "
        "q ≈ p_data fails.",
    ),
]
plots = [
    CurvesOverDays("online_simulation_days", "Made users, day by day", rows=ALIKE_ROWS, curves=CURVES),
    CurvesOverDays(
        "online_simulation_appeal_days", "Made users, items unlike in appeal", rows=APPEAL_ROWS, curves=CURVES
    ),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
