"""What a run measured on its way, thin enough to be kept in its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_POINTS = 120
DIGITS = 5
KEPT = ("train/loss", "train/grad_norm", "train/temperature", "val/", "health/", "queue/")


class Curves:
    """Scalars over steps, thinned where a run is long.

    What is kept is decided by the steps alone, so that a run that was cut off and went on has the same curves.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._points: dict[str, list[tuple[int, float]]] = {}

    def resume(self, points: Mapping[str, Any]) -> None:
        """Put what `as_json` returned of an earlier part of the run before what comes."""
        for name, (steps, values) in points.items():
            self._points[name] = list(zip(map(int, steps), map(float, values), strict=True))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars of a step that are worth a curve; one that is there already is measured once more."""
        for name, value in scalars.items():
            if name.startswith(KEPT):
                kept = self._points.setdefault(name, [])
                if kept and kept[-1][0] >= step:
                    kept.pop()
                kept.append((step, value))
                if len(kept) > 2 * MOST_POINTS:
                    self._points[name] = _thinned(kept)

    def as_json(self) -> dict[str, list[list[float]]]:
        """Return `{name: [steps, values]}`, at most `MOST_POINTS` each, in five digits."""
        return {
            name: [[step for step, _ in kept], [float(f"{value:.{DIGITS}g}") for _, value in kept]]
            for name, points in self._points.items()
            if (kept := _thinned(points))
        }


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Keep the first point of every s steps, and the last; s is the lowest power of 2 that leaves few enough."""
    last = points[-1][0] if points else 0
    stride = 1
    while last // stride + 2 > MOST_POINTS:
        stride *= 2
    first_of = {step // stride: (step, value) for step, value in reversed(points)}
    kept = sorted(first_of.values())
    return kept if not points or kept[-1][0] == last else [*kept, points[-1]]
