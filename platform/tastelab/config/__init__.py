"""Configuration: frozen dataclasses all the way down, one registry per kind of component, and the run id.

`RunConfig` is the science: `run_id` hashes it, defaults included, with the fingerprints of the data and of the
encoder. `ClusterConfig` is where a run happens; it never changes a result, so it is not hashed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tastelab.config.plain import LATER, Component, digest, from_dict, replace_at, to_dict, value_at
from tastelab.config.retrieval import CandidateLoss, ItemTowerConfig, RetrievalConfig, SimulationConfig, UserTower

__all__ = [
    "LATER",
    "METHOD_VERSION",
    "Adaptation",
    "Architecture",
    "Auxiliary",
    "CandidateLoss",
    "ClusterConfig",
    "Component",
    "DataConfig",
    "EncoderConfig",
    "EvalConfig",
    "ItemTowerConfig",
    "Loss",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "Pooling",
    "RetrievalConfig",
    "RunConfig",
    "Sampler",
    "Scorer",
    "SimulationConfig",
    "UserTower",
    "digest",
    "from_dict",
    "headline",
    "objective",
    "replace_at",
    "run_id",
    "to_dict",
    "value_at",
]

METHOD_VERSION = 1
"""Raised when a change of code changes results; records of an older version print as stale."""


@dataclass(frozen=True)
class Architecture(Component, kind="architecture", home="tastelab.modeling"):
    """How texts are put to the encoder and how its vectors become scores."""


@dataclass(frozen=True)
class Adaptation(Component, kind="adaptation", home="tastelab.modeling"):
    """Which parameters of the encoder are trained: all, low-rank adapters, none."""


@dataclass(frozen=True)
class Pooling(Component, kind="item pooling", home="tastelab.modeling"):
    """How the item vectors of a history become a user."""


@dataclass(frozen=True)
class Scorer(Component, kind="scorer", home="tastelab.modeling"):
    """How a user vector and a candidate vector become a score."""


@dataclass(frozen=True)
class Loss(Component, kind="loss", home="tastelab.losses"):
    """A ranking loss of one impression's scores."""


@dataclass(frozen=True)
class Auxiliary(Component, kind="auxiliary loss", home="tastelab.losses"):
    """A term added to the ranking loss, with a weight."""


@dataclass(frozen=True)
class Sampler(Component, kind="candidate sampler", home="tastelab.data.sampling"):
    """How the training candidates of an impression are drawn from its slots."""


@dataclass(frozen=True)
class DataConfig:
    """What the model reads of the data (methods.md §2)."""

    dataset: str = "synthetic"
    """Label of the prepared data set; its fingerprint, not its place, enters the run id."""
    features: tuple[str, ...] = ("title",)
    max_tokens: int = 32
    max_history: int = 50
    sampler: Sampler = field(default_factory=lambda: Sampler.named("impression"))
    train_impressions: int | None = None
    """Cap on training impressions, drawn evenly over the fitting part; None takes all."""
    validation_share: float = 0.1
    """Share of the train split, cut from its end in time, that choosing may look at."""
    domains: tuple[str, ...] | None = field(default=None, metadata=LATER)
    """Train on impressions of these domains alone (see `data.domains`); None takes all."""
    missing: float = field(default=0.0, metadata=LATER)
    """Share of the items that lack each feature, drawn at random for each feature of each item."""
    title_words: int | None = field(default=None, metadata=LATER)
    """Keep only the first words of titles; None keeps all."""


@dataclass(frozen=True)
class EncoderConfig:
    """Any `transformers` text encoder."""

    name: str = "all-MiniLM-L6-v2"
    token_pooling: str = "auto"
    """auto (what the encoder was pre-trained with), mean, cls or last."""
    num_layers: int | None = None
    """Keep only the lowest layers; None keeps all."""
    dropout: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """The model: encoder, what of it is trained, architecture, pooling, scorer."""

    architecture: Architecture = field(default_factory=lambda: Architecture.named("bi_encoder"))
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    adaptation: Adaptation = field(default_factory=lambda: Adaptation.named("lora"))
    pooling: Pooling = field(default_factory=lambda: Pooling.named("mean"))
    scorer: Scorer = field(default_factory=lambda: Scorer.named("cosine"))
    gamma: float = field(default=0.5, metadata=LATER)
    """What a dislike weighs against a like where the data carry dislikes (methods.md §8); the start of its training."""
    learnable_gamma: bool = field(default=True, metadata=LATER)


