"""Which architecture and loss ranks best? [A] Table 1.

Varies  the system: NRMS with words of its own; the bi-encoder with BCE, InfoNCE and MINCE; ID-SAS, a trained table of
        items that starts at their text vectors; the cross-encoder; and the bi-encoder with all components.
Fixed   title only, one epoch, the encoder. The cross-encoder reads every history again for each candidate, so that on
        CPU it trains on fewer impressions; its row says how many.
Fills   reports/tables/main_table.md.
Costs   default size: about an hour for 3 seeds on 2 CPU cores; --smoke: a minute or two; --paper: MIND, GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.tables import Table
from tastelab.results.tradeoff import Tradeoff

ROWS = {
    "NRMS": presets.nrms(),
    "Bi-Encoder BCE": presets.loss("bce"),
    "Bi-Encoder INCE": presets.loss("infonce"),
    "Bi-Encoder MINCE": {},
    "ID-SAS BCE": presets.id_sas(),
    "Cross-Encoder BCE": presets.cross_encoder(),
    "All components": presets.all_components(),
}
FEWER = {"Cross-Encoder BCE": {"data.train_impressions": 128}}

experiment = Experiment(
    name="main_table",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": presets.smoke(only=("NRMS", "ID-SAS BCE", "Cross-Encoder BCE")),
        "default": presets.default(rows=FEWER, seeds=(0, 1, 2)),
        "paper": presets.paper({"optim.global_batch": 32}, dataset="mind-large"),
    },
)

LABELS = tuple((label, label) for label in ROWS)

tables = [
    Table(
        "main_table",
        "Architectures and losses",
        rows=LABELS,
        datasets=(("mind-large", "MIND"), ("mix_sample", "Mix sample"), ("synthetic", "Synthetic")),
        published={
            "NRMS": "A1.nrms",
            "Bi-Encoder BCE": "A1.bi_encoder_bce",
            "Bi-Encoder INCE": "A1.bi_encoder_ince",
            "Bi-Encoder MINCE": "A1.bi_encoder_mince",
            "ID-SAS BCE": "A1.id_sas",
            "Cross-Encoder BCE": "A1.cross_encoder",
            "All components": "A1.all_components",
        },
        references=("A1.id_sas_all_features", "A.leaderboard"),
        figures=("main_table_tradeoff",),
        note="InfoNCE (INCE) takes one click of an impression, MINCE all: where each impression has one, as in the Mix "
        "sample, they are one loss.",
    )
]
plots = [Tradeoff("main_table_tradeoff", "AUC against latency", rows=LABELS)]

if __name__ == "__main__":
    run(experiment, tables, plots)
