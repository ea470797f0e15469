"""Several texts in one sequence: special tokens before the first, a separator after each, the oldest dropped first.

Shape letters: U items, T tokens, N sequences, P pieces of a sequence (one text each, oldest first), M tokens of all
sequences end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tastelab.modeling.encoders import load_tokenizer
from tastelab.modeling.items import Slots

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_LIMIT = 100_000
"""A longest sequence from here on is a library's way of saying that it knows none."""
NOTHING = -1
"""A piece that is no text."""


@dataclass(frozen=True)
class Joint:
    """How an encoder marks a text, and how long its sequences may be; BERT writes `[CLS] text [SEP]`."""

    num_prefix: int
    """Special tokens before a text: they stand once, before the first."""
    num_suffix: int
    """Special tokens after a text: they stand after each, as the separator."""
    limit: int
    """Most tokens of a sequence."""
    special: tuple[int, ...]
    """Ids of tokens that are no text; an unknown word is text."""

    def text_tokens(self, tokens_NT: Tensor, mask_NT: Tensor) -> Tensor:
        """Tell which tokens are text, neither special nor padded: bool (N, T)."""
        special = torch.tensor(self.special, dtype=tokens_NT.dtype, device=tokens_NT.device)
        return mask_NT & ~torch.isin(tokens_NT, special)


def read_joint(path: str, backbone: PreTrainedModel) -> Joint:
    """Read how an encoder's texts are joined from its own tokenizer and the positions that it has."""
    tokenizer = load_tokenizer(path)
    num_prefix, num_suffix = _around(tokenizer("")["input_ids"], tokenizer("a")["input_ids"])
    named = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    named |= {tokenizer.pad_token_id, tokenizer.mask_token_id, *tokenizer("")["input_ids"]}
    special = tuple(sorted(named - {None, tokenizer.unk_token_id}))
    return Joint(num_prefix, num_suffix, longest_sequence(backbone, tokenizer), special)


def longest_sequence(backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens that an encoder reads: its positions, or less where its tokenizer says so."""
    positions = getattr(backbone.config, "max_position_embeddings", None) or NO_LIMIT
    for name, module in backbone.named_modules():
        # RoBERTa and its kin count positions from behind the one of padding.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            positions -= module.padding_idx + 1
    return int(min(positions, tokenizer.model_max_length, NO_LIMIT))


def join_texts(tokens_UT: Tensor, mask_UT: Tensor, pieces_NP: Tensor, joint: Joint) -> tuple[Tensor, Tensor]:
    """Join the texts of items to sequences: the first as it is, each later one without its prefix.

    A sequence longer than the limit drops whole texts, the oldest first; its last text, if longer than the limit alone,
    is cut before its suffix. A text without words leaves its separator.

    Args:
        tokens_UT: right-padded token rows, special tokens included.
        mask_UT: True for a real token.
        pieces_NP: items of each sequence in order, `NOTHING` in empty places.
        joint: how texts are joined.

    Returns:
        Right-padded `sequence_NT` (0 where masked) and `mask_NT`.
    """
    lengths_NP = mask_UT.sum(dim=1)[pieces_NP.clamp(min=0)]
    taken_NP, skipped_NP = _taken(lengths_NP, pieces_NP != NOTHING, joint)
    taken, total_N = taken_NP.flatten(), taken_NP.sum(dim=1)
    owner_M = torch.repeat_interleave(torch.arange(len(taken), device=taken.device), taken)
    place_M = torch.arange(len(owner_M), device=taken.device) - (taken.cumsum(0) - taken)[owner_M]
    # Counted from its end, a cut text keeps its suffix.
    left_M = taken[owner_M] - place_M
    last_M = lengths_NP.flatten()[owner_M] - left_M
    column_M = torch.where(left_M <= joint.num_suffix, last_M, skipped_NP.flatten()[owner_M] + place_M)
    tokens_M = tokens_UT[pieces_NP.flatten()[owner_M], column_M]
    width = int(total_N.max()) if len(total_N) else 0
    mask_NT = torch.arange(width, device=taken.device) < total_N.unsqueeze(1)
    return torch.zeros_like(mask_NT, dtype=tokens_UT.dtype).masked_scatter(mask_NT, tokens_M), mask_NT


def history_pieces(slots: Slots) -> Tensor:
    """Return the history of each impression as pieces to join, pieces_BH."""
    return slots.history_index_BH.masked_fill(~slots.history_mask_BH, NOTHING)


def distinct(pieces_BP: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows, pieces_NP, and which of them each row is, inverse_B: equal texts are encoded once."""
    if not pieces_BP.numel():
        return pieces_BP, torch.arange(len(pieces_BP), device=pieces_BP.device)
    pieces_NP, inverse_B = torch.unique(pieces_BP, dim=0, return_inverse=True)
    return pieces_NP, inverse_B


def _taken(lengths_NP: Tensor, real_NP: Tensor, joint: Joint) -> tuple[Tensor, Tensor]:
    """Return how many tokens are taken of each piece, and how many of its first are skipped."""
    real_NP = real_NP & (lengths_NP > 0)
    added_NP = (lengths_NP - joint.num_prefix) * real_NP
    last_NP = real_NP & (_from_here(real_NP.long()) == 1)
    kept_NP = real_NP & (last_NP | (joint.num_prefix + _from_here(added_NP) <= joint.limit))
    first_NP = kept_NP & (kept_NP.cumsum(dim=1) == 1)
    skipped_NP = torch.where(first_NP, 0, joint.num_prefix)
    # What is not first fits, by the line above: only a text that stands alone can be longer than the limit.
    return (lengths_NP.clamp(max=joint.limit) - skipped_NP) * kept_NP, skipped_NP


def _from_here(values_NP: Tensor) -> Tensor:
    """Sum over each place and those after it."""
    return values_NP.flip(1).cumsum(dim=1).flip(1)


def _around(empty: Sequence[int], text: Sequence[int]) -> tuple[int, int]:
    """Count the special tokens before and after a text, from the tokens of an empty one and of any other."""
    num_prefix = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(empty, text, strict=False)))
    return num_prefix, len(empty) - num_prefix
