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
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.lora import EncoderAdaptation
from tastelab.modeling.pooling import ItemPooling
from tastelab.modeling.ranker import Ranker, RankerArchitecture, Resources
from tastelab.modeling.scorers import VectorScorer
from tastelab.modeling.text_encoder import TextEncoder, load_text_encoder


@Architecture.register("bi_encoder")
@dataclass(frozen=True)
class BiEncoder(RankerArchitecture):
    """Items alone; pooled history against candidate."""

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder, adapt it, and add pooling and scorer."""
        encoder = load_adapted_encoder(config, resources)
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

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Encode items to float32 unit vectors; see `Ranker.represent`."""
        return Items(ids_U, tokens_UT, mask_UT, self.encoder(tokens_UT, mask_UT, ids_U))

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates against pooled histories: scores_BC."""
        assert items.vectors_UD is not None
        return pooled_scores(self.pooling, self.scorer, items.vectors_UD, slots)


def pooled_scores(pooling: nn.Module, scorer: nn.Module, vectors_UD: Tensor, slots: Slots) -> Tensor:
    """Gather the slots' vectors and score candidates against the pooled history, in float32: scores_BC."""
    history_BHD = embedding(slots.history_index_BH, vectors_UD)
    candidates_BCD = embedding(slots.candidate_index_BC, vectors_UD)
    # bf16 scores of one impression would tie, and 8 bits of a cosine over temperature .05 are a coarse loss.
    with torch.autocast(vectors_UD.device.type, enabled=False):
        scores_BC: Tensor = pooling(history_BHD, slots.history_mask_BH, candidates_BCD, scorer)
    return scores_BC


def load_adapted_encoder(config: ModelConfig, resources: Resources) -> TextEncoder:
    """Load the encoder of a configuration and set what of it is trained; frozen layers' outputs are kept for reuse."""
    encoder = load_text_encoder(config.encoder, resources.encoder_path, resources.token_budget)
    adaptation = cast(EncoderAdaptation, config.adaptation)
    adaptation.apply(encoder.backbone)
    if resources.reuse_mb and config.encoder.dropout == 0.0:
        encoder.reuse(adaptation.num_frozen(encoder.backbone), resources.reuse_mb)
    return encoder
