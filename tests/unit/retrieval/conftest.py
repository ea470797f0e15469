"""A small catalogue, clicks on it, and towers over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tastelab.config import DataConfig, ItemTowerConfig, RetrievalConfig, RunConfig, UserTower, replace_at
from tastelab.data.sequences import Sequences
from tastelab.modeling.candidates import CandidateModel, CandidateResources, build_candidate_model
from tastelab.schema import UNKNOWN_TIME, Catalogue

NUM_ITEMS, NUM_USERS, NUM_CATEGORIES = 70, 25, 5
MONDAY = 1_704_067_200
"""1 January 2024."""

CONFIG = RunConfig(
    data=DataConfig(max_history=4),
    retrieval=RetrievalConfig(
        items=ItemTowerConfig(width=8, source=False, tags=False, text="none"),
        user=UserTower.named("mean"),
        ks=(3, 10, 60),
        diversity_users=7,
    ),
)


@pytest.fixture
def config() -> RunConfig:
    return CONFIG


@pytest.fixture(scope="session")
def make_towers() -> Callable[..., CandidateModel]:
    """Function that builds the towers of a configuration, changed by dotted paths."""

    def make(**changes: Any) -> CandidateModel:
        config = replace_at(CONFIG, {f"retrieval.{name}": value for name, value in changes.items()})
        absent = torch.full((NUM_ITEMS,), -1)
        catalogue = Catalogue(
            num_items=NUM_ITEMS,
            known_N=torch.ones(NUM_ITEMS, dtype=torch.bool),
            category_N=torch.arange(NUM_ITEMS) % NUM_CATEGORIES,
            num_categories=NUM_CATEGORIES,
            source_N=absent,
            num_sources=0,
            tags_NM=torch.empty((NUM_ITEMS, 0), dtype=torch.int32),
            num_tags=0,
        )
        assert config.retrieval is not None
        resources = CandidateResources(catalogue, max_history=config.data.max_history)
        model = build_candidate_model(config.model, config.retrieval, resources, seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():  # as they are built, items of one category are nearly alike
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        return model

    return make


@pytest.fixture
def sequences(tmp_path: Path) -> Sequences:
    """Clicks of users on distinct days; the last two of each user are of dev."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, NUM_USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    left = np.repeat(lengths, lengths) - place
    times = MONDAY + 86_400 * (place + np.repeat(np.arange(NUM_USERS), lengths))
    times[left == lengths.repeat(lengths)] = UNKNOWN_TIME
    return Sequences(
        tmp_path / "sequences",
        pa.array([f"U{user}" for user in range(NUM_USERS)]),
        offsets,
        rng.integers(NUM_ITEMS, size=offsets[-1]).astype(np.int32),
        times,
        np.where(left <= 2, 1, 0).astype(np.int8),
        np.zeros(offsets[-1], np.int32),
    )