@dataclass(frozen=True)
class ObjectiveConfig:
    """The training objective: ranking loss plus weighted auxiliaries [A §3]."""

    loss: Loss = field(default_factory=lambda: Loss.named("mince"))
    auxiliaries: tuple[Auxiliary, ...] = ()
    temperature: float = 0.05
    learnable_temperature: bool = False
    contrast_size: int | None = None
    """Impressions per group of a batch-coupled term; None is the global batch."""
    ranking_weight: float = field(default=1.0, metadata=LATER)
    """Weight of `loss` beside the auxiliaries; 0 trains by these alone."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, cosine decay and clipping (methods.md §4)."""

    global_batch: int = 32
    epochs: int = 1
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup_steps: int = 50
    """At most a tenth of the run is spent warming up, however short the run."""
    clip_norm: float = 2.0
    precision: str = "auto"
    """auto (bf16 autocast where it helps), bf16 or fp32."""


@dataclass(frozen=True)
class EvalConfig:
    """What is measured, on what, and how often."""

    split: str = "validation"
    """validation (cut from train), dev or test: the impressions of the final evaluation."""
    ks: tuple[int, ...] = (5, 10)
    ties: str = "expected"
    validations: int = 4
    """Validations during training, evenly spaced; what early stopping sees."""
    max_impressions: int | None = None
    """Cap on validation impressions during training; the final evaluation scores all."""
    whitening: bool = False
    """Whiten item vectors (ZCA, fitted on the training items) before they are pooled and scored."""
    domains: tuple[str, ...] | None = field(default=None, metadata=LATER)
    """Measure impressions of these domains alone (see `data.domains`); None takes all."""
    retrieve: int | None = field(default=None, metadata=LATER)
    """Measure as well what a ranker retrieves: this many items of the whole catalogue, then ranked; None does not."""
    retriever: str | None = field(default=None, metadata=LATER)
    """Of a probe: the row of the experiment whose model retrieves what the others rank."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    retrieval: RetrievalConfig | None = field(default=None, metadata=LATER)
    """Candidate generation; None: the run trains ranking."""
    seed: int = 0


@dataclass(frozen=True)
class ClusterConfig:
    """Where and how a run happens; nothing here changes its result."""

    home: Path = field(default_factory=lambda: Path.home() / ".cache" / "tastelab")
    reports: Path = Path("reports")
    data_path: Path | None = None
    """Folder of the prepared data set."""
    encoder_path: str = ""
    """Folder or hub id of the encoder."""
    address: str | None = None
    """Address of a running Ray cluster; None starts Ray on this machine."""
    workers: int = 2
    gpus_per_worker: float = 0.0
    cpus_per_worker: float | None = None
    accumulation: int = 1
    """Micro-steps per optimiser step: the global batch is cut in this many parts."""
    token_budget: int = 16_384
    """Padded tokens in one pass of the encoder."""
    reuse_mb: int = 2_048
    """Memory of each worker in which the outputs of frozen layers are kept; 0 computes them anew each time."""
    glove: Path | None = None
    """Pretrained word vectors, a word and its numbers on each line, for architectures with words of their own."""


def run_id(config: RunConfig, data_fingerprint: str, encoder_fingerprint: str) -> str:
    """Identify a run: the same science on the same data with the same encoder has the same id."""
    content = {"config": to_dict(config), "data": data_fingerprint, "encoder": encoder_fingerprint}
    return digest(content | {"method": METHOD_VERSION})


LOWER_IS_BETTER = ("kl",)
"""Metrics of which less is better, as a prefix of their names."""


def headline(config: RunConfig) -> str:
    """Return the metric that choosing looks at and that a progress line shows."""
    return "auc" if config.retrieval is None else config.retrieval.metric


def objective(config: RunConfig, value: float) -> float:
    """Turn a value of the headline metric into what a search maximises."""
    return -value if headline(config).startswith(LOWER_IS_BETTER) else value
