"""A ranker: texts of a batch in, one score per candidate out; and how one is built, saved and counted.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, softplus

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.pooling import mean_users
from tastelab.modeling.text_encoder import TOKEN_BUDGET
from tastelab.schema import Batch

ItemVectors = Literal["all", "candidates", "none"]


@dataclass(frozen=True)
class RankerOutput:
    """Scores, and the unit vectors that auxiliary losses look at; all float32, masked slots finite.

    An architecture that encodes no item alone has no item vectors; one that joins the history into one text has those
    of candidates alone.
    """

    scores_BC: Tensor
    item_vectors_UD: Tensor | None = None
    history_BHD: Tensor | None = None
    candidates_BCD: Tensor | None = None
    users_BD: Tensor | None = None
    """The mean of what each user liked, a unit vector: what an index of items is asked with, whatever the pooling; zero
    for an empty history."""


class Ranker(nn.Module):
    """What every architecture offers to training, evaluation and serving: `represent`, then `score`."""

    item_vectors: ClassVar[ItemVectors] = "all"
    """Which items `represent` gives a vector of their own."""
    has_item_table: ClassVar[bool] = False
    """Whether something is trained per item, so that ids mean items of the data that it was trained on."""

    dislike_weight: nn.Parameter | None
    """What γ is the softplus of; None where the training data say nothing of dislikes."""
    default_gamma: float = 0.5
    """γ where none was trained."""

    def __init__(self) -> None:
        """Begin without a γ of its own: `build_ranker` adds it where the data have dislikes."""
        super().__init__()
        self.register_parameter("dislike_weight", None)

    @property
    def width(self) -> int:
        """Length of an item vector."""
        raise NotImplementedError

    @property
    def gamma(self) -> float | None:
        """What a dislike weighs against a like (methods.md §8); None where the data had no dislikes."""
        return None if self.dislike_weight is None else float(softplus(self.dislike_weight.detach()))

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Compute what can be known of each item alone, so that it is computed once however often it is scored.

        Args:
            ids_U: rows of the item table, -1 for an item from outside.
            tokens_UT: right-padded token rows.
            mask_UT: True for a real token.
            wanted_U: items to compute, where not all are; an architecture that joins histories needs candidates only.
        """
        raise NotImplementedError

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score the candidates of each impression against its history, in float32 whatever autocast says: scores_BC."""
        raise NotImplementedError

    def scores(self, items: Items, slots: Slots) -> Tensor:
        """Score with likes and dislikes: `s(liked, n) - γ s(disliked, n)`, without dislikes the plain score (§8)."""
        scores_BC = self.score(items, slots.liked())
        if self.dislike_weight is not None:  # γ stays in the graph: DDP waits for a gradient of every parameter
            scores_BC = scores_BC + 0.0 * self.dislike_weight
        if slots.feedback_BH is None:
            return scores_BC
        rows_N, disliked = slots.disliked()
        if not len(rows_N):
            return scores_BC
        gamma = self.default_gamma if self.dislike_weight is None else softplus(self.dislike_weight)
        return scores_BC.index_add(0, rows_N, -gamma * self.score(items, disliked))

    def forward(self, batch: Batch) -> RankerOutput:
        """Represent each distinct item once, score, and gather the vectors of the slots."""
        slots = Slots.of(batch)
        wanted_U = None if self.item_vectors == "all" else slots.candidates(len(batch.item_ids_U))
        items = self.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT, wanted_U)
        scores_BC = self.scores(items, slots)
        vectors_UD = self.unit_vectors(items)
        if vectors_UD is None:
            return RankerOutput(scores_BC)
        candidates_BCD = embedding(slots.candidate_index_BC, vectors_UD)
        if self.item_vectors != "all":
            return RankerOutput(scores_BC, vectors_UD, None, candidates_BCD)
        history_BHD = embedding(slots.history_index_BH, vectors_UD)
        with torch.autocast(vectors_UD.device.type, enabled=False):
            users_BD = mean_users(history_BHD, slots.liked().history_mask_BH)
        return RankerOutput(scores_BC, vectors_UD, history_BHD, candidates_BCD, users_BD)

    def unit_vectors(self, items: Items) -> Tensor | None:
        """Return the items' unit vectors, float32 (U, D), for auxiliary losses and representation health."""
        return items.vectors_UD


