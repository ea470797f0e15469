"""What holds for each architecture that joins texts or lets tokens meet, whatever it computes.

Shape letters: B impressions, C candidate slots, U items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tastelab.config import Adaptation, Architecture, ModelConfig, Scorer
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, num_trainable
from tastelab.schema import Batch

NAMES = ("cross_encoder", "half_cross_encoder", "colbert", "half_cross_encoder_colbert")
WITHOUT_ITEMS = ("cross_encoder",)


def make(name: str, folder: Path, adaptation: str = "lora", scorer: str = "cosine") -> Ranker:
    config = ModelConfig(
        architecture=Architecture.named(name), adaptation=Adaptation.named(adaptation), scorer=Scorer.named(scorer)
    )
    return build_ranker(config, Resources(str(folder), reuse_mb=16))


def trained(name: str, folder: Path, adaptation: str = "full") -> Ranker:
    """A ranker whose new parameters have left the zero they start at."""
    ranker = make(name, folder, adaptation).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in ranker.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return ranker


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    slots = ("history_index_BH", "history_mask_BH", "candidate_index_BC", "candidate_mask_BC")
    names = (*slots, "labels_BC", "impression_mask_B", "rows_B")
    return dataclasses.replace(batch, **{name: getattr(batch, name)[rows] for name in names})


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_scoring_what_was_represented_before_equals_training(name: str, tiny_encoder: Path, batch: Batch) -> None:
    ranker, slots = trained(name, tiny_encoder), Slots.of(batch)
    output = ranker(batch)
    shape = (batch.item_ids_U, batch.item_tokens_UT, batch.item_mask_UT)
    assert_close(ranker.score(ranker.represent(*shape), slots), output.scores_BC)
    all_U = torch.ones_like(batch.item_ids_U, dtype=torch.bool)
    wanted_U = all_U if ranker.item_vectors == "all" else slots.candidates(len(all_U))
    parts = [ranker.represent(*(part[a:b] for part in (*shape, wanted_U))) for a, b in ((0, 3), (3, 7))]
    order = torch.tensor([6, 2, 0, 1, 5, 3, 4])
    shuffled = dataclasses.replace(
        slots,
        history_index_BH=order.argsort()[slots.history_index_BH],
        candidate_index_BC=order.argsort()[slots.candidate_index_BC],
    )
    mask_BC = batch.candidate_mask_BC
    assert_close(ranker.score(Items.concatenate(parts).select(order), shuffled)[mask_BC], output.scores_BC[mask_BC])


@pytest.mark.parametrize("name", NAMES)
def test_an_impression_scores_the_same_alone_and_among_others(name: str, tiny_encoder: Path, batch: Batch) -> None:
    ranker = trained(name, tiny_encoder)
    together_BC = ranker(batch).scores_BC
    for row in range(len(batch.rows_B)):
        mask_C = batch.candidate_mask_BC[row]
        assert_close(ranker(rows_of(batch, [row])).scores_BC[0, mask_C], together_BC[row, mask_C])
    assert together_BC[batch.candidate_mask_BC].unique().numel() == 9


@pytest.mark.parametrize("name", NAMES)
def test_what_masked_slots_and_padding_rows_hold_never_matters(name: str, tiny_bert: Path, batch: Batch) -> None:
    ranker = trained(name, tiny_bert)
    expected_BC = ranker(batch).scores_BC
    dirty = dataclasses.replace(
        batch,
        history_index_BH=batch.history_index_BH.masked_fill(~batch.history_mask_BH, 6),
        candidate_index_BC=batch.candidate_index_BC.masked_fill(~batch.candidate_mask_BC, 4),
        item_tokens_UT=batch.item_tokens_UT.masked_fill(~batch.item_mask_UT, 7),
    )
    padded = rows_of(dirty, [0, 1, 2, 3, 0, 1])
    padded.history_mask_BH[4:] = False
    padded.candidate_mask_BC[4:] = False
    found_BC = ranker(padded).scores_BC
    mask_BC = batch.candidate_mask_BC
    assert found_BC.isfinite().all()
    assert_close(found_BC[:4][mask_BC], expected_BC[mask_BC])


def all_empty(batch: Batch) -> Batch:
    return dataclasses.replace(batch, history_mask_BH=torch.zeros_like(batch.history_mask_BH))


def none_empty(batch: Batch) -> Batch:
    return rows_of(batch, [0, 1, 3])


def all_padding(batch: Batch) -> Batch:
    return dataclasses.replace(all_empty(batch), candidate_mask_BC=torch.zeros_like(batch.candidate_mask_BC))


def one_candidate(batch: Batch) -> Batch:
    parts = {name: getattr(batch, name)[:, :1] for name in ("candidate_index_BC", "candidate_mask_BC", "labels_BC")}
    return dataclasses.replace(batch, **parts)


@pytest.mark.parametrize("change", [all_empty, none_empty, all_padding, one_candidate])
@pytest.mark.parametrize("adaptation", ["full", "lora", "frozen"])
@pytest.mark.parametrize("name", NAMES)
def test_every_trained_parameter_gets_a_finite_gradient(
    name: str, adaptation: str, change: Callable[[Batch], Batch], tiny_bert: Path, batch: Batch
) -> None:
    ranker = make(name, tiny_bert, adaptation)
    (ranker(change(batch)).scores_BC - 1).square().sum().backward()
    found = {path: p for path, p in ranker.named_parameters() if p.requires_grad}
    assert found
    assert all(p.grad is not None and p.grad.isfinite().all() for p in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_any_kind_and_histories_of_any_length_have_scores(
    name: str, tiny_bert: Path, batch_of: object
) -> None:
    assert callable(batch_of)
    titles = ["long " * 1_000, "😀🎉", "", "plain words", "ab"]
    histories = [[], [0], [1], [2], [2, 2], [0, 1, 2, 3, 4] * 10, [4] * 3]
    batch = batch_of(titles, histories, [[0, 1, 2, 3, 4]] * len(histories), max_tokens=64)
    ranker = trained(name, tiny_bert)
    scores_BC = ranker(batch).scores_BC
    assert scores_BC.isfinite().all() and scores_BC.any()
    scores_BC.sum().backward()
    assert all(p.grad.isfinite().all() for p in ranker.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_history_ties_before_training(name: str, tiny_bert: Path, batch: Batch) -> None:
    output = make(name, tiny_bert)(batch)
    assert output.scores_BC[2].tolist() == [0.0, 0.0, 0.0]
    assert bool(output.scores_BC.any()) == (name not in WITHOUT_ITEMS)
    assert (output.item_vectors_UD is None) == (name in WITHOUT_ITEMS)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_a_history_matters_where_it_is_read_as_one_text(
    name: str, tiny_encoder: Path, batch: Batch
) -> None:
    ranker = trained(name, tiny_encoder)
    first_BC = ranker(batch).scores_BC
    turned = dataclasses.replace(batch, history_index_BH=batch.history_index_BH.clone())
    turned.history_index_BH[0] = batch.history_index_BH[0].flip(0)
    second_BC = ranker(turned).scores_BC
    assert_close(second_BC[1:], first_BC[1:])
    if name == "colbert":
        assert_close(second_BC[0], first_BC[0])
    else:
        assert (second_BC[0] - first_BC[0]).abs().min() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_clicks_beyond_the_encoders_limit_never_matter(name: str, tiny_encoder: Path, batch_of: object) -> None:
    """Titles of 16 tokens in an encoder of 64: the candidate and the three newest fit, or four without it."""
    assert callable(batch_of)
    titles = [letter * 14 for letter in "abcdefg"] + ["h" * 14, "zz zz"]
    ranker = trained(name, tiny_encoder)
    kept = {"cross_encoder": 3, "colbert": 7}.get(name, 4)
    whole_C = ranker(batch_of(titles, [[0, 1, 2, 3, 4, 5, 6]], [[7]])).scores_BC[0]
    cut_C = ranker(batch_of(titles, [[0, 1, 2, 3, 4, 5, 6][-kept:]], [[7]])).scores_BC[0]
    shorter_C = ranker(batch_of(titles, [[0, 1, 2, 3, 4, 5, 6][1 - kept :]], [[7]])).scores_BC[0]
    assert_close(cut_C, whole_C)
    assert (shorter_C - whole_C).abs().min() > 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_scores_in_float32(name: str, tiny_bert: Path, batch: Batch) -> None:
    ranker = trained(name, tiny_bert)
    with torch.autocast("cpu", torch.bfloat16):
        found_BC = ranker(batch).scores_BC
    assert found_BC.dtype is torch.float32
    torch.testing.assert_close(found_BC, ranker(batch).scores_BC, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "half_cross_encoder"])
def test_a_scorer_that_would_have_no_effect_is_refused(name: str) -> None:
    architecture = Architecture.named(name)
    architecture.check(ModelConfig(scorer=Scorer.named("cosine")))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=f"{name} has a score of its own, so scorer 'mlp' has no effect"):
        architecture.check(ModelConfig(scorer=Scorer.named("mlp")))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "added"), [("cross_encoder", 32 * 32 + 32 + 32), *((name, 32) for name in NAMES[1:])])
def test_new_parameters_are_few(name: str, added: int, tiny_bert: Path) -> None:
    assert num_trainable(make(name, tiny_bert, "frozen")) == added


@pytest.mark.parametrize("name", NAMES)
def test_keeping_the_outputs_of_frozen_layers_changes_nothing(name: str, tiny_encoder: Path, batch: Batch) -> None:
    adaptation = Adaptation.named("full", frozen_layers_share=0.5)
    config = ModelConfig(architecture=Architecture.named(name), adaptation=adaptation)
    kept, anew = (build_ranker(config, Resources(str(tiny_encoder), reuse_mb=mb)) for mb in (16, 0))
    for _ in range(2):
        assert_close(kept(batch).scores_BC, anew(batch).scores_BC)
