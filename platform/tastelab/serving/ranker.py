"""The trained ranker as an interactive feed: raw texts that a person liked and disliked → candidates in order.

Shape letters: B impressions (1 here), H history slots, C candidates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tastelab.data.tokens import ItemTexts
from tastelab.modeling.items import Items, Slots
from tastelab.schema import TEXT_FEATURES
from tastelab.serving.checkpoint import Trained, open_checkpoint
from tastelab.serving.vectors import ItemCache, Text

CACHE_MB = 256
"""Memory for kept items, in MiB: some 56,000 with a vector of width 384; ColBERT keeps a vector per token, so
some 10,000 short titles."""

Item = str | Mapping[str, Any] | Any
"""A mapping or dataclass with text features (title, abstract, …), read as in training; or a text: of a model that reads
features joined all of them, else the first feature."""


@dataclass(frozen=True)
class Ranked:
    """A candidate in its place."""

    text: str
    score: float
    position: int
    """Place in the ranking, 1 is the best."""
    index: int
    """Place among the candidates as they were passed, from 0."""


def load(
    checkpoint: str | Path,
    encoder: str | None = None,
    device: str | torch.device = "cpu",
    cache_mb: float = CACHE_MB,
) -> TasteRanker:
    """Load a trained ranker for serving.

    Args:
        checkpoint: the checkpoint folder of a run.
        encoder: the encoder it was trained on, where it is not found by the name in the checkpoint.
        device: where to compute.
        cache_mb: memory for what is kept of items, in MiB; 0 keeps nothing.

    Raises `ValueError` where the folder is no checkpoint, or the encoder is not the one it was trained with.
    """
    return TasteRanker(open_checkpoint(checkpoint, encoder, device), cache_mb)


class TasteRanker:
    """Ranks candidates by liked and disliked items; keeps what it computed of each item: a text is encoded once.

    Not safe for use from several threads at once.
    """

    def __init__(self, trained: Trained, cache_mb: float = CACHE_MB) -> None:
        """Serve a trained ranker with the features, lengths and history cap it was trained with.

        What a study took away from the texts that it trained on is not taken away here.
        """
        if not cache_mb >= 0:
            raise ValueError(f"cache_mb is {cache_mb}: choose the memory for items in MiB, 0 to keep none.")
        data = trained.config.data
        self.trained = trained
        self.features = data.features
        self.max_history = data.max_history
        self.separate = ItemTexts.of(trained.config).separate
        self.items = ItemCache(trained.ranker, trained.tokenizer, data.max_tokens, cache_mb, self.separate)
        separator = trained.tokenizer.sep_token
        self._separator = f" {separator} " if separator else " "

    @property
    def gamma(self) -> float:
        """γ of `rank` unless another is passed: trained where the data had dislikes, else the configuration's."""
        trained = self.trained.ranker.gamma
        return self.trained.ranker.default_gamma if trained is None else trained

    def rank(
        self,
        liked: Sequence[Item],
        candidates: Sequence[Item],
        disliked: Sequence[Item] = (),
        gamma: float | None = None,
    ) -> list[Ranked]:
        """Rank candidates by `s(liked, n) − γ · s(disliked, n)`, `s` the model's own score, in float32 (methods.md §8).

        Without dislikes the score is `s(liked, n)`. Without likes, `s` is that of an empty history: what the model
        learned for newcomers, a tie if it learned nothing. Ties keep the order of `candidates`.

        Args:
            liked: items, oldest first; the most recent `max_history` count.
            candidates: items to rank.
            disliked: items, oldest first; capped alike.
            gamma: γ, 0 or more; None takes what training found, or was set to where the data had no dislikes.

        Raises `ValueError` for an item without any of the features that the model reads, or a negative `gamma`.
        """
        if gamma is None:
            gamma = self.gamma
        if not gamma >= 0:
            raise ValueError(f"gamma is {gamma}: choose 0 or more.")
        shown = self._texts(candidates, "candidates")
        likes = self._texts(liked, "liked")[-self.max_history :]
        dislikes = self._texts(disliked, "disliked")[-self.max_history :]
        if not shown:
            return []
        texts = list(dict.fromkeys([*shown, *likes, *dislikes]))
        place = {text: row for row, text in enumerate(texts)}
        items = self.items.fetch(texts, set(shown))
        if self.trained.whitening is not None and items.vectors_UD is not None:
            items = dataclasses.replace(items, vectors_UD=self.trained.whitening(items.vectors_UD))
        candidates_C = [place[text] for text in shown]
        scores_C = self._score(items, [place[text] for text in likes], candidates_C)
        if dislikes:
            scores_C = scores_C - gamma * self._score(items, [place[text] for text in dislikes], candidates_C)
        scores = scores_C.tolist()
        order = sorted(range(len(shown)), key=lambda c: -scores[c])
        return [Ranked(self._shown(shown[c]), scores[c], position, c) for position, c in enumerate(order, start=1)]

    @torch.inference_mode()
    def _score(self, items: Items, history: list[int], candidates: list[int]) -> Tensor:
        # One masked slot stands for an empty history: not every operation takes none.
        index_BH = torch.tensor([history or [0]], device=items.ids_U.device)
        index_BC = torch.tensor([candidates], device=items.ids_U.device)
        mask_BH = torch.full_like(index_BH, bool(history), dtype=torch.bool)
        slots = Slots(index_BH, mask_BH, index_BC, torch.ones_like(index_BC, dtype=torch.bool))
        return self.trained.ranker.score(items, slots)[0]

    def _texts(self, items: Sequence[Item], what: str) -> list[Text]:
        if isinstance(items, str | Mapping):
            raise ValueError(f"{what} is one item: pass a list of items.")
        return [self._text(item, what) for item in items]

    def _text(self, item: Item, what: str) -> Text:
        if isinstance(item, str):
            return (item, *[""] * (len(self.features) - 1)) if self.separate else item
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            item = {name: getattr(item, name) for name in TEXT_FEATURES if hasattr(item, name)}
        if not isinstance(item, Mapping) or not any(name in item for name in self.features):
            raise ValueError(
                f"An item of {what} has none of the features that the model reads ({', '.join(self.features)}): "
                "pass a text, or a mapping with them."
            )
        texts = tuple(str(item.get(name) or "") for name in self.features)
        return texts if self.separate else self._separator.join(filter(None, texts))

    def _shown(self, text: Text) -> str:
        return text if isinstance(text, str) else self._separator.join(filter(None, text))