class RankerArchitecture(Architecture):
    """What every architecture's configuration offers."""

    tokens: ClassVar[Literal["encoder", "features", "words"]] = "encoder"
    """Whose tokens the item texts are cut into: the pretrained encoder's, of the joined features or of each feature by
    itself; or words of the data set."""
    item_vectors: ClassVar[ItemVectors] = "all"
    """As `Ranker.item_vectors`, known before anything is loaded."""
    pools_items: ClassVar[bool] = True
    """Whether the configuration's item pooling is used."""

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Build the ranker on an encoder's folder or hub id."""
        raise NotImplementedError

    def check(self, config: ModelConfig) -> None:
        """Raise `ValueError` where the other parts of the model do not fit this architecture; needs no weights."""

    def tokens_read(self, history: int, candidates: int, length: int) -> int:
        """Count the tokens that the encoder reads of one impression, for texts of `length` tokens."""
        return (history + candidates) * length


@dataclass(frozen=True)
class Resources:
    """What a ranker is built from beside its configuration; none of it is science, the encoder's content apart."""

    encoder_path: str
    """Folder or hub id of the encoder; for word tokens the folder of their vocabulary."""
    token_budget: int = TOKEN_BUDGET
    """Padded tokens in one pass of the encoder."""
    num_items: int = 0
    """Items of the data set, for an architecture with a table of them."""
    reuse_mb: int = 2_048
    """Memory in which the outputs of frozen layers may be kept; 0 keeps none."""
    has_feedback: bool = False
    """Whether histories say what was disliked, so that γ has something to learn from."""


def build_ranker(config: ModelConfig, resources: Resources | str, seed: int = 0) -> Ranker:
    """Build the ranker that `config` describes; new parameters are drawn from `seed` and disturb no other draw.

    Args:
        config: the model.
        resources: what it is built from; a string is the encoder's folder or hub id.
        seed: of the new parameters.
    """
    resources = Resources(resources) if isinstance(resources, str) else resources
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ranker = cast(RankerArchitecture, config.architecture).build(config, resources)
    ranker.default_gamma = config.gamma
    if resources.has_feedback and config.learnable_gamma:
        ranker.dislike_weight = nn.Parameter(torch.tensor(config.gamma).expm1().log())  # the inverse of softplus
    return ranker


def check_gamma(config: ModelConfig) -> None:
    """Raise `ValueError` for a γ that cannot be, or that training cannot start from."""
    if not config.gamma >= 0 or (config.learnable_gamma and not config.gamma > 0):
        raise ValueError(f"gamma is {config.gamma}: choose a number above 0, or 0 with learnable_gamma=False.")


def trainable_state(ranker: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training changes, by name: with the encoder, all that a checkpoint needs."""
    return {name: p.detach().contiguous() for name, p in ranker.named_parameters() if p.requires_grad}


def load_trainable_state(ranker: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a `trainable_state` into a ranker of the same configuration.

    Raises `ValueError` where names or shapes differ: the checkpoint then belongs to another model.
    """
    own = trainable_state(ranker)
    wrong = sorted(own.keys() ^ state.keys()) or [name for name in own if own[name].shape != state[name].shape]
    if wrong:
        raise ValueError(
            f"The checkpoint does not fit the model: {len(wrong)} parameters differ, the first is {wrong[0]}; "
            "load it with the configuration and encoder that it was trained with."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


def num_trainable(ranker: nn.Module) -> int:
    """Count the parameters that training changes."""
    return sum(p.numel() for p in ranker.parameters() if p.requires_grad)


def num_parameters(ranker: nn.Module) -> int:
    """Count all parameters."""
    return sum(p.numel() for p in ranker.parameters())
