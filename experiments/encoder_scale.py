"""How much does a larger encoder bring? [A] Table 5.

Varies  the encoder: gte-small, gte-base, gte-large; on CPU the default encoder cut to its lowest 2, 4 and 6 layers.
Fixed   bi-encoder, MINCE, full fine-tuning, title only, one epoch.
Fills   reports/tables/encoder_scale.md.
Costs   default size: 5 minutes on 2 CPU cores; --smoke: a minute or two; --paper: GPUs.
"""

from tastelab import presets
from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.results.against import Against
from tastelab.results.rows import FIXED
from tastelab.results.tables import Table

CUT = {f"{layers} layers": {"model.encoder.num_layers": layers} for layers in (2, 4, 6)}
GTE = {f"gte-{size}": {"model.encoder.name": f"thenlper/gte-{size}"} for size in ("small", "base", "large")}
ENCODER_VARIES = tuple(path for path in FIXED if path != "encoder.fingerprint")

experiment = Experiment(
    name="encoder_scale",
    question=__doc__,
    base=presets.full_bi_encoder(),
    group="row",
    rows=Variants({**CUT, **GTE}),
    sizes={
        "smoke": presets.smoke(only=tuple(CUT)),
        "default": presets.default(only=tuple(CUT)),
        "paper": presets.paper(only=tuple(GTE), encoder="thenlper/gte-small"),
    },
)

LABELS = tuple((label, label) for label in (*CUT, *GTE))

tables = [
    Table(
        "encoder_scale",
        "Size of the encoder",
        rows=LABELS,
        heading="Encoder",
        published={"gte-small": "A5.gte_small", "gte-base": "A5.gte_base", "gte-large": "A5.gte_large"},
        fixed=ENCODER_VARIES,
        figures=("encoder_scale",),
        note="A row of layers is the default encoder cut to its lowest ones; the gte rows need the hub and a GPU.",
    )
]
plots = [
    Against(
        "encoder_scale",
        "AUC against the size of the encoder",
        rows=LABELS,
        parameter="params_total",
        heading="parameters, word embeddings included",
        fixed=ENCODER_VARIES,
    )
]

if __name__ == "__main__":
    run(experiment, tables, plots)
