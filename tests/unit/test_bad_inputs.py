"""What a user can get wrong on the command line: one sentence and exit code 2, before any work."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import ray
import torch
from click.testing import CliRunner, Result

from tastelab import presets
from tastelab.cli import main
from tastelab.data import tables
from tastelab.data.tables import DatasetWriter, PreparedData
from tastelab.experiment import Choice, Experiment, Float, Size
from tastelab.launch import command

SWEEP = Path(__file__).parents[2] / "experiments" / "lora_rank_sweep.py"


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    """The experiment file, as a module."""
    spec = importlib.util.spec_from_file_location("lora_rank_sweep", SWEEP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may get as far as Ray, an encoder's weights or the writing of a data set."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    monkeypatch.setattr("tastelab.data.synthetic.prepare", refuse)
    monkeypatch.setattr("tastelab.data.catalog.fetch", refuse)


@pytest.fixture
def places(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> dict[str, str]:
    """Options that are right."""
    return {
        "--data": str(tiny_data.path),
        "--encoder": str(tiny_bert),
        "--home": str(tmp_path / "home"),
        "--reports": str(tmp_path / "reports"),
    }


def launch(experiment: Experiment, options: dict[str, Any]) -> Result:
    words = [word for name, value in options.items() for word in ([name] if value is True else [name, str(value)])]
    return CliRunner().invoke(command(experiment, [], []), words)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def sentence(result: Result) -> str:
    """The only sentence that a wrong option leaves; fails for a traceback, another exit code, or several lines."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), "an exception left the command"
    assert "Traceback" not in result.output
    _, _, said = result.output.partition("Error: ")
    said = said.strip()
    assert said.endswith(".")
    assert "\n" not in said
    return said


def below_a_file(folder: Path) -> Path:
    """A place that no user can write, not even root."""
    (folder / "regular-file").write_text("")
    return folder / "regular-file" / "reports"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"--data": "mind-huge"}, r"'mind-huge' is neither a known data set \(synthetic.*\) nor a folder: pass one"),
    ({"--encoder": "./no/such/encoder"}, "There is no encoder folder './no/such/encoder': pass a folder, a hub id"),
    ({"--smoke": True, "--paper": True}, "--smoke and --paper are two sizes: choose one"),
    ({"--trials": 0}, "--trials is 0: use at least 1"),
    ({"--seeds": 0}, "--seeds is 0: use at least 1"),
    ({"--workers": 0}, "Invalid value for '--workers': 0 is not in the range x>=1"),
    ({"--workers": 3}, "A global batch of 8 cannot be shared by 3 workers × accumulation 1: use a global batch of"),
    ({"--accumulation": 16}, "A global batch of 8 cannot be shared by 2 workers × accumulation 16"),
    ({"--accumulation": 2}, "couples 8 impressions, but a micro-step holds 4: set contrast_size to a divisor of 4"),
    ({"--cpus-per-worker": 0}, "CPUs per worker must be above 0, not 0"),
    ({"--cpus-per-worker": 1e6}, "needs 2e\\+06 CPUs .* but the cluster has .*: use fewer workers"),
    ({"--gpus-per-worker": 99}, "needs 198 GPUs .* but the cluster has .*: use fewer workers"),
]


