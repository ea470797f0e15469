"""How does taste transfer between communities and corpora?

Varies  what is trained on: each domain of the data alone, all of them, all but one. A domain is a community of a mix,
        or a corpus of several that are joined: --data mix,mind-small.
Fixed   bi-encoder, MINCE, full fine-tuning, title only, the same cap on training impressions in every row, one epoch.
        A domain with fewer trains on all that it has (--dry-run counts them); a row of several domains draws from each
        by its size. Every row, and the frozen encoder, is measured on each domain: in-domain, zero-shot, leave-one-out.
Fills   reports/tables/domain_transfer.md and the heat map of AUC.
Costs   default size: about a minute a row on 2 CPU cores; --smoke: a minute or two; --paper: GPUs, and --data of
        several domains, since MIND alone is one.
"""

from tastelab import presets
from tastelab.experiment import Experiment, TrainedOn
from tastelab.launch import run
from tastelab.results.heatmap import HeatMap
from tastelab.results.probes import ProbeTable

experiment = Experiment(
    name="domain_transfer",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=TrainedOn(),
    probe_domains=True,
    sizes={
        "smoke": presets.smoke(dataset="synthetic-smoke,synthetic"),
        "default": presets.default(changes={"data.train_impressions": 512}, dataset="synthetic,synthetic-smoke"),
        "paper": presets.paper({"data.train_impressions": 100_000}, dataset="mind-small"),
    },
)

tables = [
    ProbeTable(
        "domain_transfer",
        "Transfer between domains",
        across="Tested on",
        summaries="domains",
        figures=("domain_transfer",),
        note="Every row has the same cap on training impressions, not the same number: a domain with fewer trains on "
        "all that it has, and a row of several domains draws from each by its size. People of a mix may have clicked "
        "in several of its communities: zero-shot means that no training impression was of the domain.",
    )
]
plots = [HeatMap("domain_transfer", "AUC by domain", across="Tested on")]

if __name__ == "__main__":
    run(experiment, tables, plots)
