"""Item vectors kept by text, so that a feed encodes each text once.

Shape letters: U items, T tokens, D width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tastelab.modeling.ranker import Ranker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ITEMS_PER_CALL = 2_048


class VectorCache:
    """The most recently used item vectors, at most `size` of them; a text that is not there is encoded and kept."""

    def __init__(self, ranker: Ranker, tokenizer: PreTrainedTokenizerBase, max_tokens: int, size: int) -> None:
        """Encode with `ranker`, in float32, texts cut at `max_tokens` tokens."""
        self._ranker = ranker
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._size = size
        self._vectors: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    @torch.inference_mode()
    def fetch(self, texts: Iterable[str]) -> dict[str, Tensor]:
        """Return the vector of each distinct text, encoding those that are not kept, longest first."""
        distinct = list(dict.fromkeys(texts))
        found = {text: self._vectors[text] for text in distinct if text in self._vectors}
        found |= self._encode([text for text in distinct if text not in found])
        for text in distinct:
            self._vectors[text] = found[text]
            self._vectors.move_to_end(text)
        while len(self._vectors) > self._size:
            self._vectors.popitem(last=False)
        return found

    def _encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        if not texts:
            return {}
        rows = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(rows[i]))
        device = next(self._ranker.parameters()).device
        vectors: dict[str, Tensor] = {}
        for start in range(0, len(order), ITEMS_PER_CALL):
            chosen = order[start : start + ITEMS_PER_CALL]
            tokens_UT = torch.nn.utils.rnn.pad_sequence([torch.tensor(rows[i]) for i in chosen], batch_first=True)
            lengths_U = torch.tensor([len(rows[i]) for i in chosen])
            mask_UT = torch.arange(tokens_UT.shape[1]) < lengths_U[:, None]
            vectors_UD = self._ranker.encode_items(tokens_UT.to(device), mask_UT.to(device))
            # A view would keep the vectors of the whole call alive after all others were dropped.
            vectors |= {texts[i]: vector_D.clone() for i, vector_D in zip(chosen, vectors_UD, strict=True)}
        return vectors