@pytest.mark.parametrize(
    ("wrong", "expected"), WRONG, ids=[" ".join(map(str, next(iter(w.items())))) for w, _ in WRONG]
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry run"])
def test_a_wrong_option_of_an_experiment(
    sweep: ModuleType, places: dict[str, str], wrong: dict[str, Any], expected: str, dry_run: bool
) -> None:
    options = places | {"--smoke": True, "--workers": 2} | wrong | ({"--dry-run": True} if dry_run else {})
    assert re.search(expected, sentence(launch(sweep.experiment, options)))
    assert not list(Path(places["--reports"]).rglob("*.jsonl"))


@pytest.mark.parametrize("option", ["--reports", "--home"])
def test_a_folder_that_cannot_be_written(
    sweep: ModuleType, places: dict[str, str], option: str, tmp_path: Path
) -> None:
    said = sentence(launch(sweep.experiment, places | {option: str(below_a_file(tmp_path))}))
    assert re.search(rf"folder {tmp_path}/regular-file/reports cannot be written \(.+\): pass {option} with", said)


def test_records_that_cannot_be_written(sweep: ModuleType, places: dict[str, str]) -> None:
    (Path(places["--reports"]) / "runs" / "lora_rank_sweep.jsonl").mkdir(parents=True)
    said = sentence(launch(sweep.experiment, places))
    assert re.search(r"The reports folder .* cannot be written \(.+\): pass --reports with", said)


def test_an_encoder_folder_without_weights(
    sweep: ModuleType, places: dict[str, str], tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    options = places | {"--encoder": str(tmp_path)}
    expected = f"The encoder folder {tmp_path} has no weights (*.safetensors): save the encoder as safetensors."
    assert sentence(launch(sweep.experiment, options)) == expected
    assert sentence(call("evaluate", "--data", places["--data"], "--encoder", tmp_path)) == expected


def without(files: list[str], folder: Path) -> Path:
    for split in ("train", "dev"):
        (folder / split).mkdir(parents=True)
        for file in ("news.tsv", "behaviors.tsv"):
            if file not in files:
                (folder / split / file).write_text("")
    return folder


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda folder: without(["behaviors.tsv"], folder),
            r"(train|dev) holds no behaviors\.tsv: the split '\1' needs it",
        ),
        (lambda folder: without(["news.tsv"], folder), r"(train|dev) holds no news\.tsv: the split '\1' needs it"),
        (
            lambda folder: folder,
            r"holds no data set that is known: it must hold train/news\.tsv and train/behaviors\.tsv",
        ),
    ],
    ids=["no behaviors", "no news", "empty"],
)
def test_a_data_folder_without_its_files(
    sweep: ModuleType, places: dict[str, str], make: Callable[[Path], Path], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    folder = make(tmp_path / "raw")
    home = ("--home", tmp_path / "home")
    assert re.search(expected, sentence(launch(sweep.experiment, places | {"--data": str(folder)})))
    assert re.search(expected, sentence(call("data", "prepare", folder, *home)))
    assert re.search(expected, sentence(call("evaluate", "--data", folder, *home)))


def with_rows(experiment: Experiment, *ranks: int) -> Experiment:
    rows = Choice({f"LoRA r={rank}": presets.lora(rank) for rank in ranks})
    return dataclasses.replace(experiment, rows=rows, search={})


def overridden(experiment: Experiment, **overrides: Any) -> Experiment:
    values = {path.replace("__", "."): value for path, value in overrides.items()}
    return dataclasses.replace(experiment, sizes={"default": Size(values)})


def test_a_lora_rank_beyond_the_width(sweep: ModuleType, places: dict[str, str]) -> None:
    said = sentence(launch(with_rows(sweep.experiment, 8, 33), places))
    assert said == "The LoRA rank is 33, the encoder's width 32: choose a rank up to 32."


@pytest.mark.parametrize("rank", [0, -1])
def test_a_lora_rank_below_one(rank: int) -> None:
    with pytest.raises(ValueError, match=f"The LoRA rank is {rank}: choose 1 or more"):
        presets.lora(rank)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_nothing_can_be_divided_by(
    sweep: ModuleType, places: dict[str, str], temperature: float
) -> None:
    fixed = overridden(sweep.experiment, objective__temperature=temperature)
    searched = dataclasses.replace(
        sweep.experiment, search={"objective.temperature": Choice({"right": 0.05, "wrong": temperature})}
    )
    for experiment in (fixed, searched):
        expected = rf"The temperature is {temperature}: choose a number above 0"
        assert re.search(expected, sentence(launch(experiment, places)))


def test_a_range_that_is_empty_or_cannot_be_logarithmic() -> None:
    for low, high, log in ((0.2, 0.1, False), (0.0, 0.1, True)):
        with pytest.raises(ValueError, match="is empty or not positive: give low < high"):
            Float(low, high, log=log)


def test_a_size_that_the_experiment_lacks(sweep: ModuleType, places: dict[str, str]) -> None:
    experiment = dataclasses.replace(sweep.experiment, sizes={"default": Size()})
    said = sentence(launch(experiment, places | {"--paper": True}))
    assert said == "lora_rank_sweep has no size 'paper': choose default."


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"optim__learning_rate": 0.0}, "The learning rate is 0.0: choose a number above 0"),
        ({"data__features": ("titel",)}, "Unknown text feature titel: choose among title"),
        ({"data__validation_share": 0.0}, "validation_share 0.0 of 200 train impressions leaves 0 to validate on"),
        ({"optim__lr": 1e-3}, "OptimConfig has no field 'lr': choose among"),
    ],
)
def test_a_wrong_configuration(
    sweep: ModuleType, places: dict[str, str], overrides: dict[str, Any], expected: str
) -> None:
    assert expected in sentence(launch(overridden(sweep.experiment, **overrides), places))


