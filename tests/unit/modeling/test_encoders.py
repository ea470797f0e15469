"""Finding, identifying and reading encoders."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from tastelab.modeling.encoders import (
    EncoderSource,
    encoder_facts,
    encoder_fingerprint,
    encoder_is_here,
    find_encoder,
    load_tokenizer,
    read_token_pooling,
)


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder that a test may spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "mine"))


def write_pooling(folder: Path, **config: object) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


def test_a_folder_is_named_by_its_last_part(folder: Path) -> None:
    assert find_encoder(str(folder)) == EncoderSource("mine", str(folder))


def test_a_hub_id_is_kept_and_nothing_is_fetched() -> None:
    assert find_encoder("some-org/some-encoder") == EncoderSource("some-org/some-encoder", "some-org/some-encoder")


def test_the_packaged_encoder_is_found(minilm: Path) -> None:
    source = find_encoder("all-MiniLM-L6-v2")
    assert (source.label, Path(source.path)) == ("all-MiniLM-L6-v2", minilm)


def test_a_missing_package_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'tastelab\[minilm\]'"):
        find_encoder("all-MiniLM-L6-v2")


@pytest.mark.parametrize("name", ["/no/such/folder", "./encoder", "a b"])
def test_a_path_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="There is no encoder folder"):
        find_encoder(name)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="no weights"):
        find_encoder(str(folder))


def test_pickled_weights_alone_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="save the encoder as safetensors"):
        find_encoder(str(folder))


def test_a_folder_without_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json"):
        find_encoder(str(folder))


def test_an_unknown_hub_id_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="pass its folder"):
        encoder_fingerprint("some-org/not-in-any-cache")


def test_the_fingerprint_is_of_the_content_alone(folder: Path, tiny_bert: Path) -> None:
    assert encoder_fingerprint(str(folder)) == encoder_fingerprint(str(tiny_bert))
    (folder / "README.md").write_text("a note")
    assert encoder_fingerprint(str(folder)) == encoder_fingerprint(str(tiny_bert))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_the_fingerprint_changes_with_each_file_that_matters(folder: Path, name: str) -> None:
    before = encoder_fingerprint(str(folder))
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert encoder_fingerprint(str(folder)) != before
    assert len(before) == 12


@pytest.mark.parametrize("mode", [("mean", "mean_tokens"), ("cls", "cls_token"), ("last", "lasttoken")])
def test_token_pooling_is_read_in_both_layouts(folder: Path, mode: tuple[str, str]) -> None:
    ours, theirs = mode
    write_pooling(folder, embedding_dimension=32, pooling_mode="lasttoken" if ours == "last" else ours)
    assert read_token_pooling(str(folder)) == ours
    legacy = {
        f"pooling_mode_{name}": name == theirs for name in ("mean_tokens", "cls_token", "lasttoken", "max_tokens")
    }
    write_pooling(folder, word_embedding_dimension=32, **legacy)
    assert read_token_pooling(str(folder)) == ours


def test_token_pooling_is_the_mean_where_nothing_is_said(folder: Path) -> None:
    assert read_token_pooling(str(folder)) == "mean"


@pytest.mark.parametrize("mode", ["max", ["mean", "cls"]])
def test_a_pooling_that_is_not_supported_is_refused(folder: Path, mode: object) -> None:
    write_pooling(folder, pooling_mode=mode)
    with pytest.raises(ValueError, match="set token_pooling"):
        read_token_pooling(str(folder))


def test_facts_and_tokenizer_are_the_encoders(tiny_encoder: Path) -> None:
    facts = encoder_facts(str(tiny_encoder))
    assert (facts.width, facts.num_layers, facts.max_tokens) == (32, 2, 64)
    assert load_tokenizer(str(tiny_encoder))("ab c")["input_ids"] == [2, 5, 32, 7, 3]


def test_a_folder_is_here_and_a_hub_id_that_was_never_fetched_is_not(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert encoder_is_here(str(tiny_encoder))
    assert not encoder_is_here("nobody/never-fetched")


def test_a_hub_id_is_here_once_its_weights_are(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that was cut off leaves a snapshot without weights: the encoder is not here, and that is no error."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    folder = tmp_path / "models--some-org--tiny" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(commit)
    for name in ("config.json", "model.safetensors"):
        assert not encoder_is_here("some-org/tiny")
        shutil.copy(tiny_bert / name, folder / name)
    assert encoder_is_here("some-org/tiny")
    assert encoder_facts("some-org/tiny").width == 32


@pytest.mark.parametrize(
    ("changed", "layers", "tokens"),
    [({"num_hidden_layers": 1}, 1, 64), ({"max_position_embeddings": 512}, 2, 512)],
)
def test_facts_are_read_without_weights(folder: Path, changed: dict[str, int], layers: int, tokens: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    (folder / "model.safetensors").write_bytes(b"never read")
    facts = encoder_facts(str(folder))
    assert (facts.width, facts.num_layers, facts.max_tokens) == (32, layers, tokens)


def test_an_encoder_that_names_no_limit_has_none_to_speak_of(folder: Path) -> None:
    """As T5 does, whose positions are relative."""
    t5 = {"model_type": "t5", "d_model": 48, "num_layers": 3}
    (folder / "config.json").write_text(json.dumps(t5))
    facts = encoder_facts(str(folder))
    assert (facts.width, facts.num_layers) == (48, 3)
    assert facts.max_tokens >= 10**6
