"""ID-SAS: frozen text vectors start a trainable table of items, SASRec (or any pooling) on top [A §2.1].

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, N items of the data set,
D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.bi_encoder import pooled_scores
from tastelab.modeling.item_table import Table
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.kept_vectors import KeptVectors
from tastelab.modeling.lora import Frozen
from tastelab.modeling.pooling import ItemPooling
from tastelab.modeling.ranker import Ranker, RankerArchitecture, Resources
from tastelab.modeling.scorers import VectorScorer
from tastelab.modeling.text_encoder import TextEncoder, load_text_encoder


@Architecture.register("id_sas")
@dataclass(frozen=True)
class IDSAS(RankerArchitecture):
    """A trainable vector per item, started from its text; pooled history against candidate (methods.md §3)."""

    def check(self, config: ModelConfig) -> None:
        """Raise `ValueError` unless the encoder is frozen."""
        if not isinstance(config.adaptation, Frozen):
            raise ValueError(
                f"ID-SAS trains a table of items, not the encoder, but model.adaptation is '{config.adaptation.name}': "
                "set it to 'frozen'."
            )

    def tokens_read(self, history: int, candidates: int, length: int) -> int:
        """Count none: the text of an item is read once a run, not once an impression."""
        return 0

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Load the frozen encoder, lay out the table, and add pooling and scorer."""
        self.check(config)
        if resources.num_items < 1:
            raise ValueError("ID-SAS has a row for every item: say how many items the data set has (num_items).")
        encoder = load_text_encoder(config.encoder, resources.encoder_path, resources.token_budget)
        cast(Frozen, config.adaptation).apply(encoder.backbone)
        pooling = cast(ItemPooling, config.pooling).build(encoder.width)
        scorer = cast(VectorScorer, config.scorer).build(encoder.width)
        return IDSASRanker(encoder, resources.num_items, pooling, scorer, resources.reuse_mb)


class IDSASRanker(Ranker):
    """Item i is `normalize(text_i + delta_i)`: the frozen vector of its text, and what training added.

    delta starts at zero, so that at first every item, seen in training or not, is scored by its text; an item that no
    step has touched, or from outside the data set, stays there. Weight decay spares delta: it would pull items back to
    their texts, and those that a lazy optimiser does not touch not even that.
    """

    has_item_table = True

    def __init__(
        self, encoder: TextEncoder, num_items: int, pooling: nn.Module, scorer: nn.Module, keep_mb: int
    ) -> None:
        """Put the parts together; text vectors are kept in at most `keep_mb` MB."""
        super().__init__()
        self.encoder = encoder
        self.deltas = Table.zeros(num_items, encoder.width)
        self.pooling = pooling
        self.scorer = scorer
        self._texts = KeptVectors(num_items, encoder.width, keep_mb)

    @property
    def width(self) -> int:
        """Length of an item vector."""
        return self.encoder.width

    def train(self, mode: bool = True) -> IDSASRanker:
        """Set the mode of all but the encoder, which is never trained: a text vector is computed once, for good."""
        super().train(mode)
        self.encoder.eval()
        return self

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Add to each item's text vector its row of the table; see `Ranker.represent`."""
        texts_UD = self._texts(ids_U, lambda chosen: self.encoder(tokens_UT[chosen], mask_UT[chosen]))
        deltas_UD = self.deltas(ids_U.clamp(min=0)) * (ids_U >= 0).unsqueeze(1)
        return Items(ids_U, tokens_UT, mask_UT, normalize(texts_UD + deltas_UD, dim=-1))

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates against pooled histories: scores_BC."""
        assert items.vectors_UD is not None
        return pooled_scores(self.pooling, self.scorer, items.vectors_UD, slots)
