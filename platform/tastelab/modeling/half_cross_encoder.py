"""The half cross-encoder: a whole history in one sequence, candidates alone [A §2.1, methods.md §3].

Shape letters: B impressions, H history slots, C candidate slots, U items, T tokens, D width, N distinct sequences,
W items that are wanted alone, S impressions with a history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.bi_encoder import load_adapted_encoder
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.pooling import or_empty
from tastelab.modeling.ranker import ItemVectors, Ranker, RankerArchitecture, Resources
from tastelab.modeling.scorers import VectorScorer
from tastelab.modeling.sequences import Joint, distinct, history_pieces, join_texts, read_joint
from tastelab.modeling.text_encoder import TextEncoder


@Architecture.register("half_cross_encoder")
@dataclass(frozen=True)
class HalfCrossEncoder(RankerArchitecture):
    """History in one sequence; the pooled sequence against a candidate's own vector."""

    item_vectors: ClassVar[ItemVectors] = "candidates"
    pools_items: ClassVar[bool] = False

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder, adapt it, and add the scorer."""
        encoder = load_adapted_encoder(config, resources)
        joint = read_joint(resources.encoder_path, encoder.backbone)
        return HalfCrossEncoderRanker(encoder, joint, cast(VectorScorer, config.scorer).build(encoder.width))


class HalfCrossEncoderRanker(Ranker):
    """An encoder, of joined histories and of candidates, and a scorer."""

    item_vectors: ClassVar[ItemVectors] = "candidates"

    def __init__(self, encoder: TextEncoder, joint: Joint, scorer: nn.Module) -> None:
        """Put the parts together and start the empty history's vector at zero."""
        super().__init__()
        self.encoder = encoder
        self.joint = joint
        self.scorer = scorer
        self.empty_D = nn.Parameter(torch.zeros(encoder.width))

    @property
    def width(self) -> int:
        """Length of a candidate's vector."""
        return self.encoder.width

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Encode the wanted items to float32 unit vectors; the others' are zero. See `Ranker.represent`."""
        index_W = wanted_rows(wanted_U, len(ids_U), ids_U.device)
        vectors_WD = self.encoder(tokens_UT[index_W], mask_UT[index_W], ids_U[index_W])
        vectors_UD = vectors_WD.new_zeros((len(ids_U), self.width)).index_copy(0, index_W, vectors_WD)
        return Items(ids_U, tokens_UT, mask_UT, vectors_UD)

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates against histories read as one text: scores_BC."""
        assert items.vectors_UD is not None
        users_BD = self._users(items, slots)
        candidates_BCD = embedding(slots.candidate_index_BC, items.vectors_UD)
        with torch.autocast(users_BD.device.type, enabled=False):
            users_BD = or_empty(users_BD, self.empty_D, slots.history_mask_BH)
            scores_BC: Tensor = self.scorer(users_BD.unsqueeze(1), candidates_BCD)
        return scores_BC

    def _users(self, items: Items, slots: Slots) -> Tensor:
        """Encode histories to unit vectors; where there is none, zero."""
        row_S = slots.history_mask_BH.any(dim=1).nonzero().squeeze(1)
        sequence_NT, mask_NT, inverse_S = joined_histories(items, slots, row_S, self.joint)
        vectors_SD = self.encoder(sequence_NT, mask_NT)[inverse_S]
        nobody_BD = vectors_SD.new_zeros((len(slots.history_mask_BH), self.width))
        users_BD: Tensor = nobody_BD.index_copy(0, row_S, vectors_SD)
        return users_BD


def joined_histories(items: Items, slots: Slots, row_S: Tensor, joint: Joint) -> tuple[Tensor, Tensor, Tensor]:
    """Join the histories of the impressions at `row_S`, equal ones once: sequence_NT, mask_NT and inverse_S."""
    pieces_NH, inverse_S = distinct(history_pieces(slots)[row_S])
    return *join_texts(items.tokens_UT, items.mask_UT, pieces_NH, joint), inverse_S


def wanted_rows(wanted_U: Tensor | None, num_items: int, device: torch.device) -> Tensor:
    """Return the rows of the items that are wanted; one at least, so that no batch leaves a parameter ungraded."""
    if wanted_U is None:
        return torch.arange(num_items, device=device)
    some_U = wanted_U.clone()
    some_U[:1] |= ~wanted_U.any()
    return some_U.nonzero().squeeze(1)
