"""Joined texts, token by token, against sequences written by hand and a slow loop.

Special tokens of the tiny encoders: 0 pads, 1 unknown, 2 before a text, 3 after it, 4 mask.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tastelab.config import EncoderConfig
from tastelab.modeling.backbone import load_backbone
from tastelab.modeling.sequences import Joint, _around, distinct, join_texts, longest_sequence, read_joint

BERT = Joint(1, 1, 64, (0, 2, 3, 4))
TEXTS = [[2, 10, 11, 3], [2, 20, 3], [2, 3], [2, 40, 41, 42, 43, 3]]


def rows(texts: list[list[int]]) -> tuple[Tensor, Tensor]:
    mask_UT = torch.arange(max(map(len, texts))) < torch.tensor([[len(text)] for text in texts])
    tokens_UT = torch.full(mask_UT.shape, 9)  # what stands in the padding must not matter
    tokens_UT[mask_UT] = torch.tensor([token for text in texts for token in text])
    return tokens_UT, mask_UT


def joined(texts: list[list[int]], pieces: list[list[int]], joint: Joint) -> list[list[int]]:
    sequence_NT, mask_NT = join_texts(*rows(texts), torch.tensor(pieces), joint)
    assert not sequence_NT[~mask_NT].any()
    return [sequence[mask].tolist() for sequence, mask in zip(sequence_NT, mask_NT, strict=True)]


def by_hand(texts: list[list[int]], pieces: list[int], joint: Joint) -> list[int]:
    """Try the newest text, then as many before it as fit."""
    chosen = [texts[piece] for piece in pieces if piece >= 0]
    for first in range(len(chosen)):
        whole = chosen[first] + [token for text in chosen[first + 1 :] for token in text[joint.num_prefix :]]
        if len(whole) <= joint.limit:
            return whole
    end = len(whole) - joint.num_suffix
    return whole[: joint.limit - joint.num_suffix] + whole[end:]


def test_the_first_text_is_whole_and_each_later_one_loses_its_prefix() -> None:
    assert joined(TEXTS, [[0, 1, 3], [1, -1, -1], [-1, 3, 0]], BERT) == [
        [2, 10, 11, 3, 20, 3, 40, 41, 42, 43, 3],
        [2, 20, 3],
        [2, 40, 41, 42, 43, 3, 10, 11, 3],
    ]


def test_a_text_without_words_leaves_its_separator() -> None:
    assert joined(TEXTS, [[2, 0], [0, 2]], BERT) == [[2, 3, 10, 11, 3], [2, 10, 11, 3, 3]]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (11, [2, 10, 11, 3, 20, 3, 40, 41, 42, 43, 3]),
        (10, [2, 20, 3, 40, 41, 42, 43, 3]),
        (8, [2, 20, 3, 40, 41, 42, 43, 3]),
        (7, [2, 40, 41, 42, 43, 3]),
        (6, [2, 40, 41, 42, 43, 3]),
        (5, [2, 40, 41, 42, 3]),
        (3, [2, 40, 3]),
    ],
)
def test_the_oldest_is_dropped_first_and_a_text_too_long_alone_is_cut(limit: int, expected: list[int]) -> None:
    assert joined(TEXTS, [[0, 1, 3]], Joint(1, 1, limit, BERT.special)) == [expected]


def test_a_short_text_before_one_that_does_not_fit_is_dropped_too() -> None:
    assert joined(TEXTS, [[1, 3, 0]], Joint(1, 1, 7, BERT.special)) == [[2, 10, 11, 3]]


@pytest.mark.parametrize("special", [(1, 1), (0, 1), (1, 0), (0, 0), (2, 1), (1, 2)])
@pytest.mark.parametrize("limit", [5, 9, 14, 30])
def test_joining_equals_a_slow_loop(special: tuple[int, int], limit: int) -> None:
    generator = torch.Generator().manual_seed(limit)
    lengths = torch.randint(0, 8, (12,), generator=generator).tolist()
    texts = [[2] * special[0] + [10 + u] * n + [3] * special[1] for u, n in enumerate(lengths)]
    pieces = torch.randint(0, 12, (20, 5), generator=generator)
    pieces[torch.rand(20, 5, generator=generator) < 0.3] = -1
    pieces[0] = -1
    joint = Joint(*special, limit, BERT.special)
    expected = [by_hand(texts, row, joint) if max(row) >= 0 else [] for row in pieces.tolist()]
    assert joined(texts, pieces.tolist(), joint) == expected


def test_no_sequence_and_no_piece_are_no_error() -> None:
    for shape in ((0, 3), (0, 0)):
        sequence_NT, mask_NT = join_texts(*rows(TEXTS), torch.zeros(shape, dtype=torch.int64), BERT)
        assert sequence_NT.shape == mask_NT.shape == (0, 0)
        assert [len(part) for part in distinct(torch.zeros(shape, dtype=torch.int64))] == [0, 0]
    assert joined(TEXTS, [[-1, -1]], BERT) == [[]]


def test_equal_rows_are_found_and_put_back() -> None:
    pieces_BP = torch.tensor([[3, 1, -1], [0, 2, 2], [3, 1, -1], [1, 3, -1]])
    pieces_NP, inverse_B = distinct(pieces_BP)
    assert len(pieces_NP) == 3
    assert torch.equal(pieces_NP[inverse_B], pieces_BP)


def test_text_is_what_is_neither_special_nor_padded() -> None:
    tokens_NT = torch.tensor([[2, 10, 1, 3, 11, 3, 0, 12]])
    mask_NT = torch.tensor([[True] * 7 + [False]])
    assert BERT.text_tokens(tokens_NT, mask_NT).tolist() == [[False, True, True, False, True, False, False, False]]


def test_the_tokenizer_says_how_texts_are_joined(tiny_encoder: Path) -> None:
    assert read_joint(str(tiny_encoder), load_backbone(EncoderConfig(), str(tiny_encoder))) == BERT


@pytest.mark.parametrize(
    ("empty", "text", "expected"),
    [
        ([2, 3], [2, 9, 3], (1, 1)),
        ([3], [9, 3], (0, 1)),
        ([2], [2, 9], (1, 0)),
        ([], [9], (0, 0)),
        ([5, 5], [5, 9, 5], (1, 1)),
    ],
)
def test_special_tokens_before_and_after_a_text_are_counted(
    empty: list[int], text: list[int], expected: tuple[int, int]
) -> None:
    assert _around(empty, text) == expected


def test_the_longest_sequence_is_what_encoder_and_tokenizer_can() -> None:
    class Positions(nn.Module):
        def __init__(self, config: dict[str, int], padding_idx: int | None) -> None:
            super().__init__()
            self.config = SimpleNamespace(**config)
            self.position_embeddings = nn.Embedding(514, 4, padding_idx=padding_idx)

    def longest(padding_idx: int | None, model_max_length: int, **config: int) -> int:
        tokenizer = SimpleNamespace(model_max_length=model_max_length)
        return longest_sequence(Positions(config, padding_idx), tokenizer)  # type: ignore[arg-type]

    assert longest(None, 10**30, max_position_embeddings=514) == 514
    assert longest(1, 10**30, max_position_embeddings=514) == 512
    assert longest(None, 256, max_position_embeddings=512) == 256
    assert longest(None, 512) == 512
