"""NRMS against a slow loop written from its formulas, and what must not matter to it.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.items import Slots
from tastelab.modeling.nrms import NRMSRanker, SetEncoder, read_words
from tastelab.modeling.ranker import Resources, build_ranker
from tastelab.schema import Batch

NUM_WORDS = 12
SMALL: dict[str, Any] = {"num_heads": 2, "head_width": 3, "query_width": 4, "word_width": 5}


@pytest.fixture
def vocabulary(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a vocabulary's folder, with given vectors or without."""

    def write(vectors: np.ndarray[Any, Any] | None = None) -> Path:
        words = {f"w{i}": i for i in range(NUM_WORDS)}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": words}}))
        about = {} if vectors is None else {"word_width": vectors.shape[1]}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
        if vectors is not None:
            np.save(tmp_path / "vectors.npy", vectors)
        return tmp_path

    return write


def make(folder: Path, **parameters: Any) -> NRMSRanker:
    config = ModelConfig(architecture=Architecture.named("nrms", **SMALL | parameters))
    ranker = build_ranker(config, Resources(str(folder)), seed=3)
    assert isinstance(ranker, NRMSRanker)
    with torch.no_grad():  # queries of attention and the empty history start at zero, where mistakes would not show
        for name, parameter in ranker.named_parameters():
            if name.endswith(("query_Q", "empty_D")):
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
    return ranker


@pytest.fixture
def batch() -> Batch:
    """Three impressions over six items, one without a word: a full history, a short one, and none."""
    lengths_U = torch.tensor([4, 4, 3, 2, 1, 0])
    mask_UT = torch.arange(4) < lengths_U[:, None]
    tokens_UT = torch.randint(1, NUM_WORDS, (6, 4), generator=torch.Generator().manual_seed(1)) * mask_UT
    return Batch(
        item_ids_U=torch.arange(6),
        item_tokens_UT=tokens_UT,
        item_mask_UT=mask_UT,
        history_index_BH=torch.tensor([[1, 2, 5], [4, 0, 0], [0, 0, 0]]),
        history_mask_BH=torch.tensor([[True, True, True], [True, False, False], [False, False, False]]),
        candidate_index_BC=torch.tensor([[3, 0], [2, 5], [1, 0]]),
        candidate_mask_BC=torch.tensor([[True, True], [True, True], [True, False]]),
        labels_BC=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        impression_mask_B=torch.ones(3, dtype=torch.bool),
        rows_B=torch.arange(3),
    )


