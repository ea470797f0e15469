"""Checkpoints: safetensors and JSON, nothing pickled, written whole or not at all.

model.safetensors      what was trained (adapters, or the whole encoder when it was fine-tuned in full)
config.json            run configuration, run id, fingerprints of data and encoder, step
optimizer.safetensors  AdamW's moments; absent from the checkpoint that a finished run leaves behind
whitening.safetensors  the transform of item vectors, where the run was evaluated with one
tokenizer.json         the vocabulary, where words come with the data and not with an encoder
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastelab.modeling.ranker import load_trainable_state, trainable_state
from tastelab.training.trainable import Trainable

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def save_checkpoint(
    module: Trainable,
    about: Mapping[str, Any],
    step: int,
    optimizer: torch.optim.Optimizer | None,
    folder: Path,
    tokenizer: Path | None = None,
) -> None:
    """Write a checkpoint to `folder`, replacing one that is there only when the new one is complete.

    Args:
        module: model and objective.
        about: what `config.json` says of the run.
        step: steps done.
        optimizer: its state is saved too, if given.
        folder: where the checkpoint goes.
        tokenizer: folder of the tokenizer, for a model whose words come with the data and not with an encoder.

    Raises:
        OSError: the disk is full or the folder cannot be written; the sentence names the folder and the step.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _save(trainable_state(module.ranker) | dict(module.objective_state()), partial / "model.safetensors")
        if optimizer is not None:
            _save(_optimizer_state(module, optimizer), partial / "optimizer.safetensors")
        if tokenizer is not None:
            for name in TOKENIZER_FILES:
                shutil.copy(tokenizer / name, partial / name)
        (partial / "config.json").write_text(json.dumps(dict(about) | {"step": step}, indent=2) + "\n")
    except Exception as error:  # safetensors raises an error of its own for a full disk
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(
            f"The checkpoint of step {step} could not be written to {folder.name} ({error}): free space in the "
            "home folder and start again; the previous checkpoint is untouched."
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_checkpoint(
    folder: Path, module: Trainable, optimizer: torch.optim.Optimizer | None
) -> tuple[int, dict[str, Any]]:
    """Load what `save_checkpoint` wrote; return the number of steps done and the curves up to them."""
    state = load_file(folder / "model.safetensors")
    objective = {name: state.pop(name) for name in list(state) if name.startswith("objective.")}
    load_trainable_state(module.ranker, state)
    for name, value in module.objective_state().items():
        value.data.copy_(objective[name])
    if optimizer is not None:
        _load_optimizer_state(module, optimizer, load_file(folder / "optimizer.safetensors"))
    about = json.loads((folder / "config.json").read_text())
    return int(about["step"]), about.get("curves", {})


def _save(tensors: Mapping[str, Tensor], file: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, file)
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _optimizer_state(module: Trainable, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        f"{names[id(parameter)]}|{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def _load_optimizer_state(module: Trainable, optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    for key, value in saved.items():
        name, _, what = key.rpartition("|")
        parameter = parameters[name]
        optimizer.state[parameter][what] = value.to(parameter.device if what != "step" or _fused(optimizer) else "cpu")


def _fused(optimizer: torch.optim.Optimizer) -> bool:
    return any(group.get("fused") for group in optimizer.param_groups)
