"""The impressions that a model ranks worst, as readable texts: `tastelab failures` (docs/slices.md).

Shape letters: N impressions, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.data.order import row_groups
from tastelab.data.tables import PreparedData
from tastelab.evaluation.evaluate import Scored, tables
from tastelab.evaluation.slices import Dimension, dimensions
from tastelab.metrics import ranking
from tastelab.serving.offline import DEFAULT_ENCODER, Ready, Request, prepare

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

METRICS = ("auc", "mrr", "ndcg@5", "ndcg@10")
MAX_TEXT = 160
"""Characters of a text that stands in for a missing title."""


@dataclass(frozen=True)
class Item:
    """An item as a person reads it."""

    title: str
    about: str
    """Its community and categories."""


@dataclass(frozen=True)
class Candidate:
    """A candidate in its place."""

    item: Item
    score: float
    clicked: bool
    rank: str
    """`3`, or `3–5` where candidates of one score share these places."""


@dataclass(frozen=True)
class Failure:
    """An impression with what the model made of it."""

    row: int
    time: datetime | None
    metrics: Mapping[str, float]
    history: tuple[tuple[Item, bool], ...]
    """Items that the model saw, oldest first, each with whether it was disliked."""
    num_dropped: int
    """Older clicks that the model did not see."""
    candidates: tuple[Candidate, ...]
    """In the model's order, ties in the order shown."""
    slices: Mapping[str, str]
    """Dimension → slice that the impression is in."""


@dataclass(frozen=True)
class Failures:
    """The worst impressions of a model on a split."""

    model: str
    data: str
    fingerprint: str
    split: str
    reads: tuple[str, ...]
    slice: str | None
    by: str
    value_N: Floats
    """The metric of every impression that has it, in the slice."""
    worst: tuple[Failure, ...]


def worst_impressions(request: Request, count: int = 50, by: str = "auc", chosen: str | None = None) -> Failures:
    """Find the impressions of a labelled split that a model ranks worst.

    Args:
        request: the model and the data.
        count: impressions to find, at least 1.
        by: the metric, one of `METRICS`; the lowest come first, ties by row.
        chosen: `dimension=slice`, such as `items=cold`; None looks at all.

    Raises:
        ValueError: an option is wrong, the split has no labels, or no impression of the slice has the metric.
    """
    if by not in METRICS:
        raise ValueError(f"Unknown metric '{by}': choose one of {', '.join(METRICS)}.")
    if count < 1:
        raise ValueError(f"worst is {count}: show at least 1 impression.")
    wanted = _parsed(chosen)
    ready = prepare(request, labelled=True)
    scored = ready.score(request)
    assert scored.labels is not None
    values = ranking.per_impression(scored.scores, scored.labels, scored.offsets, ks=(5, 10), ties=request.ties)
    cut = dimensions(ready.data, request.split, scored.rows, ready.seen_rows(), ready.max_history)
    among_N = np.isfinite(values[by]) & _members(cut, wanted, len(scored.rows))
    if not among_N.any():
        raise ValueError(f"No impression of {chosen or request.split} has {by}: choose another slice, split or metric.")
    rows = worst(np.where(among_N, values[by], np.nan), count)
    known = _Known(ready, scored, values, cut)
    return Failures(
        _model(request, ready),
        ready.data.name,
        ready.data.fingerprint,
        request.split,
        request.features or (ready.trained.config.data.features if ready.trained else ("title",)),
        chosen,
        by,
        values[by][among_N],
        known.failures(request.split, rows),
    )


def worst(value_N: Floats, count: int) -> Ints:
    """Return the positions of the lowest values, lowest first, ties by position; NaN is no value."""
    order = np.argsort(value_N, kind="stable")  # NaN comes last
    return order[: min(count, int(np.isfinite(value_N).sum()))]


def _parsed(chosen: str | None) -> tuple[str, str] | None:
    if chosen is None:
        return None
    name, equals, label = chosen.partition("=")
    if not equals:
        raise ValueError(f"'{chosen}' names no slice: write dimension=slice, such as items=cold.")
    return name.strip(), label.strip().replace("-", "–") if name.strip() != "community" else label.strip()