@pytest.fixture(scope="module")
def unlabelled(tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set without its clicks."""
    folder = tmp_path_factory.mktemp("data") / "unlabelled"
    with DatasetWriter(folder, "unlabelled") as writer:
        writer.write_items(tiny_data.items())
        for split in ("train", "dev"):
            impressions = tiny_data.impressions(split).drop_columns(["row", "labels"])
            kind = tables.IMPRESSIONS.field("labels").type
            writer.write_impressions(
                split, impressions.append_column("labels", tables.pa.nulls(len(impressions), kind))
            )
    return folder


def test_training_on_data_without_labels(sweep: ModuleType, places: dict[str, str], unlabelled: Path) -> None:
    said = sentence(launch(sweep.experiment, places | {"--data": str(unlabelled)}))
    assert said == "The train split of 'unlabelled' has no labels: there is nothing to learn from."


def test_measuring_a_split_without_labels(places: dict[str, str], unlabelled: Path) -> None:
    said = sentence(call("evaluate", "--data", unlabelled, "--encoder", places["--encoder"]))
    assert said == "The dev split of 'unlabelled' has no labels: score it with `tastelab submit` instead."
    assert not (unlabelled / "tokens").exists()


@pytest.mark.parametrize("task", ["evaluate", "submit"])
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--max-history", "0"], "max_history is 0: choose at least 1 click"),
        (["--split", "test"], "'tiny' has no split 'test': it holds dev, train"),
        (["--features", "title,colour"], "Unknown text feature colour: choose among title"),
        (["--checkpoint", "nowhere"], "nowhere is no checkpoint, it has no config.json: pass the folder"),
        (["--data", "nowhere"], "'nowhere' is neither a known data set"),
        (["--encoder", "./nowhere"], "There is no encoder folder './nowhere'"),
        (["--precision", "fp64"], "Invalid value for '--precision': 'fp64' is not one of 'auto', 'bf16', 'fp32'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_of_a_command(
    task: str, wrong: list[str], expected: str, places: dict[str, str], tmp_path: Path
) -> None:
    options = ["--data", places["--data"], "--encoder", places["--encoder"], "--home", tmp_path / "home"]
    output = ["--output", tmp_path / "out.zip"] if task == "submit" else []
    assert expected in sentence(call(task, *options, *output, *wrong))
    assert not (tmp_path / "out.zip").exists()


def test_a_submission_that_cannot_be_written(places: dict[str, str], tmp_path: Path) -> None:
    options = ["submit", "--data", places["--data"], "--encoder", places["--encoder"], "--split", "dev", "--output"]
    assert "does not exist: create it or write elsewhere" in sentence(call(*options, tmp_path / "no" / "out.zip"))
    assert "is a folder: name the zip file to write" in sentence(call(*options, tmp_path))


def test_a_command_line_that_is_right_begins_the_work(sweep: ModuleType, places: dict[str, str]) -> None:
    result = launch(sweep.experiment, places | {"--smoke": True})
    assert isinstance(result.exception, AssertionError), "otherwise no test above could fail"
    assert click.unstyle(result.output) == ""
    assert sys.modules.get("ray") is ray
