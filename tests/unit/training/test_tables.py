"""Tables in training: lazy Adam, clipping, and the same trajectory for any number of workers and after a restart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tastelab.config import Adaptation, Architecture, ObjectiveConfig, OptimConfig, Pooling
from tastelab.data.tokens import ItemTexts, build_store
from tastelab.data.words import load_words, prepare_words
from tastelab.modeling.item_table import Table, named_tables
from tastelab.modeling.ranker import Resources, build_ranker
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.loop import optimise
from tastelab.training.module import TrainingModule
from tastelab.training.optim import build_optimizer, build_scheduler, clip_gradients
from tastelab.training.run import run
from tastelab.training.sparse import ignore_tables, sync_tables

MakeJob = Callable[..., Job]
Jobs = dict[str, Job]
CONFIG = OptimConfig(learning_rate=0.05, weight_decay=0.3)


class Model(nn.Module):
    """A table and a layer on top."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
        self.layer = nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))

    def forward(self, rows: list[int]) -> Tensor:
        total: Tensor = self.layer(self.table(torch.tensor(rows))).square().sum()
        return total


STEPS = [[1, 4, 4], [7], [4, 0, 1, 7], [4]]


def trained(model: Model, optimizers: list[torch.optim.Optimizer]) -> None:
    for rows in STEPS:
        model.zero_grad()
        model(rows).backward()
        for optimizer in optimizers:
            optimizer.step()


def test_tables_follow_sparse_adam_and_all_else_adamw_to_the_last_bit() -> None:
    ours, theirs = Model(), Model()
    optimizer = build_optimizer(ours, CONFIG)
    trained(ours, [optimizer])
    groups = [
        {"params": [theirs.layer.weight], "weight_decay": CONFIG.weight_decay},
        {"params": [theirs.layer.bias], "weight_decay": 0.0},
    ]
    lazy = torch.optim.SparseAdam([theirs.table.rows_ND], lr=CONFIG.learning_rate)
    trained(theirs, [torch.optim.AdamW(groups, lr=CONFIG.learning_rate, fused=True), lazy])
    assert torch.equal(ours.layer.weight, theirs.layer.weight)
    assert torch.equal(ours.layer.bias, theirs.layer.bias)
    torch.testing.assert_close(ours.table.rows_ND, theirs.table.rows_ND, rtol=0, atol=1e-6)
    our_state, their_state = optimizer.state[ours.table.rows_ND], lazy.state[theirs.table.rows_ND]
    assert our_state.keys() == their_state.keys()
    assert float(our_state["step"]) == their_state["step"] == len(STEPS)
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(our_state[name], their_state[name], rtol=1e-5, atol=1e-7)


def test_untouched_rows_stay_to_the_last_bit_though_matrices_decay() -> None:
    model, start = Model(), Model().table.rows_ND
    trained(model, [build_optimizer(model, CONFIG)])
    same_N = (model.table.rows_ND == start).all(dim=1)
    assert same_N.nonzero().flatten().tolist() == [2, 3, 5, 6, 8]


def test_tables_follow_the_schedule() -> None:
    model = Model()
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1, warmup_steps=0))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]
    scheduler = build_scheduler(optimizer, OptimConfig(warmup_steps=0), 4, 2)
    assert {group["lr"] for group in optimizer.param_groups} == {0.05}
    model([3]).backward()
    before_D = model.table.rows_ND[3].detach().clone()
    optimizer.step()
    scheduler.step()
    # The first step of Adam is the learning rate times the sign of the gradient.
    moved_D = (model.table.rows_ND[3] - before_D).abs()
    torch.testing.assert_close(moved_D, torch.full((4,), 0.05), rtol=1e-4, atol=0)


@pytest.mark.parametrize("most", [0.5, 1e9])
def test_clipping_sees_sparse_gradients_as_dense_ones(most: float) -> None:
    sparse, dense = Model(), Model()
    for rows in STEPS:  # not coalesced: rows are named several times
        sparse(rows).backward()
        dense(rows).backward()
    dense.table.rows_ND.grad = dense.table.rows_ND.grad.to_dense()  # type: ignore[union-attr]
    expected = nn.utils.clip_grad_norm_(list(dense.parameters()), most)
    torch.testing.assert_close(clip_gradients(sparse, most), expected)
    for ours, theirs in zip(sparse.parameters(), dense.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad.to_dense(), theirs.grad)


def test_one_worker_joins_and_thins_its_gradient() -> None:
    model = Model()
    (model([4, 1, 4]) + 0.0 * model([6])).backward()
    assert model.table.rows_ND.grad is not None
    expected_ND = model.table.rows_ND.grad.to_dense()
    sync_tables(model)
    gradient = model.table.rows_ND.grad
    assert gradient.is_coalesced()
    assert gradient.indices().tolist() == [[1, 4]], "a row without a say in the loss is left out"
    assert torch.equal(gradient.to_dense(), expected_ND)


def test_a_table_that_was_not_used_has_an_empty_gradient() -> None:
    model = Model()
    sync_tables(model)
    assert model.table.rows_ND.grad is not None
    assert model.table.rows_ND.grad.indices().shape == (1, 0)
    before_ND = model.table.rows_ND.detach().clone()
    build_optimizer(model, CONFIG).step()
    assert clip_gradients(model, 1.0).item() == 0.0
    assert torch.equal(model.table.rows_ND, before_ND)


def test_ddp_is_told_to_leave_tables_alone() -> None:
    model = nn.Sequential(Model())
    ignore_tables(model)
    assert model._ddp_params_and_buffers_to_ignore == ["0.table.rows_ND"] == list(named_tables(model))
    plain = nn.Linear(2, 2)
    ignore_tables(plain)
    assert not hasattr(plain, "_ddp_params_and_buffers_to_ignore")


