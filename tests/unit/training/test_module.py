"""The objective over workers, micro-steps and groups: the same whatever they are, and what a slow loop says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tastelab.config import Auxiliary, ObjectiveConfig, replace_at
from tastelab.modeling.ranker import build_ranker
from tastelab.schema import Batch
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.module import Normaliser, TrainingModule, contrast_groups, normaliser
from tastelab.training.run import run

TRAJECTORY = ("train/loss", "train/mince", "train/uniformity", "train/redundancy", "train/temperature")

MakeJob = Callable[..., Job]
Seen = dict[str, Any]


@pytest.fixture(scope="module")
def one_worker(compared_jobs: Callable[[], dict[str, Job]]) -> tuple[dict[str, Job], dict[str, Seen]]:
    """The same jobs as `two_workers`, carried out by one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    jobs, seen = compared_jobs(), {}
    for name, job in jobs.items():
        session = LocalSession(job)
        result = run(job, session)
        seen[name] = {"logged": session.logged, "reported": session.reported, "result": result}
    torch.set_num_threads(before)
    return jobs, seen


def assert_same_run(first: tuple[Job, Seen], second: tuple[Job, Seen]) -> None:
    """Compare losses, their parts, gradient norms and final parameters."""
    assert len(first[1]["logged"]) == len(second[1]["logged"]) >= 4
    for ours, theirs in zip(first[1]["logged"], second[1]["logged"], strict=True):
        for name in TRAJECTORY:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5), (name, ours["step"])
        assert ours["train/grad_norm"] == pytest.approx(theirs["train/grad_norm"], rel=1e-4)
    weights = [load_file(job.folder / "checkpoint" / "model.safetensors") for job, _ in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", ["accumulation 1", "accumulation 2", "whole batch"])
def test_two_workers_follow_the_trajectory_of_one(one_worker: Any, two_workers: Any, name: str) -> None:
    """The last step of an epoch is partial and leaves the second worker, or a whole micro-step, without impressions."""
    (jobs, seen), (their_jobs, ranks) = one_worker, two_workers
    assert_same_run((jobs[name], seen[name]), (their_jobs[name], ranks[0][name]))
    assert ranks[0][name]["logged"] == ranks[1][name]["logged"]
    assert len(ranks[0][name]["reported"]) == len(ranks[1][name]["reported"])


def test_two_micro_steps_are_one_step(one_worker: Any) -> None:
    jobs, seen = one_worker
    assert_same_run((jobs["accumulation 1"], seen["accumulation 1"]), (jobs["accumulation 2"], seen["accumulation 2"]))


def test_the_comparison_would_notice_a_difference(one_worker: Any) -> None:
    """Groups of 12 and the whole batch differ in uniformity: the trajectory above depends on what it is said to."""
    _, seen = one_worker
    groups, whole = seen["accumulation 1"]["logged"], seen["whole batch"]["logged"]
    assert abs(groups[0]["train/uniformity"] - whole[0]["train/uniformity"]) > 1e-3
    assert groups[0]["train/mince"] == pytest.approx(whole[0]["train/mince"], abs=1e-6)


def a_batch(job: Job, number: int = 0) -> Batch:
    return next(islice(LocalSession(job).batches(0), number, None))


def a_module(job: Job, contrast_size: int = 12, **objective: Any) -> TrainingModule:
    ranker = build_ranker(job.config.model, job.encoder_path, seed=0)
    return TrainingModule(ranker, replace_at(job.config.objective, objective), contrast_size)


def slow_groups(batch: Batch, contrast_size: int) -> list[list[int]]:
    """Indices into U of each group's distinct candidates, by item id."""
    groups = []
    for start in range(0, len(batch.rows_B), contrast_size):
        found = {}
        for b in range(start, min(start + contrast_size, len(batch.rows_B))):
            for c in range(batch.candidate_index_BC.shape[1]):
                if batch.candidate_mask_BC[b, c]:
                    u = int(batch.candidate_index_BC[b, c])
                    found[int(batch.item_ids_U[u])] = u
        groups.append([found[item] for item in sorted(found)])
    return groups


@pytest.mark.parametrize("contrast_size", [1, 5, 12, 48, 100])
@pytest.mark.parametrize("number", [0, 3])
def test_contrast_groups_are_those_of_a_slow_loop(job: Job, contrast_size: int, number: int) -> None:
    batch = a_batch(job, number)
    assert bool(batch.impression_mask_B.all()) is False
    vectors_UD = torch.randn(len(batch.item_ids_U), 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    vectors_GUD, mask_GU = contrast_groups(batch, vectors_UD, contrast_size)
    expected = slow_groups(batch, contrast_size)
    assert mask_GU.sum(dim=1).tolist() == [len(group) for group in expected]
    for vectors, mask, group in zip(vectors_GUD, mask_GU, expected, strict=True):
        assert torch.equal(vectors[mask], vectors_UD[group])
    weights = torch.rand(vectors_GUD.shape[:2], generator=torch.Generator().manual_seed(1)) * mask_GU
    (weights[:, :, None] * vectors_GUD).sum().backward()
    slow_U = torch.zeros(len(batch.item_ids_U))
    for g, group in enumerate(expected):
        for place, u in enumerate(group):
            slow_U[u] += weights[g, place]
    assert vectors_UD.grad is not None
    torch.testing.assert_close(vectors_UD.grad, slow_U[:, None].expand(-1, 8))


def test_a_batch_of_padding_alone_has_groups_without_items(job: Job) -> None:
    batch = a_batch(job)
    empty = dataclasses.replace(
        batch,
        candidate_mask_BC=torch.zeros_like(batch.candidate_mask_BC),
        impression_mask_B=torch.zeros_like(batch.impression_mask_B),
    )
    vectors_GUD, mask_GU = contrast_groups(empty, torch.ones(len(batch.item_ids_U), 4), 12)
    assert vectors_GUD.shape[0] == mask_GU.shape[0] == 4
    assert not mask_GU.any()


@pytest.mark.parametrize(
    ("contrast_size", "groups"),
    [(1, 5), (2, 4), (4, 2), (3, 3)],  # masks 1101 and 0110: 5 valid; pairs 11 01 01 10; by 3: 110 1|- 011 0|-
)
def test_the_normaliser_counts_impressions_and_groups_with_any(job: Job, contrast_size: int, groups: int) -> None:
    batch = a_batch(job)
    masks = (torch.tensor([1, 1, 0, 1]).bool(), torch.tensor([0, 1, 1, 0]).bool())
    micro = [dataclasses.replace(batch, impression_mask_B=mask) for mask in masks]
    assert normaliser(micro, contrast_size) == Normaliser(impressions=5.0, groups=float(groups))


def test_the_normaliser_of_nothing_divides_by_one(job: Job) -> None:
    batch = dataclasses.replace(a_batch(job), impression_mask_B=torch.zeros(4, dtype=torch.bool))
    assert normaliser([batch], 2) == Normaliser(1.0, 1.0)


def test_the_loss_is_the_mean_over_valid_impressions_of_its_parts(job: Job) -> None:
    """A slow loop over impressions and pairs, from the formulas of [A] §3."""
    batch, module = a_batch(job, 3), a_module(job)
    loss, parts = module(batch, normaliser([batch], 12))
    with torch.no_grad():
        output = module.ranker(batch)
    temperature = 0.1
    mince, redundancy, uniformity = [], [], []
    for b in torch.nonzero(batch.impression_mask_B).flatten().tolist():
        mask = batch.candidate_mask_BC[b]
        logits = output.scores_BC[b][mask] / temperature
        positive = batch.labels_BC[b][mask] == 1
        mince.append((logits.exp().sum().log() - logits[positive]).mean())
        history = output.history_BHD[b][batch.history_mask_BH[b]]
        nearest = [max([float(n @ u) for u in history], default=-1.0) for n in output.candidates_BCD[b][mask]]
        redundancy.append(sum(max(0.0, s - 0.5) for s in nearest) / len(nearest))
    for group in slow_groups(batch, 12):
        z = output.item_vectors_UD[group]
        if group:
            uniformity.append((-2 * (z[:, None] - z[None]).square().sum(dim=-1)).exp().mean().log())
    means = [torch.tensor(values).mean().item() for values in (mince, redundancy, uniformity)]
    assert len(mince) < len(batch.rows_B)
    assert len(uniformity) == 2
    assert [parts[name].item() for name in ("mince", "redundancy", "uniformity")] == pytest.approx(means, abs=1e-5)
    assert loss.item() == pytest.approx(means[0] + 0.1 * means[1] + 0.1 * means[2], abs=1e-5)
    assert parts["loss"].item() == pytest.approx(loss.item(), abs=1e-6)


def test_a_batch_of_padding_alone_has_a_loss_of_zero_that_reaches_every_parameter(job: Job) -> None:
    batch, module = a_batch(job), a_module(job)
    empty = dataclasses.replace(
        batch,
        candidate_mask_BC=torch.zeros_like(batch.candidate_mask_BC),
        history_mask_BH=torch.zeros_like(batch.history_mask_BH),
        labels_BC=torch.zeros_like(batch.labels_BC),
        impression_mask_B=torch.zeros_like(batch.impression_mask_B),
    )
    loss, parts = module(empty, normaliser([empty], 12))
    loss.backward()
    assert loss.item() == 0.0
    assert {name: value.item() for name, value in parts.items()} == dict.fromkeys(parts, 0.0)
    trained = [p for p in module.parameters() if p.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


def test_an_auxiliary_of_weight_zero_is_not_computed(job: Job) -> None:
    names = {"auxiliaries.uniformity.weight": 0.0, "auxiliaries.redundancy.weight": 0.2}
    batch, module = a_batch(job), a_module(job, **names)
    _, parts = module(batch, normaliser([batch], 12))
    assert list(parts) == ["mince", "redundancy", "loss"]
    assert parts["loss"].item() == pytest.approx(parts["mince"].item() + 0.2 * parts["redundancy"].item())


def test_the_temperature_divides_the_scores(job: Job) -> None:
    batch = a_batch(job)
    objective = ObjectiveConfig(temperature=0.5, auxiliaries=(Auxiliary.named("redundancy", weight=0.0),))
    module = TrainingModule(a_module(job).ranker, objective, 12)
    _, parts = module(batch, normaliser([batch], 12))
    scores_BC = module.ranker(batch).scores_BC
    loss_B = objective.loss(scores_BC, batch.labels_BC, batch.candidate_mask_BC, 0.5)  # type: ignore[operator]
    assert parts["loss"].item() == pytest.approx(loss_B.sum().item() / int(batch.impression_mask_B.sum()))
    assert not [name for name, _ in module.temperature.named_parameters()]
