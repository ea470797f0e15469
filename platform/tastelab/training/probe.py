"""A trained model measured once more: under other texts, or on a part of the impressions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from safetensors.torch import load_file
from torch import Tensor

from tastelab.config import RunConfig, from_dict
from tastelab.data.order import fitting_and_validation, row_groups
from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import open_store
from tastelab.evaluation.evaluate import Evaluation, evaluate, tables
from tastelab.evaluation.pipeline import catalogue, pipeline
from tastelab.evaluation.slices import slices
from tastelab.evaluation.whitening import Whitening
from tastelab.metrics import ranking
from tastelab.modeling.ranker import Ranker, Resources, build_ranker, load_trainable_state
from tastelab.training.job import Job, reading_key

Ints = npt.NDArray[np.int64]


def probe(job: Job, others: Sequence[Job], device: torch.device) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Measure the model that a run left behind as other jobs read and evaluate.

    What differs only in which impressions count is cut from the values that the run kept: no item is encoded again.

    Args:
        job: the finished run; its checkpoint is in the home folder.
        others: jobs that differ from it in what is read of texts and histories, or in what is measured.
        device: where to compute.

    Yields:
        Each of `others` with its result: metrics, counts, slices. They come in an order of their own.

    Raises:
        ValueError: the checkpoint does not fit, or other texts were cut into the tokens of another vocabulary.
        OSError: it is not there.
    """
    data = job.open_data()
    seen = fitting_and_validation(data, job.config.data)[0] if job.config.optim.epochs else np.zeros(0, np.int64)
    ranker: Ranker | None = None
    for _, group in groupby(sorted(others, key=_reading), key=_reading):
        same = list(group)
        if _reading(same[0]) == _reading(job):
            whole = kept_values(job)
        else:
            ranker = ranker or load_model(job, data, device)
            whole = _measure(ranker, same[0], job, data, device)
        for other in same:
            split, rows = other.evaluation_rows(data)
            yield other, cut(data, split, whole, rows, seen, other.config.data.max_history)


def load_model(job: Job, data: PreparedData, device: torch.device) -> Ranker:
    """Load the model that a run left in the home folder, ready to score."""
    resources = Resources(
        job.encoder_path, job.cluster.token_budget, data.num_items, reuse_mb=0, has_feedback=data.has_feedback
    )
    ranker = build_ranker(job.config.model, resources, job.config.seed)
    state = load_file(job.folder / "checkpoint" / "model.safetensors")
    load_trainable_state(ranker, {name: v for name, v in state.items() if not name.startswith("objective.")})
    return ranker.to(device).eval()


def kept_values(job: Job) -> Evaluation:
    """Read the values of every impression that a run kept of its final evaluation."""
    with np.load(job.folder / "impressions.npz") as file:
        values = {name: file[name] for name in file.files}
    rows = values.pop("rows")
    order = np.argsort(rows)
    return Evaluation(rows[order], {name: value[order] for name, value in values.items()}, {}, {})


def cut(
    data: PreparedData, split: str, whole: Evaluation, rows: Ints, seen_rows: Ints, max_history: int
) -> dict[str, Any]:
    """Sum up the part of an evaluation that concerns some rows: metrics, counts, slices."""
    position = np.searchsorted(whole.rows, rows)
    values = {name: value[position] for name, value in whole.values.items()}
    part = Evaluation(rows, values, _counts(data, split, rows), ranking.summary(values))
    return part.as_json() | {"slices": slices(data, split, part, seen_rows, max_history)}


def _measure(ranker: Ranker, other: Job, job: Job, data: PreparedData, device: torch.device) -> Evaluation:
    config = other.config
    if other.encoder_fingerprint != job.encoder_fingerprint:
        name = config.model.architecture.name
        raise ValueError(f"{name} has words of its own, those of the texts that it was trained on: it reads no others.")
    everywhere = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, domains=None))
    split, rows = dataclasses.replace(other, config=everywhere).evaluation_rows(data)
    whitening = None
    if config.evaluation.whitening:
        whitening = Whitening.load(job.folder / "checkpoint" / "whitening.safetensors", device)
    store, precision = open_store(other.store_path), config.optim.precision
    read: dict[str, Any] = {"rows": rows, "max_history": config.data.max_history, "device": device}
    read |= {"precision": precision, "whitening": whitening}
    shown = evaluate(ranker, data, store, split, ks=config.evaluation.ks, ties=config.evaluation.ties, **read)
    if config.evaluation.retrieve is None:
        return shown
    index_MD = _index(other, data, device) if config.evaluation.retriever else None
    return shown.joined(pipeline(ranker, data, store, split, config.evaluation.retrieve, **read, index_MD=index_MD))


def _index(other: Job, data: PreparedData, device: torch.device) -> Tensor:
    """Compute the item vectors of the run that retrieves for another, from what it left in the home folder."""
    about = other.cluster.home / "runs" / str(other.config.evaluation.retriever) / "checkpoint" / "config.json"
    retriever = other.at(from_dict(RunConfig, json.loads(about.read_text())["config"]), data.fingerprint)
    whitening = None
    if retriever.config.evaluation.whitening:
        whitening = Whitening.load(retriever.folder / "checkpoint" / "whitening.safetensors", device)
    model, store = load_model(retriever, data, device), open_store(retriever.store_path)
    return catalogue(model, data, store, device, retriever.config.optim.precision, whitening)[1]


def _counts(data: PreparedData, split: str, rows: Ints) -> dict[str, int]:
    columns = ["history", "labels"]
    table = pa.concat_tables([*tables(row_groups(data, split, rows), columns), _nothing(data, split, columns)])
    labels, offsets = flat(table["labels"])
    return ranking.counts(labels, offsets, np.diff(flat(table["history"])[1]))


def _nothing(data: PreparedData, split: str, columns: list[str]) -> pa.Table:
    return data.impressions(split, columns).slice(0, 0)


def _reading(job: Job) -> tuple[str, int, str]:
    """Name all that decides the values of every impression: the rest says which of them count."""
    everywhere = dataclasses.replace(job.config.evaluation, domains=None)
    return reading_key(job.config), job.config.data.max_history, repr(everywhere)
