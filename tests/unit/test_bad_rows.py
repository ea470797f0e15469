"""Rows, sizes and searches of an experiment that cannot run: one sentence and exit code 2, planned or run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from click.testing import CliRunner, Result

from tastelab import presets
from tastelab.config import Scorer
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import build_store
from tastelab.experiment import Choice, Experiment, Size, Variants
from tastelab.launch import command

EXPERIMENT = Experiment(
    name="bad_rows",
    question="What is refused?",
    base=presets.full_bi_encoder(data__max_tokens=16, optim__global_batch=8),
    group="row",
    rows=Variants({"row": {}}),
    sizes={"default": Size(seeds=(0,))},
)
COSINE = presets.loss("cosine_embedding")
WEIGHT = "objective.auxiliaries.{}.weight"

Launch = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may get as far as Ray, an encoder's weights or the tokens of a data set."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    monkeypatch.setattr("tastelab.stage.build_store", refuse)


@pytest.fixture
def launch(tiny_data: PreparedData, tiny_bert: Path, tmp_path: Path) -> Launch:
    """Function that launches the experiment, changed, with options that are right beside those given."""
    places = {"--data": tiny_data.path, "--encoder": tiny_bert, "--home": tmp_path / "home"}
    places |= {"--reports": tmp_path / "reports", "--workers": 1, "--cpus-per-worker": 0.1}
    words = [str(word) for pair in places.items() for word in pair]

    def invoke(*more: str, **changes: Any) -> Result:
        made = dataclasses.replace(EXPERIMENT, **changes)
        return CliRunner().invoke(command(made, [], []), [*words, *more])

    return invoke


def sentence(result: Result) -> str:
    """The only sentence that is said; fails for a traceback, another exit code, or several lines."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), "an exception left the command"
    said = result.output.partition("Error: ")[2].strip()
    assert said.endswith(".")
    assert "\n" not in said
    return said


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "redundancy": (
        presets.cross_encoder() | {WEIGHT.format("redundancy"): 0.1},
        "redundancy compares item vectors, and cross_encoder encodes no item alone",
    ),
    "uniformity": (
        presets.cross_encoder() | {WEIGHT.format("uniformity"): 0.1},
        "uniformity compares item vectors, and cross_encoder encodes no item alone",
    ),
    "id_sas": (
        presets.id_sas() | {"model.adaptation": presets.full()},
        "ID-SAS trains a table of items, not the encoder, but model.adaptation is 'full': set it to 'frozen'",
    ),
    "cosine, cross_encoder": (presets.cross_encoder() | COSINE, "and that of cross_encoder has no bounds"),
    "cosine, nrms": (presets.nrms() | COSINE, "and that of nrms has no bounds"),
    "cosine, mlp": ({"model.scorer": Scorer.named("mlp")} | COSINE, "and that of scorer 'mlp' has no bounds"),
    "whitening": (
        presets.nrms() | {"evaluation.whitening": True},
        "Whitening transforms the item vectors of a bi-encoder, not of nrms: leave it out",
    ),
    "sasrec": (
        {"model.pooling": presets.pooling("sasrec", num_heads=4, max_positions=8)},
        "A history has up to 50 clicks, SASRec 8 positions: raise its max_positions, or lower max_history",
    ),
    "heads": (
        {"model.pooling": presets.pooling("sasrec", num_heads=6)},
        "6 heads do not divide the width 32: choose a divisor of it as num_heads",
    ),
    "layers": ({"model.encoder.num_layers": 3}, "num_layers is 3, the encoder has 2: choose 1 to 2"),
    "tokens": ({"data.max_tokens": 65}, "max_tokens is 65, but tiny-bert reads at most 64 tokens: choose at most 64"),
    "rank": ({"model.adaptation": presets.lora(33)}, "The LoRA rank is 33, the encoder's width 32: choose a rank up"),
    "no field": ({"model.encoder.layers": 2}, "EncoderConfig has no field 'layers': choose among name, token_pooling"),
    "no encoder": (
        {"model.encoder.name": "./nowhere"},
        "There is no encoder folder './nowhere': pass a folder, a hub id, or all-MiniLM-L6-v2",
    ),
}


