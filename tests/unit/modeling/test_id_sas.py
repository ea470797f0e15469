"""ID-SAS: text at first, text for ever where nothing was trained, and a row of its own where something was.

Shape letters: U distinct items, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tastelab.config import Adaptation, Architecture, EncoderConfig, ModelConfig, Pooling
from tastelab.modeling.bi_encoder import BiEncoderRanker
from tastelab.modeling.id_sas import IDSASRanker
from tastelab.modeling.items import Items
from tastelab.modeling.ranker import Resources, build_ranker, trainable_state
from tastelab.schema import Batch
from tastelab.training.job import Job
from tastelab.training.local import LocalSession

NUM_ITEMS = 60


def config(architecture: str = "id_sas", adaptation: str = "frozen", pooling: str = "mean") -> ModelConfig:
    return ModelConfig(
        architecture=Architecture.named(architecture),
        encoder=EncoderConfig("tiny"),
        adaptation=Adaptation.named(adaptation),
        pooling=Pooling.named(pooling),
    )


def make(folder: Path, pooling: str = "mean", reuse_mb: int = 1) -> IDSASRanker:
    ranker = build_ranker(config(pooling=pooling), Resources(str(folder), num_items=NUM_ITEMS, reuse_mb=reuse_mb))
    assert isinstance(ranker, IDSASRanker)
    return ranker


def batches(job: Job, count: int) -> list[Batch]:
    return list(islice(LocalSession(job).batches(0), count))


def vectors(ranker: IDSASRanker, batch: Batch, ids_U: Tensor | None = None) -> Tensor:
    ids_U = batch.item_ids_U if ids_U is None else ids_U
    found = ranker.represent(ids_U, batch.item_tokens_UT, batch.item_mask_UT).vectors_UD
    assert found is not None
    return found


@pytest.mark.parametrize("pooling", ["mean", "top_k", "mix", "sasrec", "attention"])
def test_at_first_it_scores_by_text_like_a_frozen_bi_encoder(tiny_encoder: Path, job: Job, pooling: str) -> None:
    ranker = make(tiny_encoder, pooling)
    other = build_ranker(config("bi_encoder", pooling=pooling), str(tiny_encoder))
    assert isinstance(other, BiEncoderRanker)
    with torch.no_grad():  # any weights of the pooling, as long as they are the same
        for parameter in ranker.pooling.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    other.pooling.load_state_dict(ranker.pooling.state_dict())
    for batch in batches(job, 2):
        for ids_U in (batch.item_ids_U, torch.full_like(batch.item_ids_U, -1)):
            output = ranker(dataclasses.replace(batch, item_ids_U=ids_U))
            torch.testing.assert_close(output.scores_BC, other(batch).scores_BC, rtol=0, atol=1e-5)


def test_untouched_items_stay_at_their_text_whatever_is_trained(
    tiny_bert: Path, job: Job, make_job: Callable[..., Job]
) -> None:
    (second,) = batches(job, 1)
    (first,) = batches(make_job({"optim.global_batch": 2}), 1)
    ranker = make(tiny_bert)
    before_UD = vectors(ranker, second).detach()
    optimizer = torch.optim.SparseAdam([ranker.deltas.rows_ND], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        (ranker(first).scores_BC * first.labels_BC).sum().neg().backward()
        optimizer.step()
    after_UD = vectors(ranker, second).detach()
    touched_U = torch.isin(second.item_ids_U, first.item_ids_U)
    assert touched_U.any()
    assert not touched_U.all()
    assert torch.equal(after_UD[~touched_U], before_UD[~touched_U])
    moved_U = (after_UD - before_UD).norm(dim=1) > 1e-3
    assert moved_U[touched_U].any()
    outside_UD = vectors(ranker, second, torch.full_like(second.item_ids_U, -1)).detach()
    torch.testing.assert_close(outside_UD, before_UD, rtol=0, atol=1e-6)
    torch.testing.assert_close(after_UD.norm(dim=1), torch.ones(len(after_UD)))


def test_a_row_moves_its_own_item_alone(tiny_bert: Path, job: Job) -> None:
    (batch,) = batches(job, 1)
    ranker = make(tiny_bert)
    texts_UD = vectors(ranker, batch).detach()
    added_D = torch.linspace(-1, 1, ranker.width)
    ranker.deltas.rows_ND.data[int(batch.item_ids_U[3])] = added_D
    expected_UD = texts_UD.clone()
    expected_UD[3] = torch.nn.functional.normalize(texts_UD[3] + added_D, dim=0)
    torch.testing.assert_close(vectors(ranker, batch), expected_UD, rtol=0, atol=1e-6)


def test_texts_are_encoded_once(tiny_bert: Path, job: Job) -> None:
    ranker, seen = make(tiny_bert), []
    ranker.encoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    first, second = batches(job, 2)
    for batch in (first, second, first, second):
        ranker(batch).scores_BC.sum().backward()
    assert sum(seen) == len(set(first.item_ids_U.tolist()) | set(second.item_ids_U.tolist()))
    forgetful, seen = make(tiny_bert, reuse_mb=0), []
    forgetful.encoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    torch.testing.assert_close(forgetful(first).scores_BC, ranker(first).scores_BC, rtol=0, atol=1e-5)
    forgetful(first)
    assert seen == [len(first.item_ids_U)] * 2


def test_the_encoder_never_drops_out_and_is_never_trained(tiny_bert: Path, job: Job) -> None:
    named = dataclasses.replace(config(), encoder=EncoderConfig("tiny", dropout=0.5))
    ranker = build_ranker(named, Resources(str(tiny_bert), num_items=NUM_ITEMS, reuse_mb=0)).train()
    (batch,) = batches(job, 1)
    assert torch.equal(ranker(batch).scores_BC, ranker(batch).scores_BC)
    assert set(trainable_state(ranker)) == {"deltas.rows_ND", "pooling.empty_D"}


def test_an_item_without_tokens_of_its_own_and_a_single_item(tiny_bert: Path) -> None:
    ranker = make(tiny_bert)
    tokens_UT, mask_UT = torch.tensor([[2, 3]]), torch.tensor([[True, True]])
    items = ranker.represent(torch.tensor([-1]), tokens_UT, mask_UT)
    assert isinstance(items, Items)
    assert items.vectors_UD is not None
    assert items.vectors_UD.isfinite().all()


@pytest.mark.parametrize("adaptation", ["lora", "full"])
def test_a_trained_encoder_is_refused(adaptation: str) -> None:
    named = config(adaptation=adaptation)
    architecture: Any = named.architecture
    with pytest.raises(ValueError, match=f"model.adaptation is '{adaptation}': set it to 'frozen'"):
        architecture.check(named)
    with pytest.raises(ValueError, match="set it to 'frozen'"):
        build_ranker(named, Resources("nowhere", num_items=3))


def test_a_data_set_without_items_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(ValueError, match="say how many items the data set has"):
        build_ranker(config(), Resources(str(tiny_bert)))
