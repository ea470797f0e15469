"""The item tower of [B]: an item's vector from its ID, category, source, tags and text, any part absent.

Shape letters: E items of any set, M tags of an item, F width of text vectors, T tokens, D width, C width of category
vectors.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import ItemTowerConfig, ModelConfig
from tastelab.modeling.bi_encoder import load_adapted_encoder
from tastelab.modeling.item_codes import CodeVectors, OwnVectors, drawn
from tastelab.modeling.item_text import check_finite, check_text, frozen_rows, token_rows
from tastelab.modeling.ranker import Resources
from tastelab.schema import Catalogue

CODE_WIDTH = 32
"""Width of the vectors of categories, sources and tags."""


@dataclass(frozen=True)
class ItemFacts:
    """What is known of E items, on the model's device."""

    ids_E: Tensor  # int64; -1: no embedding of its own (unseen in training, or from outside)
    category_E: Tensor  # int64, -1 absent
    source_E: Tensor  # int64, -1 absent
    tags_EM: Tensor  # int64, -1 absent
    text_EF: Tensor | None = None  # frozen text vectors, zero where an item has no text
    tokens_ET: Tensor | None = None
    mask_ET: Tensor | None = None
    rows_E: Tensor | None = None  # int64, what identifies each text, so that frozen layers run once for it; -1: nothing

    def to(self, device: torch.device | str) -> ItemFacts:
        """Move every tensor to `device`."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True)
class ItemVectors:
    """Vectors of E items."""

    vectors_ED: Tensor  # float32 unit vectors
    categories_EC: Tensor  # float32, c_t; zero where an item has no category; C is 0 where the tower has none


@dataclass(frozen=True)
class TextSource:
    """Where a trained text part finds its encoder."""

    model: ModelConfig
    encoder_path: str
    token_budget: int
    reuse_mb: int


class ItemTower(nn.Module):
    """`g(y) = normalize(MLP([ID; category; source; mean of tags; text]))`, the parts that are asked for and there.

    Where an item lacks a part that others have, a learned vector stands in: an item that training never saw clicked,
    or from outside, is placed by its other parts. A tower of text alone that is as wide as the text has no MLP: its
    vectors are those of the encoder.
    """

    def __init__(
        self, config: ItemTowerConfig, catalogue: Catalogue, text: TextSource, needs_categories: bool = False
    ) -> None:
        """Build the parts that the configuration asks for and the catalogue has.

        Args:
            config: the parts, and the width.
            catalogue: what is known of the items.
            text: the encoder, where text is trained.
            needs_categories: whether the user tower reads category vectors, though items may be built without.

        Raises `ValueError` where text is asked for that is not there or not finite, or no part is left.
        """
        super().__init__()
        _check(config, catalogue, text)
        self.width = config.width
        self.concatenates_category = config.category and catalogue.num_categories > 0
        has_categories = self.concatenates_category or (needs_categories and catalogue.num_categories > 0)
        self.category_width = CODE_WIDTH if has_categories else 0

        def codes(num_codes: int, fills: bool = True) -> CodeVectors:
            return CodeVectors(num_codes, CODE_WIDTH, fills)

        self.own = OwnVectors(catalogue.num_items, config.width, config.id_dropout) if config.ids else None
        self.category = codes(catalogue.num_categories, self.concatenates_category) if has_categories else None
        self.source = codes(catalogue.num_sources) if config.source and catalogue.num_sources else None
        self.tags = codes(catalogue.num_tags) if config.tags and catalogue.num_tags else None
        self.text_kind = config.text
        self.encoder = None
        if config.text == "trained":
            resources = Resources(text.encoder_path, text.token_budget, reuse_mb=text.reuse_mb)
            self.encoder = load_adapted_encoder(text.model, resources)
        self._join(0 if config.text == "none" else self._text_width(catalogue))
        self.register_buffer("_place", torch.zeros(1), persistent=False)  # a tower of text has no parameter to ask

    def _text_width(self, catalogue: Catalogue) -> int:
        if self.encoder is not None:
            return self.encoder.width
        assert catalogue.text_NF is not None
        return catalogue.text_NF.shape[1]

    def _join(self, text_width: int) -> None:
        """Add the projection of the text and the MLP, unless text of the right width is all there is."""
        num_codes = int(self.concatenates_category) + sum(part is not None for part in (self.source, self.tags))
        self.text: nn.Linear | None = None
        self.mlp: nn.Sequential | None = None
        if not num_codes and self.own is None and text_width == self.width:
            return
        if text_width:
            self.text = nn.Linear(text_width, self.width)
            self.text.bias.data = drawn(self.width)  # where an item without text, and of nothing else, is
        num_inputs = self.width * ((self.own is not None) + bool(text_width)) + CODE_WIDTH * num_codes
        self.mlp = nn.Sequential(
            nn.Linear(num_inputs, 2 * self.width), nn.GELU(), nn.Linear(2 * self.width, self.width)
        )
        for layer in (self.mlp[0], self.mlp[2]):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # a bias would draw all items together from the start

    @property
    def device(self) -> torch.device:
        """Where the tower computes."""
        place: Tensor = self._place  # type: ignore[assignment]
        return place.device

    def draw_by(self, *keys: int) -> None:
        """Say which draw decides what items drop their IDs for, in training: seed, epoch and step."""
        if self.own is not None:
            self.own.draw = keys

    def facts(self, catalogue: Catalogue, ids_E: Tensor) -> ItemFacts:
        """Look up what is known of items by their rows, by as much work as there are items asked for.

        The ID of an item that training never saw clicked is -1. A row of -1 stands for nothing: its vector is finite
        and without meaning.
        """
        ids_E = ids_E.cpu()
        rows_E = ids_E.clamp(min=0)
        tokens_ET, mask_ET = token_rows(catalogue, rows_E) if self.encoder is not None else (None, None)
        return ItemFacts(
            torch.where(catalogue.known_N[rows_E], ids_E, -1),
            catalogue.category_N[rows_E],
            catalogue.source_N[rows_E],
            catalogue.tags_NM[rows_E].long(),
            frozen_rows(catalogue, rows_E) if self.text_kind == "frozen" else None,
            tokens_ET,
            mask_ET,
            rows_E,
        ).to(self.device)

    def outside(
        self,
        num_items: int,
        category_E: Tensor | None = None,
        source_E: Tensor | None = None,
        tags_EM: Tensor | None = None,
        text_EF: Tensor | None = None,
        tokens_ET: Tensor | None = None,
        mask_ET: Tensor | None = None,
    ) -> ItemFacts:
        """Put together what is known of items from outside the catalogue; codes are the catalogue's, -1 if unknown.

        Raises `ValueError` where the tower reads text and none is given, or the vectors are not finite.
        """
        if (self.encoder is not None and (tokens_ET is None or mask_ET is None)) or (
            self.text_kind == "frozen" and text_EF is None
        ):
            what = "tokens" if self.encoder is not None else "text vectors"
            raise ValueError(f"The item tower reads text: give the {what} of items from outside the catalogue.")
        if text_EF is not None:
            check_finite(text_EF)
        none_E = torch.full((num_items,), -1)
        category_E = none_E if category_E is None else category_E
        source_E = none_E if source_E is None else source_E
        tags_EM = none_E[:, None] if tags_EM is None else tags_EM.long()
        return ItemFacts(none_E, category_E, source_E, tags_EM, text_EF, tokens_ET, mask_ET, none_E).to(self.device)

    def forward(self, facts: ItemFacts) -> ItemVectors:
        """Compute unit vectors and category vectors, both float32 whatever autocast says."""
        categories_EC = self._categories(facts.category_E)
        if self.mlp is None:
            return ItemVectors(normalize(self._texts(facts), dim=1), categories_EC)
        parts = [] if self.own is None else [self.own(facts.ids_E)]
        if self.category is not None and self.concatenates_category:
            parts.append(self.category.filled(categories_EC, facts.category_E.unsqueeze(1)))
        for codes, codes_EM in ((self.source, facts.source_E.unsqueeze(1)), (self.tags, facts.tags_EM)):
            if codes is not None:
                parts.append(codes.filled(codes(codes_EM), codes_EM))
        if self.text is not None:
            text_EF = self._texts(facts)
            # Entries of unit vectors are near 1/√F; near 1, the projection's are as wide as its weights make them.
            parts.append(self.text(text_EF * math.sqrt(text_EF.shape[1])))
        vectors_ED: Tensor = self.mlp(torch.cat(parts, dim=1))
        return ItemVectors(normalize(vectors_ED.float(), dim=1), categories_EC)

    def category_vectors(self, catalogue: Catalogue, ids_E: Tensor) -> Tensor:
        """Compute the category vectors of items by their rows alone, float32 (E, C): zero where there is none."""
        return self._categories(catalogue.category_N[ids_E.cpu()].to(self.device))

    def _categories(self, category_E: Tensor) -> Tensor:
        if self.category is None:
            return category_E.new_zeros((len(category_E), 0), dtype=torch.float32)
        vectors_EC: Tensor = self.category(category_E.unsqueeze(1))
        return vectors_EC

    def _texts(self, facts: ItemFacts) -> Tensor:
        """Return text vectors, float32 (E, F)."""
        if self.encoder is None:
            assert facts.text_EF is not None
            return facts.text_EF.float()
        assert facts.tokens_ET is not None and facts.mask_ET is not None
        vectors_EF: Tensor = self.encoder(facts.tokens_ET, facts.mask_ET, facts.rows_E)
        return vectors_EF


def _check(config: ItemTowerConfig, catalogue: Catalogue, text: TextSource) -> None:
    if config.width < 1:
        raise ValueError(f"The width of item vectors is {config.width}: choose 1 or more.")
    if not 0.0 <= config.id_dropout < 1.0:
        raise ValueError(f"id_dropout is {config.id_dropout}: choose a number from 0 to below 1.")
    check_text(config.text, catalogue, text.encoder_path)
    coded = {
        "category": (config.category, catalogue.num_categories),
        "source": (config.source, catalogue.num_sources),
        "tags": (config.tags, catalogue.num_tags),
    }
    if config.ids or config.text != "none" or any(asked and number for asked, number in coded.values()):
        return
    missing = [f"no {part}" for part, (asked, _) in coded.items() if asked]
    raise ValueError(
        "Nothing is left that an item's vector could be made of: ids are off, text is 'none'"
        + (f", and the data have {', '.join(missing)}" if missing else ", and so are category, source and tags")
        + ": set one of ids, category, source, tags and text in retrieval.items."
    )
