"""Items kept by text, as the ranker knows them, so that a feed encodes each text once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch

from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Ranker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ITEMS_PER_CALL = 2_048


class ItemCache:
    """The most recently used items, at most `size` of them; a text that is not there is represented and kept.

    A text is kept as what is needed of it: an architecture that joins histories needs no vector of a clicked item.
    """

    def __init__(self, ranker: Ranker, tokenizer: PreTrainedTokenizerBase, max_tokens: int, size: int) -> None:
        """Represent with `ranker`, in float32, texts cut at `max_tokens` tokens."""
        self._ranker = ranker
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._size = size
        self._items: OrderedDict[tuple[str, bool], Items] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    @torch.inference_mode()
    def fetch(self, texts: Sequence[str], candidates: Collection[str]) -> Items:
        """Return distinct `texts` as items, in order, representing those that are not kept, longest first.

        Args:
            texts: distinct texts.
            candidates: those of them that are candidates.
        """
        alone = self._ranker.item_vectors == "all"
        keys = [(text, alone or text in candidates) for text in texts]
        found = {key: self._items[key] for key in keys if key in self._items}
        for wanted in (True, False):
            found |= self._represent([key for key in keys if key not in found and key[1] == wanted])
        for key in keys:
            self._items[key] = found[key]
            self._items.move_to_end(key)
        while len(self._items) > self._size:
            self._items.popitem(last=False)
        return Items.concatenate([found[key] for key in keys])

    def _represent(self, keys: Sequence[tuple[str, bool]]) -> dict[tuple[str, bool], Items]:
        if not keys:
            return {}
        rows = self._tokenizer([text for text, _ in keys], truncation=True, max_length=self._max_tokens)["input_ids"]
        order = sorted(range(len(keys)), key=lambda i: -len(rows[i]))
        device = next(self._ranker.parameters()).device
        found: dict[tuple[str, bool], Items] = {}
        for start in range(0, len(order), ITEMS_PER_CALL):
            chosen = order[start : start + ITEMS_PER_CALL]
            tokens_UT = torch.nn.utils.rnn.pad_sequence([torch.tensor(rows[i]) for i in chosen], batch_first=True)
            lengths_U = torch.tensor([len(rows[i]) for i in chosen])
            mask_UT = torch.arange(tokens_UT.shape[1]) < lengths_U[:, None]
            outside_U = torch.full((len(chosen),), -1)
            wanted_U = torch.tensor([keys[i][1] for i in chosen])
            parts = (outside_U, tokens_UT.long(), mask_UT, wanted_U)
            items = self._ranker.represent(*(part.to(device) for part in parts))
            # `select` copies: a view would keep the vectors of the whole call alive after all others were dropped.
            found |= {keys[i]: items.select(torch.tensor([n], device=device)) for n, i in enumerate(chosen)}
        return found
