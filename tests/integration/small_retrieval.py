"""An experiment of candidate generation that is small enough for a test: two rows and a search."""

from tastelab.experiment import NOTHING, Choice, Experiment, Float, Given, Size, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.degrees import DegreeHistogram
from tastelab.results.tables import Table

ROWS = {
    "Sampled softmax": retrieval.contrast("sampled_softmax", negatives=16),
    "CLRec": retrieval.contrast("clrec", queue=32),
}

experiment = Experiment(
    name="small_retrieval",
    question="Does candidate generation go from clicks to a table?",
    base=retrieval.candidate_generation(
        retrieval__ks=(5, 10), retrieval__metric="hr@10", retrieval__loss=ROWS["CLRec"]["retrieval.loss"]
    ),
    group="row",
    rows=Variants(ROWS),
    search={
        "retrieval.temperature": Float(0.05, 0.2, log=True),
        "retrieval.loss.queue": Given("row", {"CLRec": Choice.of(16, 32)}, otherwise=NOTHING),
    },
    sizes={
        "default": Size(
            {
                "data.max_history": 5,
                "data.max_tokens": 16,
                "optim.global_batch": 32,
                "optim.epochs": 1,
                "optim.precision": "fp32",
                "evaluation.validations": 1,
            },
            trials=2,
            seeds=(0,),
            workers=1,
            cpus_per_worker=0.4,
        )
    },
    baselines=("random", "popularity", "frozen"),
)

LABELS = tuple((label, label) for label in ROWS)

if __name__ == "__main__":
    run(
        experiment,
        [Table("small_retrieval", "Small", rows=LABELS, columns=("hr@10", "diversity", "popularity_index", "seeds"))],
        [DegreeHistogram("small_retrieval_degrees", "Degrees", rows=LABELS)],
    )
