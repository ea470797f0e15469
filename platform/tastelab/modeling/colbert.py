"""Late interaction: the tokens of a history against those of each candidate by MaxSim [A §2.1, methods.md §3].

Shape letters: B impressions, H history slots, C candidate slots, U items, T tokens, D width, N distinct sequences,
M tokens end to end, W items that are wanted alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.bi_encoder import load_adapted_encoder
from tastelab.modeling.cross_encoder import refuse_scorer
from tastelab.modeling.half_cross_encoder import joined_histories, wanted_rows
from tastelab.modeling.items import Items, Slots, ragged_rows
from tastelab.modeling.max_sim import TokenSets, max_sim, tokens_of
from tastelab.modeling.ranker import ItemVectors, Ranker, RankerArchitecture, Resources
from tastelab.modeling.sequences import Joint, read_joint
from tastelab.modeling.text_encoder import TextEncoder


@Architecture.register("colbert")
@dataclass(frozen=True)
class ColBERT(RankerArchitecture):
    """Items alone, token by token; MaxSim of the history's tokens."""

    pools_items: ClassVar[bool] = False

    def check(self, config: ModelConfig) -> None:
        """Raise `ValueError` if a scorer is set."""
        refuse_scorer(self.name, config)

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder and adapt it."""
        encoder = load_adapted_encoder(config, resources)
        return ColBERTRanker(encoder, read_joint(resources.encoder_path, encoder.backbone))


@Architecture.register("half_cross_encoder_colbert")
@dataclass(frozen=True)
class HalfCrossEncoderColBERT(ColBERT):
    """History in one sequence; MaxSim of its tokens, which know each other, with those of a candidate alone."""

    item_vectors: ClassVar[ItemVectors] = "candidates"

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder and adapt it."""
        encoder = load_adapted_encoder(config, resources)
        return HalfCrossEncoderColBERTRanker(encoder, read_joint(resources.encoder_path, encoder.backbone))


class ColBERTRanker(Ranker):
    """An encoder of items' tokens; a history's tokens are those of its items.

    A history without any text token has one learned vector instead, which starts at zero.
    """

    def __init__(self, encoder: TextEncoder, joint: Joint) -> None:
        """Put the parts together."""
        super().__init__()
        self.encoder = encoder
        self.joint = joint
        self.empty_D = nn.Parameter(torch.zeros(encoder.width))

    @property
    def width(self) -> int:
        """Length of a token's vector, and of an item's."""
        return self.encoder.width

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Encode the text tokens of the wanted items to float32 unit vectors; the others have none.

        An item's own vector is the normalised mean of its tokens, zero without any. See `Ranker.represent`.
        """
        index_W = wanted_rows(wanted_U, len(ids_U), ids_U.device)
        kept_WT = self.joint.text_tokens(tokens_UT[index_W], mask_UT[index_W])
        vectors_MD = self.encoder.token_vectors(tokens_UT[index_W], mask_UT[index_W], kept_WT, ids_U[index_W])
        counts_W = kept_WT.sum(dim=1)
        owner_M = torch.repeat_interleave(index_W, counts_W)
        sums_UD = vectors_MD.new_zeros((len(ids_U), self.width)).index_add(0, owner_M, vectors_MD)
        counts_U = torch.zeros_like(ids_U).index_copy(0, index_W, counts_W)
        return Items(ids_U, tokens_UT, mask_UT, normalize(sums_UD, dim=-1), vectors_MD, counts_U)

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates by MaxSim: scores_BC."""
        candidates = tokens_of(items, slots.candidate_index_BC, slots.candidate_mask_BC)
        return max_sim(self.history_tokens(items, slots), candidates, self.empty_D)

    def history_tokens(self, items: Items, slots: Slots) -> TokenSets:
        """Return the text tokens of each history, B sets."""
        tokens = tokens_of(items, slots.history_index_BH, slots.history_mask_BH)
        counts_BH = tokens.counts_S.view_as(slots.history_index_BH)
        return TokenSets(tokens.vectors_MD, tokens.rows_R, counts_BH.sum(dim=1))


class HalfCrossEncoderColBERTRanker(ColBERTRanker):
    """An encoder of candidates' tokens and of those of joined histories."""

    item_vectors: ClassVar[ItemVectors] = "candidates"

    def history_tokens(self, items: Items, slots: Slots) -> TokenSets:
        """Return the text tokens of each history, encoded as one text: B sets."""
        row_S = slots.history_mask_BH.any(dim=1).nonzero().squeeze(1)
        sequence_NT, mask_NT, inverse_S = joined_histories(items, slots, row_S, self.joint)
        kept_NT = self.joint.text_tokens(sequence_NT, mask_NT)
        counts_N = kept_NT.sum(dim=1)
        vectors_MD = self.encoder.token_vectors(sequence_NT, mask_NT, kept_NT)
        counts_B = counts_N.new_zeros(len(slots.history_mask_BH)).index_copy(0, row_S, counts_N[inverse_S])
        return TokenSets(vectors_MD, ragged_rows(counts_N, inverse_S), counts_B)
