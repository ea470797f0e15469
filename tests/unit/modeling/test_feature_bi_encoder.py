"""Features encoded one by one: splitting rows, the mean that it starts as, one feature, none, and reuse.

Shape letters: U items, F features, N features that are present, T tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.config import Adaptation, Architecture, EncoderConfig, ModelConfig, Pooling
from tastelab.data.tokens import separate_rows
from tastelab.modeling.encoders import load_tokenizer
from tastelab.modeling.feature_bi_encoder import FeatureBiEncoderRanker, split_features
from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, trainable_state
from tastelab.schema import FEATURE_BREAK, Batch

ITEMS = [
    ("stars above", "a long look at the night", "sky"),
    ("a red fox", "", "zoo"),
    ("", "", ""),
    ("salt", "", ""),
    ("", "how to bake bread and cakes", "food"),
]
Rows = tuple[Tensor, Tensor]


def padded(rows: Sequence[Sequence[int]]) -> Rows:
    lengths_U = torch.tensor([len(row) for row in rows])
    mask_UT = torch.arange(int(lengths_U.max())) < lengths_U[:, None]
    tokens_UT = torch.zeros(mask_UT.shape, dtype=torch.int64)
    tokens_UT[mask_UT] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return tokens_UT, mask_UT


@pytest.fixture(scope="module")
def rows_of(tiny_bert: Path) -> Callable[[Sequence[tuple[str, ...]]], Rows]:
    """Function that tokenises the features of items, each by itself."""
    tokenizer = load_tokenizer(str(tiny_bert))
    return lambda items: padded(separate_rows(items, tokenizer, 16))


def make(path: Path, name: str = "feature_bi_encoder", adaptation: str = "full", **resources: Any) -> Ranker:
    config = ModelConfig(
        architecture=Architecture.named(name),
        encoder=EncoderConfig("tiny-bert"),
        adaptation=Adaptation.named(adaptation),
        pooling=Pooling.named("mean"),
    )
    return build_ranker(config, Resources(str(path), **resources)).eval()


@pytest.fixture
def ranker(tiny_bert: Path) -> FeatureBiEncoderRanker:
    """A ranker whose trained parameters have all moved from their start."""
    made = make(tiny_bert)
    assert isinstance(made, FeatureBiEncoderRanker)
    generator = torch.Generator().manual_seed(0)
    for value in trainable_state(made).values():
        value += 0.1 * torch.randn(value.shape, generator=generator)
    return made


def vectors(ranker: Ranker, rows: Rows, ids: Sequence[int] | None = None) -> Tensor:
    ids_U = torch.arange(len(rows[0])) if ids is None else torch.tensor(ids)
    found: Items = ranker.represent(ids_U, *rows)
    assert found.vectors_UD is not None
    assert found.vectors_UD.dtype is torch.float32
    return found.vectors_UD


def text_vectors(ranker: Ranker, texts: Sequence[str], tiny_bert: Path) -> Tensor:
    """Each text alone, in a pass of its own."""
    tokenizer = load_tokenizer(str(tiny_bert))
    found = []
    for text in texts:
        tokens_1T = torch.tensor([tokenizer(text, truncation=True, max_length=16)["input_ids"]])
        found.append(ranker.encoder(tokens_1T, torch.ones_like(tokens_1T, dtype=torch.bool))[0])  # type: ignore[operator]
    return torch.stack(found)


def test_rows_are_taken_apart_at_their_breaks() -> None:
    b = FEATURE_BREAK
    rows = [[2, 5, 3, b, b, 2, 3], [b, b], [b, 2, 9, 9, 3, b], [2, 3, b, 4, b, 6]]
    texts = split_features(*padded(rows))
    assert texts.present_UF.tolist() == [[True, False, True], [False] * 3, [False, True, False], [True] * 3]
    expected = [[2, 5, 3], [2, 3], [2, 9, 9, 3], [2, 3], [4], [6]]
    assert [row[mask].tolist() for row, mask in zip(texts.tokens_NT, texts.mask_NT, strict=True)] == expected
    assert texts.tokens_NT.shape == (6, 4)
    assert not texts.tokens_NT[~texts.mask_NT].any()


@pytest.mark.parametrize("rows", [[[], []], [[FEATURE_BREAK]], [[FEATURE_BREAK, FEATURE_BREAK]] * 3])
def test_items_without_any_text_have_no_feature(rows: list[list[int]]) -> None:
    texts = split_features(*padded(rows))
    assert texts.tokens_NT.shape == (0, 0)
    assert texts.present_UF.shape == (len(rows), len(rows[0]) + 1)
    assert not texts.present_UF.any()


def test_untrained_it_is_the_plain_mean_of_the_features(
    tiny_bert: Path, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    frozen = make(tiny_bert, adaptation="frozen")
    found_UD = vectors(frozen, rows_of(ITEMS))
    for item, vector_D in zip(ITEMS, found_UD, strict=True):
        present = [text for text in item if text]
        if present:
            expected_D = normalize(text_vectors(frozen, present, tiny_bert).mean(dim=0), dim=-1)
        else:
            expected_D = torch.zeros(32)
        torch.testing.assert_close(vector_D, expected_D, rtol=0, atol=1e-6)


def test_features_are_weighted_by_additive_attention_over_those_present(
    ranker: FeatureBiEncoderRanker, tiny_bert: Path, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    found_UD = vectors(ranker, rows_of(ITEMS))
    hidden, query_Q = ranker.attention.hidden, ranker.attention.query_Q
    for item, vector_D in zip(ITEMS, found_UD, strict=True):
        present = [text for text in item if text]
        if not present:
            inside_D = ranker.no_text_D.detach() / ranker.no_text_D.detach().norm().clamp(min=1.0)
            torch.testing.assert_close(vector_D.detach(), inside_D)
            continue
        features_ND = text_vectors(ranker, present, tiny_bert)
        weights_N = (torch.tanh(hidden(features_ND * math.sqrt(32))) @ query_Q).softmax(dim=0)
        assert len(present) == 1 or weights_N.max() - weights_N.min() > 1e-2
        torch.testing.assert_close(vector_D, normalize(weights_N @ features_ND, dim=-1), rtol=0, atol=1e-6)


def test_one_feature_is_its_own_vector_as_a_bi_encoder_has_it(
    ranker: FeatureBiEncoderRanker, tiny_bert: Path, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    plain = make(tiny_bert, "bi_encoder")
    own = dict(ranker.named_parameters())
    for name, value in plain.named_parameters():
        value.data.copy_(own[name])
    titles = [("stars above",), ("a red fox",), ("salt",), ("how to bake",)]
    alone_UD = vectors(plain, rows_of(titles))
    torch.testing.assert_close(vectors(ranker, rows_of(titles)), alone_UD, rtol=0, atol=1e-6)
    first = [(title, "", "") for (title,) in titles]
    last = [("", title) for (title,) in titles]
    for items in (first, last):
        torch.testing.assert_close(vectors(ranker, rows_of(items)), alone_UD, rtol=0, atol=1e-6)


def test_absent_features_and_more_of_them_change_nothing(
    ranker: FeatureBiEncoderRanker, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    """A model may be served with more features than it was trained with."""
    expected_UD = vectors(ranker, rows_of(ITEMS))
    more = [(title, "", abstract, "", "", category) for title, abstract, category in ITEMS]
    torch.testing.assert_close(vectors(ranker, rows_of(more)), expected_UD, rtol=0, atol=1e-6)
    turned_UD = vectors(ranker, rows_of([item[::-1] for item in ITEMS]))
    torch.testing.assert_close(turned_UD, expected_UD, rtol=0, atol=1e-6)
    for row, item in enumerate(ITEMS):
        torch.testing.assert_close(vectors(ranker, rows_of([item]))[0], expected_UD[row], rtol=0, atol=1e-6)


def batch(rows: Rows) -> Batch:
    """One impression with a click and two candidates, of the first three items."""
    yes = torch.ones(1, 2, dtype=torch.bool)
    return Batch(
        item_ids_U=torch.arange(len(rows[0])),
        item_tokens_UT=rows[0],
        item_mask_UT=rows[1],
        history_index_BH=torch.tensor([[2]]),
        history_mask_BH=torch.tensor([[True]]),
        candidate_index_BC=torch.tensor([[0, 1]]),
        candidate_mask_BC=yes,
        labels_BC=torch.tensor([[1.0, 0.0]]),
        impression_mask_B=torch.tensor([True]),
        rows_B=torch.tensor([0]),
    )


@pytest.mark.parametrize("items", [ITEMS, [("", "", "")] * 3, [("ab", "", "")] * 3])
def test_every_parameter_gets_a_gradient_whatever_is_absent(
    ranker: FeatureBiEncoderRanker,
    items: list[tuple[str, ...]],
    rows_of: Callable[[Sequence[tuple[str, ...]]], Rows],
) -> None:
    ranker(batch(rows_of(items))).scores_BC.square().sum().backward()
    grads = {name: p.grad for name, p in ranker.named_parameters() if p.requires_grad}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    if not any(items[0]):
        assert not any(grad.any() for name, grad in grads.items() if name.startswith("encoder"))
        assert grads["no_text_D"].any()


def test_items_without_text_tie_before_training(
    tiny_bert: Path, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    scores_BC = make(tiny_bert)(batch(rows_of([("", ""), ("", ""), ("salt", "")]))).scores_BC
    assert scores_BC.tolist() == [[0.0, 0.0]]


def test_frozen_layers_run_once_for_each_feature(
    tiny_bert: Path, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    reusing, anew = make(tiny_bert, adaptation="frozen"), make(tiny_bert, adaptation="frozen", reuse_mb=0)
    layers = reusing.encoder._layers
    assert layers is not None
    seen: list[int] = []
    below = layers._below
    monkeypatch.setattr(layers, "_below", lambda tokens, *rest: (seen.append(len(tokens)), below(tokens, *rest))[1])
    rows, ids = rows_of(ITEMS), [4, 9, 2, 0, -1]
    expected_UD = vectors(anew, rows)
    torch.testing.assert_close(vectors(reusing, rows, ids), expected_UD, rtol=0, atol=1e-6)
    assert sum(seen) == 8, "of the item from outside nothing is known"
    seen.clear()
    order = torch.tensor([3, 1, 0])
    again = vectors(reusing, (rows[0][order], rows[1][order]), [0, 9, 4])
    torch.testing.assert_close(again, expected_UD[order], rtol=0, atol=1e-6)
    assert seen == []


def test_vectors_are_unit_and_float32_under_autocast(
    ranker: FeatureBiEncoderRanker, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found_UD = vectors(ranker, rows_of(ITEMS))
    some = torch.tensor([any(item) for item in ITEMS])
    torch.testing.assert_close(found_UD.norm(dim=1)[some], torch.ones(4))


def test_what_it_adds_to_a_bi_encoder(tiny_bert: Path) -> None:
    ours, plain = (trainable_state(make(tiny_bert, name)) for name in ("feature_bi_encoder", "bi_encoder"))
    added = {name: tuple(value.shape) for name, value in ours.items() if name not in plain}
    assert added == {
        "attention.hidden.weight": (200, 32),
        "attention.hidden.bias": (200,),
        "attention.query_Q": (200,),
        "no_text_D": (32,),
    }
    assert all(torch.equal(ours[name], value) for name, value in plain.items())
    assert Architecture.named("feature_bi_encoder").tokens == "features"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="The width of the attention's query is 0: choose 1 or more"):
        Architecture.named("feature_bi_encoder", query_width=0)


def test_a_slice_of_the_items_is_what_they_were(
    ranker: FeatureBiEncoderRanker, rows_of: Callable[[Sequence[tuple[str, ...]]], Rows]
) -> None:
    """Rows with breaks go through what holds items like any other."""
    rows = rows_of(ITEMS)
    items = ranker.represent(torch.arange(5), *rows)
    some = items.select(torch.tensor([3, 2]))
    assert [row[mask].tolist() for row, mask in zip(some.tokens_UT, some.mask_UT, strict=True)] == [
        rows[0][3][rows[1][3]].tolist(),
        [FEATURE_BREAK] * 2,
    ]
    whole = Items.concatenate([some, items.select(torch.tensor([0, 1, 4]))])
    again_UD = ranker.represent(whole.ids_U, whole.tokens_UT, whole.mask_UT).vectors_UD
    torch.testing.assert_close(again_UD, whole.vectors_UD, rtol=0, atol=1e-6)
