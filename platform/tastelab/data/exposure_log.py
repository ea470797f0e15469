"""The log of an exposure world as a prepared data set: items, sessions in order of time, and `truth.npz`.

See `exposure_world` for the world. Shape letters as there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tastelab.data import synthetic_text as text
from tastelab.data.exposure_truth import FILE, Ints
from tastelab.data.exposure_world import SESSION, SIZES, TOPICS, ExposureSpec, ExposureWorld, ShownTo
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

START = 1_704_067_200
"""The first user comes on 1 January 2024 (seconds since 1970)."""
DAY = 86_400
DAYS = 28
"""Over which the users come, one after the other."""
RETURN_S = 1
"""Seconds between two sessions of a user."""
CHUNK = 8_192
"""Users whose sessions are drawn at a time."""
VERSION = 1
"""Raised when the same specification and seed give other tables, so that caches write theirs again."""

Progress = Callable[[int, int], None]


def prepare(target: Path, size: str | ExposureSpec, seed: int = 0, progress: Progress | None = None) -> PreparedData:
    """Write a world of a named size, or of a full specification, with `truth.npz`, and open it.

    Args:
        target: Folder to write; it appears only when it is complete.
        size: A name of `SIZES` or an `ExposureSpec`.
        seed: The same seed gives the same tables.
        progress: Called with (users written, users in all).

    Raises:
        ValueError: The size has no such name.
    """
    spec = _named(size) if isinstance(size, str) else size
    world = ExposureWorld(spec, seed)
    extra = {"source": "exposure", "seed": seed, "spec": dataclasses.asdict(spec)}
    with DatasetWriter(target, _label(spec), **extra) as writer:
        writer.write_items(items(world))
        for split, table, done in impressions(world):
            writer.write_impressions(split, table)
            if progress:
                progress(done, spec.num_train + spec.num_dev)
        world.truth().save(writer.file(FILE))
    return open_prepared(target)


def items(world: ExposureWorld) -> pa.Table:
    """Return the item table: what may be shown, then what is never shown but tells the state."""
    rng, spec = np.random.default_rng([world.seed, 2]), world.spec
    favourite_S2 = np.abs(world.style_taste_SA).argsort(axis=1)[:, :-3:-1]
    sides_S2 = np.take_along_axis(world.style_taste_SA, favourite_S2, axis=1) > 0
    intent_M = np.concatenate([world.intent_N, world.intent_taste_SH.argmax(axis=1)])
    axes_M2, sides_M2 = np.concatenate([world.axes_N2, favourite_S2]), np.concatenate([world.sides_N2, sides_S2])
    topics = [TOPICS[intent * len(TOPICS) // spec.num_intents] for intent in intent_M.tolist()]
    styles = np.stack([axes_M2, sides_M2], axis=2).tolist()
    draws = rng.random((len(topics), text.DRAWS)).tolist()
    texts = [text.compose(*parts) for parts in zip(topics, styles, draws, strict=True)]
    titles, abstracts, entities = zip(*texts, strict=True)
    created_M = START - np.floor(365 * DAY * rng.random(len(topics))).astype(np.int64) - 1
    names = [f"X{row:06d}" for row in range(spec.num_items)] + [f"U{state:06d}" for state in range(spec.num_states)]
    empty, present = pa.repeat("", len(topics)), pa.repeat(True, len(topics))
    return pa.table(
        {
            "item_id": names,
            "title": titles,
            "abstract": abstracts,
            "body": empty,
            "category": topics,
            "subcategory": empty,
            "entities": entities,
            "created": pa.array(created_M, pa.timestamp("s")),
            "has_text": present,
        }
    )


def impressions(world: ExposureWorld) -> Iterator[tuple[str, pa.Table, int]]:
    """Yield (split, sessions, users done) in order of time, train before dev."""
    spec, states_U = world.spec, world.states()
    bounds = {"train": (0, spec.num_train), "dev": (spec.num_train, spec.num_train + spec.num_dev)}
    num_sessions = 0
    for split, (first, last) in bounds.items():
        for start in range(first, last, CHUNK):
            users_U = np.arange(start, min(start + CHUNK, last))
            rng = np.random.default_rng([world.seed, 3, start])
            shown = world.sessions(users_U, states_U[users_U], rng)
            yield split, _table(world, shown, states_U[shown.users_P], num_sessions), int(users_U[-1]) + 1
            num_sessions += len(shown.users_P)


def _table(world: ExposureWorld, shown: ShownTo, states_P: Ints, first_id: int) -> pa.Table:
    num, spec = len(states_P), world.spec
    seen_PC = np.arange(SESSION) < shown.lengths_P[:, None]
    last_PC = np.arange(SESSION) == shown.lengths_P[:, None] - 1
    labels_PC = last_PC & (shown.clicked_P == 1)[:, None]
    times_P = START + shown.users_P * (DAYS * DAY) // (spec.num_train + spec.num_dev) + RETURN_S * shown.rounds_P
    return pa.table(
        {
            "impression_id": [str(first_id + place) for place in range(num)],
            "user_id": [f"U{user:07d}" for user in shown.users_P.tolist()],
            "time": pa.array(times_P, pa.timestamp("s")),
            "history": _lists((spec.num_items + states_P).astype(np.int32), np.ones(num, np.int64)),
            "feedback": pa.nulls(num, pa.list_(pa.int8())),
            "candidates": _lists(shown.items_PC[seen_PC].astype(np.int32), shown.lengths_P),
            "labels": _lists(labels_PC[seen_PC].astype(np.int8), shown.lengths_P),
        }
    )


def _lists(values: Any, lengths: Ints) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values))


def _named(name: str) -> ExposureSpec:
    if name not in SIZES:
        raise ValueError(f"There is no world of exposure of size '{name}': choose one of {', '.join(SIZES)}.")
    return SIZES[name]


def _label(spec: ExposureSpec) -> str:
    known = {spec: name for name, spec in SIZES.items()}
    name = known.get(spec, "custom")
    return "exposure" if name == "default" else f"exposure-{name}"