@pytest.fixture(scope="module")
def jobs(make_job: MakeJob) -> Callable[[], Jobs]:
    """Function that builds jobs of both architectures with a table, each with a home of its own."""

    def build() -> Jobs:
        id_sas = {
            "model.architecture": Architecture.named("id_sas"),
            "model.adaptation": Adaptation.named("frozen"),
            "model.pooling": Pooling.named("sasrec"),
        }
        nrms = {"model.architecture": Architecture.named("nrms", num_heads=2, head_width=4, word_width=8)}
        return {
            "id_sas": make_job(id_sas, keep=True),
            "id_sas in two parts": make_job(id_sas, keep=True, accumulation=2),
            "nrms": reading_words(make_job(nrms, keep=True)),
            "nrms in two parts": reading_words(make_job(nrms, keep=True, accumulation=2)),
        }

    return build


def reading_words(job: Job) -> Job:
    data, texts = job.open_data(), ItemTexts.of(job.config)
    folder, fingerprint = prepare_words(data, texts)
    store = build_store(data, texts, folder / "store", load_words(folder))
    return dataclasses.replace(job, store_path=store.path, encoder_path=str(folder), encoder_fingerprint=fingerprint)


Seen = Mapping[str, Any]


@pytest.fixture(scope="module")
def one_worker(jobs: Callable[[], Jobs]) -> tuple[Jobs, dict[str, Seen]]:
    """The jobs carried out by one worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    own, seen = jobs(), dict[str, Seen]()
    for name, job in own.items():
        session = LocalSession(job)
        seen[name] = {"result": run(job, session), "logged": session.logged}
    torch.set_num_threads(before)
    return own, seen


@pytest.fixture(scope="module")
def two_workers_of_tables(jobs: Callable[[], Jobs], on_two_workers: Any) -> tuple[Jobs, list[dict[str, Seen]]]:
    """The jobs carried out by two workers."""
    own = jobs()
    return own, on_two_workers(own)


def assert_same_run(first: tuple[Job, Seen], second: tuple[Job, Seen]) -> None:
    assert len(first[1]["logged"]) == len(second[1]["logged"]) == 8
    for ours, theirs in zip(first[1]["logged"], second[1]["logged"], strict=True):
        for name in ("train/loss", "train/uniformity", "train/redundancy"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5), (name, ours["step"])
        assert ours["train/grad_norm"] == pytest.approx(theirs["train/grad_norm"], rel=1e-4)
    weights = [load_file(job.folder / "checkpoint" / "model.safetensors") for job, _ in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("name", ["id_sas", "nrms"])
def test_two_micro_steps_are_one_step(one_worker: Any, name: str) -> None:
    own, seen = one_worker
    parts = f"{name} in two parts"
    assert_same_run((own[name], seen[name]), (own[parts], seen[parts]))


@pytest.mark.parametrize("name", ["id_sas", "id_sas in two parts", "nrms", "nrms in two parts"])
def test_two_workers_follow_the_trajectory_of_one(one_worker: Any, two_workers_of_tables: Any, name: str) -> None:
    (own, seen), (their_jobs, ranks) = one_worker, two_workers_of_tables
    assert_same_run((own[name], seen[name]), (their_jobs[name], ranks[0][name]))
    assert ranks[0][name]["logged"] == ranks[1][name]["logged"]


@pytest.mark.parametrize(("name", "table"), [("id_sas", "ranker.deltas"), ("nrms", "ranker.words")])
def test_a_table_alone_can_learn_a_batch(jobs: Callable[[], Jobs], name: str, table: str) -> None:
    job = jobs()[name]
    resources = Resources(job.encoder_path, num_items=job.open_data().num_items)
    module = TrainingModule(build_ranker(job.config.model, resources), ObjectiveConfig(temperature=0.1), 48)
    module.requires_grad_(False).get_submodule(table).requires_grad_(True)
    optim = OptimConfig(learning_rate=0.05, precision="fp32")
    optimizer, micro = build_optimizer(module, optim), [next(LocalSession(job).batches(0))]
    losses = [optimise(module, module, optimizer, micro, optim)["train/loss"] for _ in range(20)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("name", ["id_sas", "nrms"])
def test_a_resumed_run_is_the_uninterrupted_one(
    jobs: Callable[[], Jobs], one_worker: Any, one_thread: None, tmp_path: Path, name: str
) -> None:
    own, seen = one_worker
    job = jobs()[name]
    whole = LocalSession(job, checkpoints=tmp_path)
    run(job, whole)
    saved = load_file(tmp_path / "step-4" / "optimizer.safetensors")
    assert {key.rpartition("|")[2] for key in saved if "rows_ND" in key} == {"step", "exp_avg", "exp_avg_sq"}
    resumed = LocalSession(job, resume=tmp_path / "step-4")
    run(job, resumed)
    assert [scalars["step"] for scalars in resumed.logged] == [5.0, 6.0, 7.0, 8.0]
    for ours, theirs in zip(resumed.logged, seen[name]["logged"][4:], strict=True):
        assert ours["train/loss"] == pytest.approx(theirs["train/loss"], abs=1e-6)
    final = load_file(job.folder / "checkpoint" / "model.safetensors")
    expected = load_file(own[name].folder / "checkpoint" / "model.safetensors")
    for key in expected:
        torch.testing.assert_close(final[key], expected[key], rtol=0, atol=1e-6, msg=key)
