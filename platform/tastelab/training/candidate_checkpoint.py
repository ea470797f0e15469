"""A checkpoint of candidate generation → its towers over the data that they were trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tastelab.config import ClusterConfig, RunConfig, from_dict
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import ItemTexts, build_store, store_path
from tastelab.modeling.candidates import CandidateModel
from tastelab.modeling.encoders import encoder_fingerprint, find_encoder, load_tokenizer
from tastelab.modeling.ranker import load_trainable_state
from tastelab.training.catalogue import reads_text
from tastelab.training.job import Job
from tastelab.training.retrieve import settle


def load_candidates(
    folder: Path, data: PreparedData, encoder: str | None = None, device: str | torch.device = "cpu"
) -> tuple[CandidateModel, RunConfig, dict[str, Any]]:
    """Rebuild the towers of a checkpoint, ready to retrieve.

    Args:
        folder: the checkpoint of a finished run.
        data: the prepared data set that it was trained on: its items are the catalogue.
        encoder: folder, package name or hub id of the encoder, where its name in the checkpoint is not enough.
        device: where the towers go.

    Returns:
        The towers, the configuration of the run, and all that the checkpoint says of it.

    Raises:
        ValueError: the folder is no such checkpoint, or data or encoder are not those that it was trained with.
    """
    about = _read_about(folder)
    config = from_dict(RunConfig, about["config"])
    if about["data"]["fingerprint"] != data.fingerprint:
        raise ValueError(
            f"The checkpoint {folder} was trained on {about['data']['name']} ({about['data']['fingerprint']}), and "
            f"{data.name} has the fingerprint {data.fingerprint}: pass the data that it was trained on."
        )
    job = _job(folder, data, config, about, encoder)
    model = settle(job, torch.device(device)).model
    try:
        state = load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'} is damaged ({error}): pass another checkpoint.") from error
    load_trainable_state(model, {name: v for name, v in state.items() if not name.startswith("objective.")})
    return model.eval(), config, about


def _read_about(folder: Path) -> dict[str, Any]:
    if missing := [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]:
        raise ValueError(
            f"{folder} is no checkpoint, it has no {missing[0]}: pass the folder of a finished run's checkpoint."
        )
    try:
        about: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        retrieves = about["config"].get("retrieval")
        if retrieves:
            about["run_id"], about["encoder"]["name"], about["encoder"]["fingerprint"], about["data"]["fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / 'config.json'} does not describe a run: pass a checkpoint that tastelab wrote."
        ) from error
    if not retrieves:
        raise ValueError(
            f"The checkpoint {folder} was trained to rank, not to retrieve: pass one of "
            "candidate_generation.py, or use `tastelab rank`."
        )
    return about


def _job(folder: Path, data: PreparedData, config: RunConfig, about: dict[str, Any], encoder: str | None) -> Job:
    """Describe the run again; texts are tokenised where the item tower reads them."""
    assert config.retrieval is not None
    store, path, fingerprint = Path(), "", str(about["encoder"]["fingerprint"])
    if reads_text(config.retrieval, data):
        path = find_encoder(encoder or about["encoder"]["name"]).path
        if (found := encoder_fingerprint(path)) != fingerprint:
            raise ValueError(
                f"The checkpoint {folder} was trained on the encoder {about['encoder']['name']} with the fingerprint "
                f"{fingerprint}, and {path} has {found}: pass the encoder it was trained with."
            )
        texts = ItemTexts.of(config)
        store = store_path(data, texts, config.model.encoder.name, fingerprint)
        build_store(data, texts, store, load_tokenizer(path))
    return Job(str(about["run_id"]), config, ClusterConfig(reuse_mb=0), data.path, store, path, fingerprint)
