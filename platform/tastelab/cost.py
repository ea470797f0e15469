"""What a run costs in arithmetic, before any run has been timed: products of weights and tokens.

A forward pass takes two operations per weight of the encoder's blocks and token, training three times as much (full
fine-tuning; frozen layers are passed forward only) or twice (adapters and heads: no gradients of the frozen weights).
Attention itself is left out: at titles' length it is a few percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tastelab.config import RunConfig

BLOCK_PARAMETERS = {
    "Alibaba-NLP/gte-modernbert-base": 110e6,
    "thenlper/gte-small": 21e6,
    "thenlper/gte-base": 85e6,
    "thenlper/gte-large": 302e6,
    "all-MiniLM-L6-v2": 10.6e6,
}
"""Parameters of encoders beside their word embeddings, rounded, from their configurations."""
TITLE_TOKENS = 16
"""Tokens of a news title with its special tokens, roughly."""
MEAN_HISTORY = 33
"""Clicks in the history of a MIND impression, on average."""
MEAN_SHOWN = 37
"""Candidates of a MIND impression, on average."""


@dataclass(frozen=True)
class Cost:
    """Arithmetic of one run."""

    petaflops: float


def estimate(config: RunConfig, num_train: int, num_reported: int) -> Cost | None:
    """Estimate one run; None where no encoder is trained, or its size is not known here."""
    weights = BLOCK_PARAMETERS.get(config.model.encoder.name)
    architecture: Any = config.model.architecture
    unknown = config.retrieval is not None or architecture.tokens == "words"
    if weights is None or not num_train or unknown:
        return None
    history = min(MEAN_HISTORY, config.data.max_history)
    candidates = config.data.sampler.num_candidates  # type: ignore[attr-defined]
    length = min(TITLE_TOKENS, config.data.max_tokens)
    if architecture.tokens == "features":  # each is a text of its own
        length *= len(config.data.features)
    trained = min(num_train, config.data.train_impressions or num_train) * config.optim.epochs
    adaptation: Any = config.model.adaptation
    trained_share = 1 - getattr(adaptation, "frozen_layers_share", 0.0)
    passes = {"full": 1 + 2 * trained_share, "lora": 2.0}.get(adaptation.name, 1.0)
    training = passes * trained * architecture.tokens_read(history, candidates, length)
    # Where items are encoded alone, evaluation encodes each once, which is little beside training.
    alone = architecture.item_vectors == "all"
    scoring = 0.0 if alone else num_reported * architecture.tokens_read(history, MEAN_SHOWN, length)
    return Cost(2 * weights * (training + scoring) / 1e15)


def total_petaflops(costs: Sequence[Cost | None], num_seeds: int, trials: int) -> float:
    """Sum up a launch: every row with every seed, and trials of a search at the rows' mean cost."""
    known = [cost.petaflops for cost in costs if cost]
    return sum(known) * num_seeds + (trials * sum(known) / len(known) if known else 0.0)
