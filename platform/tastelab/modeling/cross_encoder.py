"""The cross-encoder: a whole history and one candidate in one sequence [A §2.1, methods.md §3].

Shape letters: B impressions, H history slots, C candidate slots, U items, T tokens, D width, P pieces of a sequence,
N distinct sequences, K pairs of an impression and a candidate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.bi_encoder import load_adapted_encoder
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import ItemVectors, Ranker, RankerArchitecture, Resources
from tastelab.modeling.sequences import NOTHING, Joint, distinct, history_pieces, join_texts, read_joint
from tastelab.modeling.text_encoder import TextEncoder

BLOCK_TOKENS = 1_000_000
"""Tokens of joined sequences that stand in memory at a time; the encoder takes them in smaller slices."""


@Architecture.register("cross_encoder")
@dataclass(frozen=True)
class CrossEncoder(RankerArchitecture):
    """History and candidate in one sequence; a perceptron on the pooled sequence."""

    item_vectors: ClassVar[ItemVectors] = "none"
    pools_items: ClassVar[bool] = False

    def check(self, config: ModelConfig) -> None:
        """Raise `ValueError` if a scorer is set."""
        refuse_scorer(self.name, config)

    def tokens_read(self, history: int, candidates: int, length: int) -> int:
        """Count the tokens read of one impression: the history once more for every candidate."""
        return candidates * (history + 1) * length

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder, adapt it, and add the perceptron."""
        encoder = load_adapted_encoder(config, resources)
        return CrossEncoderRanker(encoder, read_joint(resources.encoder_path, encoder.backbone))


class CrossEncoderRanker(Ranker):
    """An encoder of joined texts and a perceptron; an empty history leaves the candidate's text alone."""

    item_vectors: ClassVar[ItemVectors] = "none"

    def __init__(self, encoder: TextEncoder, joint: Joint) -> None:
        """Put the parts together."""
        super().__init__()
        self.encoder = encoder
        self.joint = joint
        self.head = SequenceScore(encoder.width)

    @property
    def width(self) -> int:
        """Length of a pooled sequence."""
        return self.encoder.width

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Keep the tokens: no item is encoded alone."""
        return Items(ids_U, tokens_UT, mask_UT)

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score each real candidate with its history before it: scores_BC."""
        # A batch of padding still runs, on one pair, so that no parameter is without a gradient.
        taken_BC = slots.candidate_mask_BC.clone()
        taken_BC[0, 0] |= ~taken_BC.any()
        row_K, slot_K = taken_BC.nonzero(as_tuple=True)
        candidate_K1 = slots.candidate_index_BC[row_K, slot_K].unsqueeze(1)
        pieces_NP, inverse_K = distinct(torch.cat([history_pieces(slots)[row_K], candidate_K1], dim=1))
        vectors_ND = self._encoded(items, pieces_NP)
        with torch.autocast(vectors_ND.device.type, enabled=False):
            scores_K = self.head(vectors_ND)[inverse_K]
        scores_BC = scores_K.new_zeros(taken_BC.shape).index_put((row_K, slot_K), scores_K)
        return torch.where(slots.candidate_mask_BC, scores_BC, 0.0)

    def _encoded(self, items: Items, pieces_NP: Tensor) -> Tensor:
        """Encode joined texts, block after block."""
        total_N = (items.mask_UT.sum(dim=1)[pieces_NP.clamp(min=0)] * (pieces_NP != NOTHING)).sum(dim=1)
        longest = min(self.joint.limit, max(1, int(total_N.max())))
        blocks = pieces_NP.split(max(1, BLOCK_TOKENS // longest))
        joined = (join_texts(items.tokens_UT, items.mask_UT, block, self.joint) for block in blocks)
        return torch.cat([self.encoder(*sequences) for sequences in joined])


class SequenceScore(nn.Module):
    """`w · gelu(W z + b)` of the pooled sequence z scaled to length √D; w starts at zero, so all candidates tie."""

    def __init__(self, width: int) -> None:
        """Start the last layer at zero; it has no bias, which no ranking could see."""
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, vectors_ND: Tensor) -> Tensor:
        """Return scores_N of unit vectors."""
        scaled_ND = vectors_ND * math.sqrt(vectors_ND.shape[1])
        return cast(Tensor, self.outer(gelu(self.inner(scaled_ND)))).squeeze(-1)


def refuse_scorer(name: str, config: ModelConfig) -> None:
    """Raise `ValueError` where a scorer is set that the architecture called `name` does not use."""
    if config.scorer.name != "cosine":
        raise ValueError(
            f"{name} has a score of its own, so scorer '{config.scorer.name}' has no effect: leave it at cosine."
        )