def softmax(logits: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def slow_set(encoder: SetEncoder, members: list[Tensor]) -> Tensor:
    """Multi-head self-attention, then additive attention, member by member and head by head."""
    width, size = encoder.width, encoder.width // encoder.num_heads
    if not members:
        return torch.zeros(width, dtype=torch.float64)
    queries, keys, values = encoder.project.weight.split(width)
    attended = []
    for one in members:
        heads = []
        for start in range(0, width, size):
            q, k, v = (matrix[start : start + size] for matrix in (queries, keys, values))
            weights = softmax([float((q @ one) @ (k @ other)) / math.sqrt(size) for other in members])
            heads.append(sum(weight * (v @ other) for weight, other in zip(weights, members, strict=True)))
        attended.append(torch.cat(heads))
    hidden = encoder.pool.hidden
    logits = [float(encoder.pool.query_Q @ torch.tanh(hidden.weight @ h + hidden.bias)) for h in attended]
    return sum(weight * h for weight, h in zip(softmax(logits), attended, strict=True))  # type: ignore[return-value]


def slow_scores(ranker: NRMSRanker, batch: Batch) -> list[list[float]]:
    titles = [
        slow_set(ranker.title, [ranker.words.rows_ND[int(word)] for word in tokens[mask]])
        for tokens, mask in zip(batch.item_tokens_UT, batch.item_mask_UT, strict=True)
    ]
    scores = []
    for history, mask, candidates in zip(
        batch.history_index_BH, batch.history_mask_BH, batch.candidate_index_BC, strict=True
    ):
        clicked = [titles[int(item)] for item in history[mask]]
        user = slow_set(ranker.user, clicked) if clicked else ranker.empty_D
        scores.append([float(user @ titles[int(item)]) for item in candidates])
    return scores


@pytest.mark.parametrize("num_heads", [1, 2])
def test_scores_are_those_of_a_slow_loop(vocabulary: Callable[..., Path], batch: Batch, num_heads: int) -> None:
    ranker = make(vocabulary(), num_heads=num_heads).double()
    scores_BC = ranker(batch).scores_BC
    assert scores_BC.dtype == torch.float64
    with torch.no_grad():
        expected_BC = torch.tensor(slow_scores(ranker, batch), dtype=torch.float64)
    torch.testing.assert_close(scores_BC, expected_BC, rtol=0, atol=1e-12)
    assert scores_BC.std() > 0.01


def test_gradients_are_those_of_finite_differences(vocabulary: Callable[..., Path], batch: Batch) -> None:
    ranker = make(vocabulary()).double()
    weights_BC = torch.randn(3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value() -> Tensor:
        total: Tensor = (ranker(batch).scores_BC * weights_BC).sum()
        return total

    value().backward()
    for name, parameter in ranker.named_parameters():
        assert parameter.grad is not None, name
        gradient = (parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad).flatten()
        assert gradient.any(), name
        entries = torch.randperm(parameter.numel(), generator=torch.Generator().manual_seed(4))[:20].tolist()
        for entry in entries:
            flat, step = parameter.data.view(-1), 1e-5
            with torch.no_grad():
                flat[entry] += step
                above = value()
                flat[entry] -= 2 * step
                below = value()
                flat[entry] += step
            assert float(gradient[entry]) == pytest.approx(float(above - below) / (2 * step), abs=1e-8), (name, entry)


def test_masked_slots_and_masked_tokens_change_nothing(vocabulary: Callable[..., Path], batch: Batch) -> None:
    ranker = make(vocabulary())
    expected_BC = ranker(batch).scores_BC
    tokens_UT = torch.where(batch.item_mask_UT, batch.item_tokens_UT, 9)
    wide_UT = torch.cat([tokens_UT, torch.full((6, 3), 5)], dim=1)
    mask_UT = torch.cat([batch.item_mask_UT, torch.zeros(6, 3, dtype=torch.bool)], dim=1)
    history_BH = torch.where(batch.history_mask_BH, batch.history_index_BH, 3)
    wide_BH = torch.cat([torch.full((3, 2), 4), history_BH], dim=1)
    mask_BH = torch.cat([torch.zeros(3, 2, dtype=torch.bool), batch.history_mask_BH], dim=1)
    other = dataclasses.replace(
        batch, item_tokens_UT=wide_UT, item_mask_UT=mask_UT, history_index_BH=wide_BH, history_mask_BH=mask_BH
    )
    torch.testing.assert_close(ranker(other).scores_BC, expected_BC, rtol=0, atol=1e-6)


def test_neither_order_of_clicks_nor_of_words_matters(vocabulary: Callable[..., Path], batch: Batch) -> None:
    ranker = make(vocabulary())
    turned_UT = batch.item_tokens_UT.clone()
    turned_UT[:2] = turned_UT[:2].flip(1)
    other = dataclasses.replace(batch, item_tokens_UT=turned_UT, history_index_BH=batch.history_index_BH.clone())
    other.history_index_BH[0] = other.history_index_BH[0].flip(0)
    torch.testing.assert_close(ranker(other).scores_BC, ranker(batch).scores_BC, rtol=0, atol=1e-6)


def test_slices_of_titles_change_nothing(
    vocabulary: Callable[..., Path], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = make(vocabulary())
    expected_BC = ranker(batch).scores_BC
    monkeypatch.setattr("tastelab.modeling.nrms.TOKENS_PER_SLICE", 5)
    torch.testing.assert_close(ranker(batch).scores_BC, expected_BC, rtol=0, atol=1e-6)


def test_an_item_without_a_word_is_zero_and_harmless(vocabulary: Callable[..., Path], batch: Batch) -> None:
    ranker = make(vocabulary())
    output = ranker(batch)
    assert output.item_vectors_UD is not None
    assert not output.item_vectors_UD[5].any()
    torch.testing.assert_close(output.item_vectors_UD[:5].norm(dim=1), torch.ones(5))
    assert output.scores_BC[1, 1] == 0.0
    (output.scores_BC.sum() + output.item_vectors_UD.square().sum()).backward()
    assert all(p.grad is not None and p.grad.to_dense().isfinite().all() for p in ranker.parameters())


@pytest.mark.parametrize("num_tokens", [0, 3])
def test_only_items_without_words_still_train_every_parameter(
    vocabulary: Callable[..., Path], batch: Batch, num_tokens: int
) -> None:
    ranker = make(vocabulary())
    empty_UT = torch.zeros(6, num_tokens, dtype=torch.int64)
    output = ranker(dataclasses.replace(batch, item_tokens_UT=empty_UT, item_mask_UT=empty_UT.bool()))
    assert not output.scores_BC.any()
    output.scores_BC.sum().backward()
    assert all(p.grad is not None and p.grad.to_dense().isfinite().all() for p in ranker.parameters())


def test_an_untrained_user_without_clicks_ties_all_candidates(vocabulary: Callable[..., Path], batch: Batch) -> None:
    config = ModelConfig(architecture=Architecture.named("nrms", **SMALL))
    scores_BC = build_ranker(config, Resources(str(vocabulary())))(batch).scores_BC
    assert scores_BC[2].tolist() == [0.0, 0.0]
    assert scores_BC[0].all()


def test_evaluation_and_serving_score_like_training(vocabulary: Callable[..., Path], batch: Batch) -> None:
    ranker = make(vocabulary(), dropout=0.4).eval()
    items = ranker.represent(torch.full((6,), -1), batch.item_tokens_UT, batch.item_mask_UT)
    order = torch.tensor([4, 2, 0, 5, 3, 1])
    slots = Slots.of(batch)
    moved = dataclasses.replace(
        slots,
        history_index_BH=order.argsort()[slots.history_index_BH],
        candidate_index_BC=order.argsort()[slots.candidate_index_BC],
    )
    expected_BC = ranker(batch).scores_BC
    torch.testing.assert_close(ranker.score(items.select(order), moved), expected_BC, rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        low = ranker(batch).scores_BC
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, expected_BC, rtol=0.05, atol=0.1)


def test_dropout_is_for_training_and_none_by_default(vocabulary: Callable[..., Path], batch: Batch) -> None:
    plain, dropping = make(vocabulary()), make(vocabulary(), dropout=0.4)
    assert torch.equal(plain(batch).scores_BC, plain(batch).scores_BC)
    assert torch.equal(plain(batch).scores_BC, dropping.eval()(batch).scores_BC)
    dropping.train()
    assert not torch.equal(dropping(batch).scores_BC, dropping(batch).scores_BC)
    dropping(batch).scores_BC.sum().backward()
    assert all(p.grad is not None for p in dropping.parameters())


def test_given_vectors_start_the_words_and_others_are_of_their_size(vocabulary: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(NUM_WORDS, 400)).astype(np.float32) * 0.1
    vectors[[0, 1, 7]] = np.nan
    folder = vocabulary(vectors)
    ranker = make(folder, word_width=None)
    rows_ND = ranker.words.rows_ND.detach()
    given = [i for i in range(NUM_WORDS) if i not in (0, 1, 7)]
    assert torch.equal(rows_ND[given], torch.from_numpy(vectors[given]))
    assert not rows_ND[0].any()
    assert rows_ND[[1, 7]].std().item() == pytest.approx(0.1, rel=0.1)
    with pytest.raises(ValueError, match="have 400 numbers, NRMS has word_width 300: set it to 400, or to none"):
        read_words(folder, 300)


def test_a_checkpoint_knows_the_width_of_its_words_without_their_vectors(vocabulary: Callable[..., Path]) -> None:
    folder = vocabulary(np.ones((NUM_WORDS, 7), np.float32))
    (folder / "vectors.npy").unlink()
    assert read_words(folder, None).shape == (NUM_WORDS, 7)


def test_the_defaults_are_the_papers(vocabulary: Callable[..., Path]) -> None:
    ranker = build_ranker(ModelConfig(architecture=Architecture.named("nrms")), Resources(str(vocabulary())))
    assert isinstance(ranker, NRMSRanker)
    assert (ranker.width, ranker.title.num_heads, ranker.user.num_heads) == (256, 16, 16)
    assert tuple(ranker.words.rows_ND.shape) == (NUM_WORDS, 300)
    assert ranker.words.rows_ND[1:].std().item() == pytest.approx(0.1, rel=0.1)
    assert tuple(ranker.title.pool.query_Q.shape) == tuple(ranker.user.pool.query_Q.shape) == (200,)


@pytest.mark.parametrize("what", ["num_heads", "head_width", "query_width", "word_width"])
def test_sizes_below_1_are_refused(what: str) -> None:
    with pytest.raises(ValueError, match=f"NRMS's {what} is 0: choose 1 or more"):
        Architecture.named("nrms", **{what: 0})


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_that_is_no_probability_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"NRMS's dropout is {dropout}"):
        Architecture.named("nrms", dropout=dropout)


def test_a_folder_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no vocabulary of words \(tokenizer.json\)"):
        build_ranker(ModelConfig(architecture=Architecture.named("nrms")), Resources(str(tmp_path)))
