"""The bi-encoder as a whole: scores, precision, seeds, saved state.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tastelab.config import Adaptation, ModelConfig, Pooling
from tastelab.modeling.items import Slots
from tastelab.modeling.ranker import (
    Ranker,
    build_ranker,
    load_trainable_state,
    num_parameters,
    num_trainable,
    trainable_state,
)
from tastelab.schema import Batch


def make(folder: Path, adaptation: str = "lora", pooling: str = "mean", seed: int = 0, **parameters: int) -> Ranker:
    config = ModelConfig(adaptation=Adaptation.named(adaptation, **parameters), pooling=Pooling.named(pooling))
    return build_ranker(config, str(folder), seed=seed)


@pytest.fixture
def batch() -> Batch:
    """Three impressions over six items: a full history, a short one, and none; the last slots are masked."""
    lengths_U = torch.tensor([9, 8, 8, 5, 4, 2])
    mask_UT = torch.arange(9) < lengths_U[:, None]
    tokens_UT = torch.randint(5, 57, (6, 9), generator=torch.Generator().manual_seed(1)) * mask_UT
    history_mask_BH = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    candidate_mask_BC = torch.tensor([[True, True], [True, True], [True, False]])
    return Batch(
        item_ids_U=torch.arange(6),
        item_tokens_UT=tokens_UT,
        item_mask_UT=mask_UT,
        history_index_BH=torch.tensor([[1, 2, 5], [4, 0, 0], [0, 0, 0]]),
        history_mask_BH=history_mask_BH,
        candidate_index_BC=torch.tensor([[3, 0], [2, 3], [1, 0]]),
        candidate_mask_BC=candidate_mask_BC,
        labels_BC=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        impression_mask_B=torch.ones(3, dtype=torch.bool),
        rows_B=torch.arange(3),
    )


def test_scores_are_cosines_of_mean_history_and_candidate(tiny_encoder: Path, batch: Batch) -> None:
    ranker = make(tiny_encoder).eval()
    output = ranker(batch)
    items_UD = ranker.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT).vectors_UD
    user_D = items_UD[[1, 2, 5]].mean(dim=0)
    expected_C = torch.cosine_similarity(user_D, items_UD[[3, 0]])
    torch.testing.assert_close(output.scores_BC[0], expected_C, rtol=0, atol=1e-6)
    torch.testing.assert_close(output.scores_BC[1], items_UD[[2, 3]] @ items_UD[4], rtol=0, atol=1e-6)
    assert output.scores_BC[2].tolist() == [0.0, 0.0]
    assert torch.equal(output.history_BHD[0], output.item_vectors_UD[[1, 2, 5]])
    assert torch.equal(output.candidates_BCD[1], output.item_vectors_UD[[2, 3]])
    assert ranker.width == 32


def test_scores_are_float32_whatever_autocast_says(tiny_bert: Path, batch: Batch) -> None:
    ranker = make(tiny_bert, pooling="mix").eval()
    output = ranker(batch)
    items = ranker.represent(batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = ranker.score(items, Slots.of(batch))
        assert ranker(batch).scores_BC.dtype is torch.float32
    assert torch.equal(under_autocast, output.scores_BC)


@pytest.mark.parametrize("pooling", ["mean", "top_k", "mix"])
@pytest.mark.parametrize("adaptation", ["full", "lora", "frozen"])
def test_every_trained_parameter_gets_a_finite_gradient(
    tiny_bert: Path, batch: Batch, adaptation: str, pooling: str
) -> None:
    ranker = make(tiny_bert, adaptation, pooling)
    ranker(batch).scores_BC.square().sum().backward()
    trained = {name: p for name, p in ranker.named_parameters() if p.requires_grad}
    assert trained
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())


def test_a_batch_without_histories_still_reaches_every_parameter(tiny_bert: Path, batch: Batch) -> None:
    ranker = make(tiny_bert)
    empty = dataclasses.replace(batch, history_mask_BH=torch.zeros_like(batch.history_mask_BH))
    ranker(empty).scores_BC.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ranker.parameters() if p.requires_grad)


def test_a_seed_decides_the_start_and_disturbs_no_other_draw(tiny_bert: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, again, other = (trainable_state(make(tiny_bert, seed=seed)) for seed in (4, 4, 5))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("adaptation", ["full", "lora", "frozen"])
def test_the_saved_state_restores_the_model(tiny_bert: Path, batch: Batch, adaptation: str) -> None:
    ranker, fresh = make(tiny_bert, adaptation, "mix").eval(), make(tiny_bert, adaptation, "mix", seed=9).eval()
    generator = torch.Generator().manual_seed(2)
    for value in trainable_state(ranker).values():
        value += 0.1 * torch.randn(value.shape, generator=generator)
    assert not torch.equal(fresh(batch).scores_BC, ranker(batch).scores_BC)
    load_trainable_state(fresh, trainable_state(ranker))
    assert torch.equal(fresh(batch).scores_BC, ranker(batch).scores_BC)


def test_a_state_of_another_model_is_refused(tiny_bert: Path) -> None:
    ranker = make(tiny_bert, rank=4)
    with pytest.raises(ValueError, match="24 parameters differ, the first is encoder"):
        load_trainable_state(ranker, trainable_state(make(tiny_bert, rank=2)))
    with pytest.raises(ValueError, match=r"1 parameters differ, the first is pooling\.empty_D"):
        load_trainable_state(ranker, {k: v for k, v in trainable_state(ranker).items() if "empty" not in k})


def test_a_checkpoint_of_adapters_holds_adapters_only(tiny_bert: Path) -> None:
    state = trainable_state(make(tiny_bert, pooling="mix"))
    assert all("lora_" in name or name.startswith("pooling.") for name in state)
    assert sum(value.numel() for value in state.values()) == num_trainable(make(tiny_bert, pooling="mix"))


def test_parameters_are_counted(tiny_bert: Path) -> None:
    # Adapters of rank 2: 4 layers of 32 × 32, one of 32 × 64, one of 64 × 32, in each of 2 blocks; 32 for no history.
    assert num_trainable(make(tiny_bert, rank=2)) == 2 * (4 * 2 * 64 + 2 * 2 * 96) + 32
    assert num_trainable(make(tiny_bert, "frozen")) == 32
    assert num_parameters(make(tiny_bert, "full")) - num_trainable(make(tiny_bert, "full")) == 64 * 32
