"""The bi-encoder: items are encoded alone, the pooled history is scored against each candidate [A §2.1].

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.lora import EncoderAdaptation
from tastelab.modeling.pooling import ItemPooling
from tastelab.modeling.ranker import Ranker, RankerArchitecture, RankerOutput
from tastelab.modeling.scorers import VectorScorer
from tastelab.modeling.text_encoder import TextEncoder, load_text_encoder
from tastelab.schema import Batch


@Architecture.register("bi_encoder")
@dataclass(frozen=True)
class BiEncoder(RankerArchitecture):
    """Items alone; pooled history against candidate."""

    def build(self, config: ModelConfig, encoder_path: str, token_budget: int) -> Ranker:
        """Load the encoder, adapt it, and add pooling and scorer."""
        encoder = load_text_encoder(config.encoder, encoder_path, token_budget)
        cast(EncoderAdaptation, config.adaptation).apply(encoder.backbone)
        pooling = cast(ItemPooling, config.pooling).build(encoder.width)
        scorer = cast(VectorScorer, config.scorer).build(encoder.width)
        return BiEncoderRanker(encoder, pooling, scorer)


class BiEncoderRanker(Ranker):
    """An encoder of items, a pooling of histories, a scorer."""

    def __init__(self, encoder: TextEncoder, pooling: nn.Module, scorer: nn.Module) -> None:
        """Put the three parts together."""
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.scorer = scorer

    @property
    def width(self) -> int:
        """Length of an item vector."""
        return self.encoder.width

    def encode_items(self, tokens_UT: Tensor, mask_UT: Tensor) -> Tensor:
        """Encode items to float32 unit vectors (U, D)."""
        vectors_UD: Tensor = self.encoder(tokens_UT, mask_UT)
        return vectors_UD

    def score(self, history_BHD: Tensor, history_mask_BH: Tensor, candidates_BCD: Tensor) -> Tensor:
        """Score candidates against histories of item vectors, in float32 whatever autocast says: scores_BC."""
        # bf16 scores of one impression would tie, and 8 bits of a cosine over temperature .05 are a coarse loss.
        with torch.autocast(history_BHD.device.type, enabled=False):
            scores_BC: Tensor = self.pooling(history_BHD, history_mask_BH, candidates_BCD, self.scorer)
        return scores_BC

    def forward(self, batch: Batch) -> RankerOutput:
        """Encode each distinct item once, gather the slots and score."""
        items_UD = self.encode_items(batch.item_tokens_UT, batch.item_mask_UT)
        history_BHD = embedding(batch.history_index_BH, items_UD)
        candidates_BCD = embedding(batch.candidate_index_BC, items_UD)
        scores_BC = self.score(history_BHD, batch.history_mask_BH, candidates_BCD)
        return RankerOutput(scores_BC, items_UD, history_BHD, candidates_BCD)
