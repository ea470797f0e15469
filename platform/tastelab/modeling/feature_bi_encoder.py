"""The bi-encoder whose text features are encoded one by one and pooled by attention, where the others read them joined.

Any feature may be absent, and a trained model reads other features than it was trained with: attention has no
parameters for any of them.

Shape letters: U distinct items, F features, N features that are present, T tokens, M tokens end to end, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.attention import AdditiveAttention
from tastelab.modeling.bi_encoder import BiEncoderRanker, load_adapted_encoder
from tastelab.modeling.items import Items
from tastelab.modeling.pooling import ItemPooling, or_empty
from tastelab.modeling.ranker import Ranker, RankerArchitecture, Resources
from tastelab.modeling.scorers import VectorScorer
from tastelab.modeling.text_encoder import TextEncoder
from tastelab.schema import FEATURE_BREAK


@Architecture.register("feature_bi_encoder")
@dataclass(frozen=True)
class FeatureBiEncoder(RankerArchitecture):
    """Features alone, attention over them; pooled history against candidate (methods.md §2)."""

    query_width: int = 200
    """Width of the attention's query."""
    tokens: ClassVar[Literal["encoder", "features", "words"]] = "features"

    def __post_init__(self) -> None:
        """Refuse a query without entries."""
        if self.query_width < 1:
            raise ValueError(f"The width of the attention's query is {self.query_width}: choose 1 or more.")

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the encoder, adapt it, and add pooling, scorer and the attention over features."""
        encoder = load_adapted_encoder(config, resources)
        pooling = cast(ItemPooling, config.pooling).build(encoder.width)
        scorer = cast(VectorScorer, config.scorer).build(encoder.width)
        return FeatureBiEncoderRanker(encoder, pooling, scorer, self.query_width)


class FeatureBiEncoderRanker(BiEncoderRanker):
    """A bi-encoder whose item vector is the attended mean of the vectors of the item's features.

    It starts as their plain mean. An item with one feature is that feature's vector, one with none a learned vector.
    """

    def __init__(self, encoder: TextEncoder, pooling: nn.Module, scorer: nn.Module, query_width: int) -> None:
        """Put the parts together; the vector of an item without any feature starts at zero."""
        super().__init__(encoder, pooling, scorer)
        self.attention = AdditiveAttention(encoder.width, query_width)
        self.no_text_D = nn.Parameter(torch.zeros(encoder.width))

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Encode each feature of each item once and pool them to float32 unit vectors; see `Ranker.represent`."""
        texts = split_features(tokens_UT, mask_UT)
        # What identifies a text is its item and its place among the item's features.
        num_features = texts.present_UF.shape[1]
        places_UF = ids_U[:, None] * num_features + torch.arange(num_features, device=ids_U.device)
        ids_N = torch.where(ids_U[:, None] < 0, -1, places_UF)[texts.present_UF]
        vectors_UFD = self._encoded(texts, ids_N)
        return Items(ids_U, tokens_UT, mask_UT, self._pooled(vectors_UFD, texts.present_UF))

    def _encoded(self, texts: FeatureTexts, ids_N: Tensor) -> Tensor:
        """Return vectors_UFD of all features, zero where one is absent."""
        tokens_NT, mask_NT = texts.tokens_NT, texts.mask_NT
        if not len(ids_N):
            # A text that is thrown away keeps the encoder in the graph: DDP waits for a gradient of every parameter.
            tokens_NT, mask_NT = tokens_NT.new_zeros((1, 1)), mask_NT.new_ones((1, 1))
            ids_N = ids_N.new_full((1,), -1)
        vectors_ND: Tensor = self.encoder(tokens_NT, mask_NT, ids_N)
        vectors_UFD = vectors_ND.new_zeros((*texts.present_UF.shape, self.width))
        return vectors_UFD.masked_scatter(texts.present_UF.unsqueeze(-1), vectors_ND)

    def _pooled(self, vectors_UFD: Tensor, present_UF: Tensor) -> Tensor:
        """Return the items' unit vectors; see `modeling.attention.AttentionPool` for the scale."""
        with torch.autocast(vectors_UFD.device.type, enabled=False):
            attended_UD = self.attention(vectors_UFD * math.sqrt(self.width), present_UF)
            return or_empty(normalize(attended_UD, dim=-1), self.no_text_D, present_UF)


class FeatureTexts(NamedTuple):
    """Rows of features taken apart."""

    tokens_NT: Tensor
    """Right-padded token rows of the features that are present, item after item, 0 where masked."""
    mask_NT: Tensor
    present_UF: Tensor
    """Which features each item has; True N times."""


def split_features(tokens_UT: Tensor, mask_UT: Tensor) -> FeatureTexts:
    """Split token rows at `FEATURE_BREAK`; all rows have the same number of breaks, one fewer than features."""
    breaks_UT = mask_UT & (tokens_UT == FEATURE_BREAK)
    feature_UT, text_UT = breaks_UT.cumsum(dim=1), mask_UT & ~breaks_UT
    num_features = 1 + (int(breaks_UT[0].sum()) if len(breaks_UT) else 0)
    lengths_UF = tokens_UT.new_zeros((len(tokens_UT), num_features))
    lengths_UF = lengths_UF.scatter_add(1, feature_UT, text_UT.long())
    present_UF = lengths_UF > 0
    lengths_N = lengths_UF[present_UF]
    width = int(lengths_N.max()) if len(lengths_N) else 0
    mask_NT = torch.arange(width, device=mask_UT.device) < lengths_N.unsqueeze(1)
    # Token by token and row by row, both sides run over items, then features, then places.
    tokens_NT = torch.zeros_like(mask_NT, dtype=tokens_UT.dtype).masked_scatter(mask_NT, tokens_UT[text_UT])
    return FeatureTexts(tokens_NT, mask_NT, present_UF)
