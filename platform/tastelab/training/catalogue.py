"""What a candidate-generation run reads of every item: codes of its facts, vectors or tokens of its text."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tastelab.config import Adaptation, ModelConfig, RetrievalConfig, digest, replace_at, to_dict
from tastelab.data.item_codes import catalogue, clusters_as_categories, has_categories
from tastelab.data.merging import TRAIN
from tastelab.data.sequences import Sequences
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import TokenStore, open_store
from tastelab.evaluation.collectives import gather_objects, rank
from tastelab.evaluation.encode import encode_items
from tastelab.modeling.histories import UserTowerConfig
from tastelab.modeling.ranker import Resources, build_ranker
from tastelab.schema import Catalogue
from tastelab.training.job import Job

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
CLUSTERS = 32
"""Clusters of texts that stand in for categories where the data have none and the user tower reads them."""


def load_catalogue(job: Job, data: PreparedData, known_N: npt.NDArray[np.bool_], device: torch.device) -> Catalogue:
    """Gather what the item tower of a job reads; every worker calls it, and texts are encoded once."""
    config = job.config.retrieval
    assert config is not None
    text_NF = text_vectors(job, data, device) if config.items.text == "frozen" else None
    tokens_NT, lengths_N = _tokens(job, data) if config.items.text == "trained" else (None, None)
    if not _clusters(config, data):
        return catalogue(data, known_N, text_NF, tokens_NT, lengths_N)
    vectors_NF = text_vectors(job, data, device) if text_NF is None else text_NF
    clusters_N = _cluster_codes(job, data, vectors_NF)
    return catalogue(data, known_N, text_NF, tokens_NT, lengths_N, clusters_N)


def _cluster_codes(job: Job, data: PreparedData, vectors_NF: Floats) -> Ints:
    """Cluster texts once for a store and seed: another machine's arithmetic may number the clusters otherwise."""
    vectors = vectors_file(job.store_path, job.config.model)
    file = vectors.with_name(f"{vectors.stem}-clusters-{job.config.seed}.npy")
    if not any(gather_objects(file.is_file())):
        codes_N = clusters_as_categories(vectors_NF, min(CLUSTERS, data.num_items), job.config.seed)
        if rank() == 0:
            _write(file, codes_N)
        gather_objects(None)
    codes: Ints = np.load(file)
    return codes


def reads_text(config: RetrievalConfig, data: PreparedData) -> bool:
    """Tell whether texts are read: for the items, or for clusters that stand in for categories."""
    return config.items.text != "none" or _clusters(config, data)


def text_vectors(job: Job, data: PreparedData, device: torch.device) -> Floats:
    """Return the unit vectors of all item texts by the encoder as it comes, (N, F), from a file that is made once."""
    file = vectors_file(job.store_path, job.config.model)
    if not any(gather_objects(file.is_file())):
        vectors = _encode(job, data, device)
        if rank() == 0:
            _write(file, vectors)
        gather_objects(None)  # the others read the file once it is whole
    mapped: Floats = np.load(file, mmap_mode="c")  # torch takes no array that cannot be written
    return mapped


def vectors_file(store: Path, model: ModelConfig) -> Path:
    """Return where the text vectors of a token store lie: a file for each way in which the encoder is used."""
    used = digest([to_dict(model.architecture), to_dict(model.encoder)])
    return store.with_name(f"{store.name}-vectors-{used}.npy")


def known_items(sequences: Sequences, fitting: Ints, max_history: int, num_items: int) -> npt.NDArray[np.bool_]:
    """Tell which items training sees clicked: those of the fitted clicks, and of the histories before them."""
    train = np.flatnonzero(np.asarray(sequences.splits) == TRAIN)
    last = np.searchsorted(train, fitting)
    users = sequences.users_of(train)
    first = np.maximum(np.searchsorted(users, users[last]), last - max_history)
    begun = np.bincount(first, minlength=len(train)).cumsum()
    ended = np.bincount(last + 1, minlength=len(train) + 1).cumsum()[:-1]
    return np.bincount(np.asarray(sequences.items)[train[begun > ended]], minlength=num_items) > 0


def _clusters(config: RetrievalConfig, data: PreparedData) -> bool:
    needs_categories = isinstance(config.user, UserTowerConfig) and config.user.needs_categories
    return needs_categories and not has_categories(data)


def _encode(job: Job, data: PreparedData, device: torch.device) -> Floats:
    model: ModelConfig = replace_at(job.config.model, {"adaptation": Adaptation.named("frozen")})
    ranker = build_ranker(model, Resources(job.encoder_path, job.cluster.token_budget, reuse_mb=0)).to(device).eval()
    found = encode_items(ranker, open_store(job.store_path), np.arange(data.num_items), device, "fp32")
    assert found.vectors_UD is not None
    vectors: Floats = found.vectors_UD.cpu().numpy()
    return vectors


def _write(file: Path, vectors: npt.NDArray[np.generic]) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}.npy")
    np.save(partial, vectors)
    partial.rename(file)


def _tokens(job: Job, data: PreparedData) -> tuple[npt.NDArray[np.int32], Ints]:
    store: TokenStore = open_store(job.store_path)
    tokens_NT, _ = store.gather(np.arange(data.num_items))
    return tokens_NT.astype(np.int32), np.asarray(store.lengths, np.int64)
