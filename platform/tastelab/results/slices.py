"""The rows of a table on parts of the impressions, such as cold items or short histories, as records have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tastelab.results.captions import folded
from tastelab.results.columns import aligned, best_rows, row_label
from tastelab.results.formats import ABSENT, count
from tastelab.results.measures import measure
from tastelab.results.rows import Row

DIMENSIONS = ("items", "users", "history", "popularity", "community", "near-duplicate", "title length")
"""What impressions are cut by, in the order of the table; others follow."""

Slice = Mapping[str, Any]


def slice_block(rows: Sequence[Row], metric: str = "auc", title: str = "By slice") -> str:
    """Return the rows as columns over the slices that their records have, folded away; nothing where none has any.

    A slice with too few impressions for a number says `few` and how many, one that a row's records do not have is
    absent. The number of impressions is a range where rows cut the same impressions differently, as what is cold hangs
    on what was trained on.
    """
    cut = [(row, found) for row in rows if (found := _by_name(row))]
    if not cut:
        return ""
    known = measure(metric)
    header = ["slice", known.over, *(row_label(row) for row, _ in cut)]
    lines = [
        _line(f"{dimension}: {name}", [(row, found.get((dimension, name), [])) for row, found in cut], metric)
        for dimension, name in _names([found for _, found in cut])
    ]
    reading = (
        f"{known.label}, the mean over seeds, of the {known.over} of each slice. Bold: the best trained row. "
        f"few (n): too few {known.over} for a number."
    )
    table = aligned([header, *lines], [False, *(True for _ in header[1:])])
    return folded(title, f"{table}\n\n{reading}")


def _by_name(row: Row) -> dict[tuple[str, str], list[Slice]]:
    """Return (dimension, slice) → what each run of a row has there."""
    found: dict[tuple[str, str], list[Slice]] = {}
    for run in row.runs:
        for dimension, slices in (run.get("slices") or {}).items():
            for each in slices:
                found.setdefault((dimension, str(each["slice"])), []).append(each)
    return found


def _names(found: Sequence[Mapping[tuple[str, str], Any]]) -> list[tuple[str, str]]:
    """List the slices of all rows: dimensions in their order, slices as the records bring them."""
    names = list(dict.fromkeys(name for slices in found for name in slices))
    known = {name: place for place, name in enumerate(DIMENSIONS)}
    others = {name: place for place, (name, _) in enumerate(names, start=len(known))}
    return sorted(names, key=lambda name: known.get(name[0], others[name[0]]))


def _line(name: str, found: Sequence[tuple[Row, Sequence[Slice]]], metric: str) -> list[str]:
    means = [_mean(slices, metric) for _, slices in found]
    known = measure(metric)
    printed = [ABSENT if mean is None else known.number(mean) for mean in means]
    sizes = {int(each["n"]) for row, slices in found for each in slices if not row.baseline}
    # What is cold or popular follows from what a row was trained on: other impressions, and no best among them.
    best = best_rows([row for row, _ in found], printed, known.better) if len(sizes) == 1 else []
    shown = [f"**{text}**" if i in best else text for i, text in enumerate(printed)]
    for i, (_, slices) in enumerate(found):
        if slices and all(each.get("too_few") for each in slices):
            shown[i] = f"few ({_num_impressions(slices)})"
    return [name, _num_impressions([each for _, slices in found for each in slices]), *shown]


def _mean(slices: Sequence[Slice], metric: str) -> float | None:
    found = [(each.get("metrics") or {}).get(metric) or {} for each in slices if not each.get("too_few")]
    means = [each["mean"] for each in found if each.get("mean") is not None]
    return math.fsum(means) / len(means) if means else None


def _num_impressions(slices: Sequence[Slice]) -> str:
    numbers = sorted({int(each["n"]) for each in slices})
    return " – ".join(dict.fromkeys((count(numbers[0]), count(numbers[-1]))))
