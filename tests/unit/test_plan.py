"""`--dry-run` of every experiment file: what it says, from what, and that it fetches and runs nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import ray
import torch
from click.testing import CliRunner

from tastelab.config import run_id
from tastelab.data import catalog
from tastelab.data.catalog import MIND, PUBLISHED, resolve
from tastelab.data.domains import domains, impression_domains
from tastelab.experiment import Experiment, TrainedOn
from tastelab.launch import command
from tastelab.stage import num_fitted

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.py"))
SHOWN = r"Batch .*?(\d[\d,]*) training (?:impressions|clicks) × (\d+) epochs = (\d[\d,]*) steps"


def module_of(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each experiment file in turn."""
    return module_of(request.param)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that holds the small synthetic worlds, as after first smoke runs."""
    folder = tmp_path_factory.mktemp("home")
    resolve("synthetic-smoke,synthetic", folder, progress=False)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no cluster, no model, and an encoder cache that is empty."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    monkeypatch.setattr("tastelab.data.synthetic.prepare", refuse)
    monkeypatch.setattr(catalog, "fetch", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def plan_of(home: Path, tmp_path: Path) -> Callable[..., str]:
    """Function that returns what an experiment says on `--dry-run`."""

    def plan(experiment: Experiment, *words: str) -> str:
        places = ["--home", str(home), "--reports", str(tmp_path / "reports"), "--cpus-per-worker", "0.1"]
        result = CliRunner().invoke(command(experiment, [], []), ["--dry-run", *places, *words])
        assert result.exit_code == 0, result.output
        assert not (tmp_path / "reports").exists(), "a plan leaves nothing behind"
        return result.output

    return plan


def number(text: str) -> int:
    return int(text.replace(",", ""))


def unit(experiment: Experiment) -> str:
    return "impressions" if experiment.base.retrieval is None else "clicks"


def check_plan(plan: str, experiment: Experiment, size: str, num_train: int, names: tuple[str, ...] = ()) -> None:
    """Compare a plan with what its experiment and size hold, counted here; `names` are domains of data at hand."""
    chosen = experiment.size(size)
    experiment = experiment.on(names) if names else experiment
    rows = experiment.at(chosen).rows.values
    cells = len(rows) * len(chosen.seeds)
    assert f"Cells    {len(rows)} rows × {len(chosen.seeds)} seeds = {cells} final runs: {'; '.join(rows)}\n" in plan
    trials = max(chosen.trials, len(rows)) if experiment.search else 0
    assert (f"{trials} trials over " if experiment.search else "no search") in plan
    assert f"Cost     {trials + cells} runs" in plan
    assert f"{experiment.name}, size {size}: {experiment.question.strip().splitlines()[0]}\n" in plan
    base = experiment.based(chosen, chosen.dataset, chosen.encoder)
    seen = {tuple(map(number, found)) for found in re.findall(SHOWN, plan)}
    expected = set()
    for point in experiment.at(chosen).grid(base):
        optim = point.config.optim
        trained = min(num_train, point.config.data.train_impressions or num_train)
        expected.add((trained, optim.epochs, -(-trained // optim.global_batch) * optim.epochs))
        assert f"{optim.global_batch} {unit(experiment)} = " in plan
    assert seen == expected


def test_every_file_plans_its_own_size_of_the_source_without_data_or_encoder(
    module: ModuleType, plan_of: Callable[..., str]
) -> None:
    experiment: Experiment = module.experiment
    if "paper" not in experiment.sizes:  # a simulation is of no published size
        assert experiment.base.retrieval is not None and experiment.base.retrieval.simulation is not None
        return
    named = experiment.size("paper").dataset
    if named not in PUBLISHED:
        assert named.startswith("exposure"), "a world that is made, whatever its size"
        return
    plan = plan_of(experiment, "--paper")
    train = PUBLISHED[named].train
    check_plan(plan, experiment, "paper", train - round(train * experiment.base.data.validation_share))
    reported = f"{PUBLISHED[named].dev:,} {unit(experiment)}"
    assert f"{named} (not here yet, sizes as published), reported on dev ({reported})" in plan
    assert f"Encoder  {experiment.size('paper').encoder} (not here yet)\n" in plan
    flops = re.search(r"Cost .* PFLOP in all = [\d.,]+ GPU-hours at a sustained 100 TFLOP/s, an assumption", plan)
    assert bool(flops) == (experiment.base.retrieval is None)
    assert re.search(r"Trial    \d+ workers × 0.1 CPU", plan)


def test_every_file_plans_its_smoke_run(
    module: ModuleType, plan_of: Callable[..., str], home: Path, minilm: Path
) -> None:
    experiment: Experiment = module.experiment
    plan = plan_of(experiment, "--smoke")
    data = resolve(experiment.size("smoke").dataset, home)
    names = domains(data) if experiment.probe_domains else ()
    num_train = num_fitted(data, experiment.based(experiment.size("smoke"), data.name, "all-MiniLM-L6-v2"))[0]
    ranks = experiment.base.retrieval is None
    check_plan(plan, experiment, "smoke", data.num_impressions("train") if ranks else num_train, names)
    assert f"Data     {data.name} ({data.fingerprint}), reported on dev" in plan
    assert re.search(r"Encoder  all-MiniLM-L6-v2 \([0-9a-f]{12}\)\n", plan)
    assert "= 1 workers × 1 micro-steps × " in plan


def test_no_two_rows_of_a_file_are_one_run(module: ModuleType) -> None:
    """Neither the frozen baseline, nor any row at any size, is the run of another row."""
    experiment: Experiment = module.experiment
    for size in experiment.sizes.values():
        base = experiment.based(size, size.dataset, size.encoder)
        ids = [run_id(point.config, "data", "encoder") for point in experiment.at(size).grid(base)]
        assert len(set(ids)) == len(ids)


def groups(shown: Any) -> set[str]:
    """Rows that a table or figure declares, as pairs of group and label or as groups alone."""
    return {row if isinstance(row, str) else row[0] for row in shown.rows or ()}


def test_a_table_and_its_figures_name_the_rows_of_the_file(module: ModuleType) -> None:
    rows = set(module.experiment.rows.values)
    by_data = isinstance(module.experiment.rows, TrainedOn)  # its rows are known when the data are
    for shown in (*module.tables, *getattr(module, "plots", ())):
        assert groups(shown) <= rows
    for table in module.tables:
        assert by_data == (table.rows is None)
        assert set(getattr(table, "published", {})) <= rows
    assert by_data or set().union(*map(groups, module.tables)) == rows, "a row that runs is shown"


@pytest.fixture(scope="module")
def losses() -> Experiment:
    experiment: Experiment = module_of(FOLDER / "losses.py").experiment
    return experiment


def test_data_of_unknown_size_are_not_given_a_published_one(losses: Experiment, plan_of: Callable[..., str]) -> None:
    unknown = next(name for name in MIND if name not in PUBLISHED)
    plan = plan_of(losses, "--paper", "--data", unknown)
    assert f"{unknown} (not here yet, its size is not known)" in plan
    assert "so their time is not known" in plan


def test_a_domain_with_less_than_the_cap_trains_on_what_it_has(plan_of: Callable[..., str], home: Path) -> None:
    transfer: Experiment = module_of(FOLDER / "domain_transfer.py").experiment
    plan = plan_of(transfer, "--train-impressions", "100000")
    data = resolve(transfer.size("default").dataset, home)
    names = domains(data)
    num = np.bincount(impression_domains(data, "train"))
    lines = [line for line in plan.splitlines() if line.startswith("Batch")]
    fitted = [n - round(n * transfer.base.data.validation_share) for n in num]
    assert len(set(fitted)) == len(names) == 2
    for name, count in zip((*names, "All domains"), (*fitted, sum(fitted)), strict=True):
        assert sum(f"{name}: " in line and f"; {count:,} training impressions" in line for line in lines) == 1, name


def test_a_row_that_batches_in_another_way_has_a_line_of_its_own(plan_of: Callable[..., str]) -> None:
    table: Experiment = module_of(FOLDER / "main_table.py").experiment
    other = {**dict(table.rows.values), "ID-SAS BCE": {**table.rows.values["ID-SAS BCE"], "optim.global_batch": 64}}
    plan = plan_of(dataclasses.replace(table, rows=type(table.rows)(other)), "--paper")
    lines = [line for line in plan.splitlines() if line.startswith("Batch")]
    assert len(lines) == 2
    assert lines[1].startswith("Batch    ID-SAS BCE: 64 impressions = 2 workers × 1 micro-steps × 32;")
    assert "NRMS; Bi-Encoder BCE" in lines[0]
    assert "ID-SAS" not in lines[0]
