"""A checkpoint folder → the trained ranker, its tokenizer and the configuration it was trained with.

model.safetensors   `trainable_state` of the ranker; names under `objective.` belong to training and are left out
config.json         {"config": RunConfig, "encoder": {"name", "fingerprint"}, …}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tastelab.config import RunConfig, from_dict
from tastelab.data.words import load_words
from tastelab.evaluation.whitening import Whitening
from tastelab.modeling.encoders import EncoderSource, encoder_fingerprint, find_encoder, load_tokenizer
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, load_trainable_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Trained:
    """A trained ranker, ready to score, with what it was trained on."""

    ranker: Ranker
    tokenizer: PreTrainedTokenizerBase
    config: RunConfig
    encoder: EncoderSource
    encoder_fingerprint: str
    about: dict[str, Any]
    """Everything that the checkpoint says of its run."""
    whitening: Whitening | None = None
    """Transform of item vectors before they are scored, where the run was evaluated with one."""


def open_checkpoint(folder: str | Path, encoder: str | None = None, device: str | torch.device = "cpu") -> Trained:
    """Rebuild the ranker of a checkpoint, in evaluation mode.

    Args:
        folder: the checkpoint.
        encoder: folder, package name or hub id of the encoder, where the name in the checkpoint is not enough.
        device: where the ranker goes.

    Raises `ValueError` where the folder is no checkpoint, or the encoder is not the one it was trained with.
    """
    folder = Path(folder).expanduser()
    about = _read_about(folder)
    config = from_dict(RunConfig, about["config"])
    words = (folder / "tokenizer.json").is_file()  # the words came with the data: the checkpoint carries them
    if words:
        source, fingerprint = EncoderSource("words", str(folder)), str(about["encoder"]["fingerprint"])
    else:
        source = find_encoder(encoder or about["encoder"]["name"])
        fingerprint = encoder_fingerprint(source.path)
    if fingerprint != about["encoder"]["fingerprint"]:
        raise ValueError(
            f"The checkpoint {folder} was trained on the encoder {about['encoder']['name']} with the fingerprint "
            f"{about['encoder']['fingerprint']}, and {source.path} has {fingerprint}: "
            "pass the encoder it was trained with."
        )
    # Here each item is encoded once: what frozen layers gave would be kept for nothing.
    trained_on = about.get("data", {})
    resources = Resources(
        source.path,
        num_items=int(trained_on.get("num_items", 0)),
        reuse_mb=0,
        has_feedback=bool(trained_on.get("has_feedback")),
    )
    ranker = build_ranker(config.model, resources, config.seed)
    load_trainable_state(ranker, _read_state(folder))
    tokenizer = load_words(folder) if words else load_tokenizer(source.path)
    whitening = _read_whitening(folder, device) if config.evaluation.whitening else None
    return Trained(ranker.to(device).eval(), tokenizer, config, source, fingerprint, about, whitening)


def _read_about(folder: Path) -> dict[str, Any]:
    if missing := [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder} is no checkpoint, it has no {missing[0]}: pass the folder of a finished run's checkpoint."
        )
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        retrieves = about["config"].get("retrieval")
        about["encoder"]["name"], about["encoder"]["fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / 'config.json'} does not describe a run: pass a checkpoint that tastelab wrote."
        ) from error
    if retrieves:
        raise ValueError(
            f"The checkpoint {folder} was trained to retrieve, not to rank: use `tastelab retrieve`, or pass the "
            "checkpoint of a ranking run."
        )
    return dict(about)


def _read_whitening(folder: Path, device: str | torch.device) -> Whitening:
    if not (file := folder / "whitening.safetensors").is_file():
        raise ValueError(
            f"The run of {folder} was evaluated on whitened vectors, and {file.name} is not there: pass the checkpoint "
            "that the finished run left."
        )
    return Whitening.load(file, device)


def _read_state(folder: Path) -> dict[str, torch.Tensor]:
    try:
        state = load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'} is damaged ({error}): pass another checkpoint.") from error
    return {name: value for name, value in state.items() if not name.startswith("objective.")}
