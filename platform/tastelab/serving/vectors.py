"""Items kept by text, as the ranker knows them, so that a feed encodes each text once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from tastelab.data.tokens import separate_rows
from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Ranker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ITEMS_PER_CALL = 2_048
ITEM_BYTES = 3_072
"""What one item takes beside the numbers in its tensors: tensor objects, key and text; 2.7 kB were measured."""

Text = str | tuple[str, ...]
"""An item as the model reads it: one text, or its features where each is read by itself, "" for an absent one."""
Key = tuple[Text, bool]
"""A text, and whether it was wanted alone."""


class ItemCache:
    """The most recently used items, as many as fit into some memory; a text that is not there is represented and kept.

    A text is kept as what is needed of it: an architecture that joins histories needs no vector of a clicked item.
    """

    def __init__(
        self,
        ranker: Ranker,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        megabytes: float,
        separate: bool = False,
    ) -> None:
        """Represent with `ranker`, in float32, texts cut at `max_tokens` tokens.

        Args:
            ranker: the model.
            tokenizer: its tokenizer.
            max_tokens: longest text in tokens.
            megabytes: memory for what is kept, in MiB.
            separate: texts are tuples of features, each read by itself.
        """
        self._ranker = ranker
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._limit = megabytes * 2**20
        self._separate = separate
        self._bytes = 0
        self._items: OrderedDict[Key, Items] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def num_bytes(self) -> int:
        """Memory that the kept items take."""
        return self._bytes

    @torch.inference_mode()
    def fetch(self, texts: Sequence[Text], candidates: Collection[Text]) -> Items:
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
            if key not in self._items:
                self._items[key] = found[key]
                self._bytes += num_bytes(found[key])
            self._items.move_to_end(key)
        while self._bytes > self._limit:
            _, dropped = self._items.popitem(last=False)
            self._bytes -= num_bytes(dropped)
        return Items.concatenate([found[key] for key in keys])

    def _rows(self, texts: Sequence[Text]) -> list[list[int]]:
        if self._separate:
            return separate_rows(cast(Sequence[tuple[str, ...]], texts), self._tokenizer, self._max_tokens)
        rows = self._tokenizer(cast(list[str], texts), truncation=True, max_length=self._max_tokens)["input_ids"]
        return cast(list[list[int]], rows)

    def _represent(self, keys: Sequence[Key]) -> dict[Key, Items]:
        if not keys:
            return {}
        rows = self._rows([text for text, _ in keys])
        order = sorted(range(len(keys)), key=lambda i: -len(rows[i]))
        device = next(self._ranker.parameters()).device
        found: dict[Key, Items] = {}
        for start in range(0, len(order), ITEMS_PER_CALL):
            chosen = order[start : start + ITEMS_PER_CALL]
            tokens_UT = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(rows[i], dtype=torch.int64) for i in chosen], batch_first=True
            )
            lengths_U = torch.tensor([len(rows[i]) for i in chosen])
            mask_UT = torch.arange(tokens_UT.shape[1]) < lengths_U[:, None]
            outside_U = torch.full((len(chosen),), -1)
            wanted_U = torch.tensor([keys[i][1] for i in chosen])
            parts = (outside_U, tokens_UT, mask_UT, wanted_U)
            items = self._ranker.represent(*(part.to(device) for part in parts))
            # `select` copies: a view would keep the vectors of the whole call alive after all others were dropped.
            found |= {keys[i]: items.select(torch.tensor([n], device=device)) for n, i in enumerate(chosen)}
        return found


def num_bytes(item: Items) -> int:
    """Count what one kept item takes."""
    tensors: list[Tensor] = [value for value in vars(item).values() if value is not None]
    return ITEM_BYTES + sum(int(value.nbytes) for value in tensors)
