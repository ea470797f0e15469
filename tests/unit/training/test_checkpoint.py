"""Checkpoints: everything that training goes on from, whole or not at all, and nothing pickled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tastelab.modeling.ranker import build_ranker
from tastelab.training.checkpoint import load_checkpoint, save_checkpoint
from tastelab.training.job import Job
from tastelab.training.local import LocalSession
from tastelab.training.module import TrainingModule, normaliser
from tastelab.training.optim import build_optimizer

MakeJob = Callable[..., Job]
Made = tuple[TrainingModule, torch.optim.Optimizer]


def make(job: Job, seed: int = 0) -> Made:
    module = TrainingModule(
        build_ranker(job.config.model, job.encoder_path, seed=seed), job.config.objective, job.contrast_size
    )
    return module, build_optimizer(module, job.config.optim)


@pytest.fixture
def trained(job: Job) -> Made:
    """Module and optimiser after two steps."""
    module, optimizer = make(job)
    batches = LocalSession(job).batches(0)
    for batch in (next(batches), next(batches)):
        optimizer.zero_grad()
        module(batch, normaliser([batch], 12))[0].backward()
        optimizer.step()
    return module, optimizer


def states(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.Tensor]]:
    return [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]


def test_what_is_saved_is_loaded_to_the_last_bit(job: Job, trained: Made, tmp_path: Path) -> None:
    module, optimizer = trained
    save_checkpoint(module, {"run_id": "abc"}, 7, optimizer, tmp_path / "made")
    other, its_optimizer = make(job, seed=5)
    ours = {n: p for n, p in module.named_parameters() if p.requires_grad}
    assert any(not torch.equal(p, ours[n]) for n, p in other.named_parameters() if p.requires_grad)
    assert load_checkpoint(tmp_path / "made", other, its_optimizer)[0] == 7
    theirs = {n: p for n, p in other.named_parameters() if p.requires_grad}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for saved, loaded in zip(states(optimizer), states(its_optimizer), strict=True):
        assert saved.keys() == loaded.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(saved[key], loaded[key]) for key in saved)
    assert float(states(its_optimizer)[0]["step"]) == 2.0
    assert other.temperature().item() == module.temperature().item() != pytest.approx(0.1)


def test_nothing_is_pickled(job: Job, trained: Made, tmp_path: Path) -> None:
    module, optimizer = trained
    save_checkpoint(module, job.about(), 7, optimizer, tmp_path / "made")
    files = {file.name for file in (tmp_path / "made").iterdir()}
    assert files == {"model.safetensors", "optimizer.safetensors", "config.json"}
    for file in (tmp_path / "made").glob("*.safetensors"):
        length = int.from_bytes(file.read_bytes()[:8], "little")
        assert json.loads(file.read_bytes()[8 : 8 + length])
        assert load_file(file)
    about = json.loads((tmp_path / "made" / "config.json").read_text())
    assert about.keys() == {"run_id", "config", "encoder", "data", "method_version", "step"}
    assert (about["step"], about["run_id"]) == (7, job.run_id)
    assert about["data"] == {"name": "tiny", "fingerprint": job.open_data().fingerprint, "num_items": 60}


def test_a_finished_run_leaves_no_moments(trained: Made, tmp_path: Path) -> None:
    save_checkpoint(trained[0], {}, 8, None, tmp_path / "made")
    assert {file.name for file in (tmp_path / "made").iterdir()} == {"model.safetensors", "config.json"}
    assert load_checkpoint(tmp_path / "made", trained[0], None)[0] == 8


def test_adapters_are_saved_without_the_encoder(trained: Made, tmp_path: Path) -> None:
    save_checkpoint(trained[0], {}, 1, None, tmp_path / "made")
    names = load_file(tmp_path / "made" / "model.safetensors")
    assert all("lora_" in n or n.startswith(("pooling.", "objective.temperature.")) for n in names)
    assert "objective.temperature.log_value" in names


def test_a_new_checkpoint_replaces_the_old(job: Job, trained: Made, tmp_path: Path) -> None:
    module, optimizer = trained
    save_checkpoint(module, {}, 1, optimizer, tmp_path / "made")
    save_checkpoint(module, {}, 2, None, tmp_path / "made")
    assert load_checkpoint(tmp_path / "made", make(job)[0], None)[0] == 2
    assert not (tmp_path / "made" / "optimizer.safetensors").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["made"]


def test_a_checkpoint_of_another_model_is_refused(make_job: MakeJob, trained: Made, tmp_path: Path) -> None:
    save_checkpoint(trained[0], {}, 1, None, tmp_path / "made")
    module, _ = make(make_job({"model.adaptation.rank": 2}))
    with pytest.raises(ValueError, match="The checkpoint does not fit the model"):
        load_checkpoint(tmp_path / "made", module, None)


FULL_DISK = """
import pickle, resource, signal, sys
from pathlib import Path
from tastelab.modeling.ranker import build_ranker
from tastelab.training.checkpoint import save_checkpoint
from tastelab.training.module import TrainingModule

folder = Path(sys.argv[1])
job = pickle.loads((folder / "job.pickle").read_bytes())
module = TrainingModule(build_ranker(job.config.model, job.encoder_path), job.config.objective, 12)
save_checkpoint(module, job.about(), 3, None, folder / "made")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_checkpoint(module, job.about(), 9, None, folder / "made")
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_is_told_in_a_sentence_and_costs_nothing(job: Job, tmp_path: Path) -> None:
    """Files may hold 4 KiB in a process of its own: less than the weights."""
    import pickle

    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "platform"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "The checkpoint of step 9 could not be written to made (" in done.stdout
    assert "free space in the home folder and start again; the previous checkpoint is untouched." in done.stdout
    assert load_checkpoint(tmp_path / "made", make(job)[0], None)[0] == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["job.pickle", "made"]


def test_a_folder_that_cannot_be_written_is_named(trained: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="The checkpoint of step 4 could not be written to made"):
        save_checkpoint(trained[0], {}, 4, None, tmp_path / "file" / "made")
