"""Do the contrastive loss with negatives from q and IPW have one optimum, p_data / q? [B], Theorem 1.

Varies  the loss: naive (full softmax), sampled softmax with logQ, IPW by the true q, clipped, self-normalised, in the
        Bernoulli view, and with q taken to be p_data; the contrastive loss with negatives from the true q; CLRec, whose
        negatives are other clicks, so that q is taken to be p_data; the same with cached vectors; Multi-CLRec.
Fixed   a synthetic world of known policy q and preferences: a user clicked one item, which names their state, then one
        drawn from p_data(y|x) ∝ q(y|x) p(click|x, y). Item tower of IDs alone, the mean as user tower
        (Multi-CLRec has its own and reads categories), temperature .07.
Fills   reports/tables/theorem_one.md: KL(known optimum ‖ learned), and the figure. How far the exact optimum of each
        loss is from the known one, in nats, on the world of the default size (200 items, 8 states):

        | loss | KL of its exact optimum |
        | --- | --- |
        | naive, logQ | .618 |
        | IPW by q, self-normalised as well; contrastive with negatives from q | 0 |
        | IPW clipped at twice the mean weight | .066 |
        | IPW in the Bernoulli view, 10 recommendations | .001 |
        | IPW with q ≈ p_data; CLRec | .167 |
        | Multi-CLRec, α = 1, were a user one vector and negatives many | .054 |

        A uniform guess is .405 away. CLRec with cached vectors does not go down its own loss, as no gradient flows
        through the queue, and ends elsewhere.
Costs   default size: about a quarter of an hour for 3 seeds on 2 CPU cores; --smoke: a minute or two; --paper: the
        larger world, GPUs.
"""

from tastelab.experiment import Experiment, Variants
from tastelab.launch import run
from tastelab.presets import retrieval
from tastelab.results.curves import Curves
from tastelab.results.tables import Table
from tastelab.results.theorem import TheoremFigure

IDS = {"category": False, "source": False, "tags": False, "text": "none", "id_dropout": 0.0}
NEGATIVES = 64
QUEUE = 512
INTENTS = 8

ROWS = {
    "Naive": retrieval.contrast("full_softmax"),
    "Sampled softmax, logQ": retrieval.contrast("sampled_softmax", negatives=NEGATIVES),
    "IPW, true q": retrieval.contrast("ipw", propensity="true"),
    "IPW, true q, clipped": retrieval.contrast("ipw", propensity="true", clip=2.0),
    "IPW, true q, self-normalised": retrieval.contrast("ipw", propensity="true", self_normalise=True),
    "IPW, true q, Bernoulli": retrieval.contrast("bernoulli_ipw", propensity="true"),
    "IPW, q ≈ p_data": retrieval.contrast("ipw", propensity="clicks"),
    "Contrastive, true q": retrieval.contrast(
        "sampled_softmax", negatives=NEGATIVES, correct=False, distribution="true", shared=False
    ),
    "CLRec": retrieval.contrast("clrec", queue=QUEUE),
    "CLRec, cached": retrieval.contrast("clrec", queue=QUEUE, cached=True),
    "Multi-CLRec": {
        **retrieval.multi_clrec(num_intents=INTENTS, queue=QUEUE // 2, intent_queue=QUEUE),
        **retrieval.items(**{**IDS, "category": True}),
        "retrieval.num_vectors": INTENTS,
    },
}

experiment = Experiment(
    name="theorem_one",
    question=__doc__,
    base=retrieval.candidate_generation(
        data__max_history=1,
        optim__epochs=4,
        optim__learning_rate=3e-3,
        evaluation__validations=1,
        retrieval__metric="kl",
        retrieval__ks=(10, 50),
        **{f"retrieval__items__{part}": value for part, value in IDS.items()},
        retrieval__user=retrieval.tower("mean")["retrieval.user"],
    ),
    group="row",
    rows=Variants(ROWS),
    sizes={
        "smoke": retrieval.smoke(
            {"data.train_impressions": None, "data.max_history": 1, "optim.global_batch": 64},
            dataset="exposure-smoke",
            only=("Naive", "IPW, true q", "Contrastive, true q", "CLRec", "Multi-CLRec"),
        ),
        "default": retrieval.default({"data.train_impressions": None}, dataset="exposure", seeds=(0, 1, 2)),
        "paper": retrieval.paper({"optim.global_batch": 256, "optim.epochs": 4}, dataset="exposure-large"),
    },
    baselines=("random", "popularity"),
)

LABELS = tuple((label, label) for label in ROWS)
TOLD = ("Naive", "IPW, true q", "Contrastive, true q", "CLRec", "Multi-CLRec")

tables = [
    Table(
        "theorem_one",
        "Distance to the known optimum",
        rows=LABELS,
        columns=("kl", "kl:interval", "kl:sd", "hr@50", "hr@50:interval", "popularity_index", "diversity", "seeds"),
        details=("trained", "wall_time", "throughput", "memory"),
        datasets=(("exposure", "Known policy"), ("exposure-large", "Known policy, large")),
        figures=("theorem_one", "theorem_one_grad_norm"),
        note="KL is taken from the known optimum to what was learned, over the items that may be shown, the mean over "
        "states; its interval is over states. HR@50 rewards what the policy shows, and so does not tell the two apart.",
    )
]
plots = [
    TheoremFigure(
        "theorem_one",
        "One optimum, and who reaches it",
        rows=LABELS,
        lines=TOLD,
        levels=(("optimum.exact.naive", "naive, exact"), ("optimum.exact.clrec", "CLRec, exact")),
    ),
    Curves(
        "theorem_one_grad_norm",
        "Gradient norm before clipping",
        rows=LABELS,
        curves=(("train/grad_norm", "gradient norm"),),
        columns=1,
    ),
]

if __name__ == "__main__":
    run(experiment, tables, plots)