def _members(cut: Mapping[str, Dimension], wanted: tuple[str, str] | None, num: int) -> npt.NDArray[np.bool_]:
    """Tell which impressions are in a slice."""
    if wanted is None:
        return np.ones(num, np.bool_)
    name, label = wanted
    if name not in cut:
        raise ValueError(f"The data have no slices by '{name}': choose among {', '.join(cut)}.")
    if label not in cut[name].labels:
        raise ValueError(f"{name} has no slice '{label}': choose among {', '.join(cut[name].labels)}.")
    return np.asarray(cut[name].code_N == cut[name].labels.index(label))


def _model(request: Request, ready: Ready) -> str:
    if ready.trained is None:
        return f"frozen encoder {request.encoder or DEFAULT_ENCODER}"
    architecture = type(ready.trained.config.model.architecture).name
    run = ready.trained.about.get("run_id")
    return f"{architecture} on {ready.trained.about['encoder']['name']}" + (f", run {run}" if run else "")


@dataclass(frozen=True)
class _Known:
    """What is known of the impressions of a split."""

    ready: Ready
    scored: Scored
    values: Mapping[str, Floats]
    cut: Mapping[str, Dimension]

    def failures(self, split: str, places: Ints) -> tuple[Failure, ...]:
        """Read some impressions, in the order of `places`."""
        rows = self.scored.rows[places]
        columns = ["row", "time", "history", "feedback", "candidates", "labels"]
        read = list(tables(row_groups(self.ready.data, split, np.sort(rows)), columns))
        logged = {found["row"]: found for table in read for found in table.to_pylist()}
        shown = [logged[row] for row in rows.tolist()]
        items = read_items(self.ready.data, [item for one in shown for item in one["history"] + one["candidates"]])
        return tuple(self._failure(place, one, items) for place, one in zip(places.tolist(), shown, strict=True))

    def _failure(self, place: int, logged: Mapping[str, Any], items: Mapping[int, Item]) -> Failure:
        start, stop = self.scored.offsets[place : place + 2]
        most = self.ready.max_history
        signs = (logged["feedback"] or [1] * len(logged["history"]))[-most:]
        history = tuple((items[i], sign < 0) for i, sign in zip(logged["history"][-most:], signs, strict=True))
        named = [items[i] for i in logged["candidates"]]
        found = {name: d.labels[d.code_N[place]] for name, d in self.cut.items() if d.code_N[place] >= 0}
        return Failure(
            logged["row"],
            logged["time"],
            {name: float(value_N[place]) for name, value_N in self.values.items()},
            history,
            max(0, len(logged["history"]) - most),
            in_order(named, self.scored.scores[start:stop], logged["labels"]),
            found,
        )


def in_order(items: list[Item], score_C: Floats, labels: list[int]) -> tuple[Candidate, ...]:
    """Put candidates in the model's order, the highest score first, with the places that those of one score share."""
    falling_C = np.sort(-score_C)
    first_C = np.searchsorted(falling_C, -score_C, side="left") + 1
    last_C = np.searchsorted(falling_C, -score_C, side="right")
    ranks = [str(a) if a == b else f"{a}–{b}" for a, b in zip(first_C.tolist(), last_C.tolist(), strict=True)]
    order = np.argsort(-score_C, kind="stable").tolist()
    return tuple(Candidate(items[c], float(score_C[c]), labels[c] == 1, ranks[c]) for c in order)


def read_items(data: PreparedData, rows: list[int]) -> dict[int, Item]:
    """Read items as a person reads them: a title, or what else there is of text, and where they belong."""
    distinct = sorted(set(rows))
    extras = ["community"] if data.has_item_column("community") else []
    columns = ["item_id", "title", "abstract", "body", "category", "subcategory", *extras]
    table = data.items(columns).take(pa.array(distinct, pa.int64()))
    return {row: _item(found) for row, found in zip(distinct, table.to_pylist(), strict=True)}


def _item(found: Mapping[str, str]) -> Item:
    text = found["title"] or found["abstract"] or found["body"]
    text = text if len(text) <= MAX_TEXT or found["title"] else f"{text[: MAX_TEXT - 1]}…"
    places = [found.get("community", ""), found["category"], found["subcategory"]]
    return Item(text or f"(item {found['item_id']}, without text)", " · ".join(dict.fromkeys(filter(None, places))))
