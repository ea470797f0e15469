"""What if other features are there at serving than at training?

Varies  what training reads: title; title and abstract; all four features (with category and entities); all four with
        half of them missing at random; all four, each encoded alone and pooled by attention. Each trained model, and
        the frozen encoder, is then served with: the title and one more feature, titles cut to five words, all four, and
        all four with 25 to 100 % of them missing at random.
Fixed   bi-encoder, MINCE, full fine-tuning, one epoch, 48 tokens a text (--smoke: 32, --paper: 128). Joined features
        share the tokens of one text, of which the abstract stands last and is cut; by attention each feature is a text,
        up to four times as many tokens in all. A feature that a data set has not (the mixes have no entities) changes
        nothing. Which items lack a feature is the same in training and serving.
Fills   reports/tables/feature_availability.md and the heat map of AUC.
Costs   default size: about a quarter of an hour on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.heatmap import HeatMap
from tastelab.results.probes import ProbeTable

ALL = ("title", "category", "entities", "abstract")
ROWS = {
    "Title": presets.reads("title"),
    "Title, abstract": presets.reads("title", "abstract"),
    "All four": presets.reads(*ALL),
    "All four, half missing": presets.reads(*ALL, missing=0.5),
    "All four, by attention": {**presets.reads(*ALL), **presets.architecture("feature_bi_encoder")},
}
SERVED = {
    "title, 5 words": presets.reads("title", title_words=5),
    "title": presets.reads("title"),
    "title, category": presets.reads("title", "category"),
    "title, entities": presets.reads("title", "entities"),
    "title, abstract": presets.reads("title", "abstract"),
    "all four": presets.reads(*ALL),
    "25 % missing": presets.reads(*ALL, missing=0.25),
    "50 % missing": presets.reads(*ALL, missing=0.5),
    "75 % missing": presets.reads(*ALL, missing=0.75),
    "100 % missing": presets.reads(*ALL, missing=1.0),
}
FEWER = {"data.train_impressions": 512, "data.max_tokens": 48}

experiment = Experiment(
    name="feature_availability",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants(ROWS),
    probes=SERVED,
    sizes={
        "smoke": presets.smoke(only=("Title", "All four, half missing", "All four, by attention")),
        "default": presets.default(changes=FEWER),
        "paper": presets.paper({"data.max_tokens": 128}),
    },
)

LABELS = tuple((label, label) for label in ROWS)
COLUMNS = tuple(SERVED)

tables = [
    ProbeTable(
        "feature_availability",
        "Features at training against features at serving",
        rows=LABELS,
        figures=("feature_availability",),
        columns=COLUMNS,
        note="Joined features share the tokens of one text, of which the abstract stands last and is cut; encoded "
        "alone, as by attention, each feature has as many tokens as the joined text.",
    )
]
plots = [HeatMap("feature_availability", "AUC by what is read", rows=LABELS, columns=COLUMNS)]

if __name__ == "__main__":
    run(experiment, tables, plots)