@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry run"])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_cannot_run(name: str, launch: Launch, dry_run: bool, tmp_path: Path) -> None:
    row, expected = ROWS[name]
    said = sentence(launch(*["--dry-run"] * dry_run, rows=Variants({"fine": {}, "wrong": row})))
    assert expected in said
    assert not list((tmp_path / "reports").rglob("*.jsonl"))


@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry run"])
def test_a_search_that_would_try_what_cannot_run(launch: Launch, dry_run: bool) -> None:
    ranks = {"model.adaptation": Choice({"8": presets.lora(8), "33": presets.lora(33)})}
    assert "The LoRA rank is 33" in sentence(launch(*["--dry-run"] * dry_run, search=ranks))
    weights = {WEIGHT.format("redundancy"): Choice.of(0.0, 0.1)}
    said = sentence(launch(*["--dry-run"] * dry_run, search=weights, rows=Variants({"X": presets.cross_encoder()})))
    assert said.startswith("Row 'X': redundancy compares item vectors")


@pytest.mark.parametrize("size", [Size(only=("rwo",)), Size(rows={"rwo": {"optim.epochs": 2}})])
def test_a_size_that_names_no_row(launch: Launch, size: Size) -> None:
    assert sentence(launch(sizes={"default": size})) == "bad_rows has no row 'rwo': choose among row."


def test_an_encoder_that_is_not_to_be_had(launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = Variants({"far": {"model.encoder.name": "some-org/some-encoder"}})
    assert "The encoder 'some-org/some-encoder' is neither a folder, nor a packaged" in sentence(launch(rows=rows))
    assert launch("--dry-run", rows=rows).exit_code == 0, "a plan asks for nothing that is not here"


@pytest.mark.parametrize("dry_run", [False, True], ids=["run", "dry run"])
def test_word_vectors_that_are_not_there(launch: Launch, dry_run: bool, tmp_path: Path) -> None:
    said = sentence(launch(*["--dry-run"] * dry_run, "--glove", str(tmp_path / "glove.txt")))
    assert said == (
        f"The word vectors {tmp_path}/glove.txt cannot be read (No such file or directory): "
        "pass a text file of vectors."
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("the 1 2\nof 1\nand 1 2 3\n", "2 of the 3 lines of .* are no word with its vector: pass a text file"),
        ("zzyzx 1 2\n", "has no vector of any word of the data set: pass vectors of the data's language"),
    ],
    ids=["malformed", "foreign"],
)
def test_word_vectors_that_are_none(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, content: str, expected: str, tmp_path: Path
) -> None:
    monkeypatch.setattr("tastelab.stage.build_store", build_store)  # the base is tokenised before the words are read
    (tmp_path / "glove.txt").write_text(content)
    said = sentence(launch("--glove", str(tmp_path / "glove.txt"), rows=Variants({"NRMS": presets.nrms()})))
    assert re.search(expected, said)
    assert not list((tmp_path / "reports").rglob("*.jsonl"))


RIGHT: dict[str, dict[str, Any]] = {
    "k larger than the history": {"model.pooling": presets.pooling("top_k", k=99), "data.max_history": 3},
    "the whole width": {"model.adaptation": presets.lora(32)},
    "the whole encoder": {"model.encoder.num_layers": 2, "data.max_tokens": 64},
    "one position a click": {"model.pooling": presets.pooling("sasrec", num_heads=4, max_positions=50)},
    "long texts of words": presets.nrms() | {"data.max_tokens": 500},
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_row_at_its_limit_begins_the_work(name: str, launch: Launch) -> None:
    """Otherwise no test above could fail."""
    result = launch(rows=Variants({"row": RIGHT[name]}))
    assert isinstance(result.exception, AssertionError), result.output
    assert launch("--dry-run", rows=Variants({"row": RIGHT[name]})).exit_code == 0
