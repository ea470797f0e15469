"""The marks that figures share: means with intervals, named levels, labels kept apart, scales with plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from tastelab.results.drawing import INK, MUTED, SMALL
from tastelab.results.measures import measure
from tastelab.results.rows import Estimate

DASHES = (0, (4, 3))


def draw_estimate(
    axes: Axes,
    place: float,
    found: Estimate,
    seeds: Sequence[float],
    colour: str,
    shift: float = 0.0,
    shape: str = "o",
    named: bool = True,
) -> None:
    """Draw a mean, its interval as a bar with the value above, and each seed as a small dot beside it.

    Args:
        axes: The panel.
        place: Where on the x axis.
        found: The mean and its bounds.
        seeds: The value of each seed.
        colour: Of all of it.
        shift: Points to the right of `place`, to set several at one place apart.
        shape: Of the mean's mark.
        named: Whether the value is written above.
    """
    top = found.mean if found.high is None else found.high
    if found.low is not None:
        bar = axes.vlines(place, found.low, top, color=colour, linewidth=8, alpha=0.3, zorder=3)
        bar.set_transform(moved(axes, shift))
    for i, seed in enumerate(seeds):
        dot = axes.scatter([place], [seed], s=13, color=colour, linewidths=0, zorder=5)
        dot.set_offset_transform(moved(axes, shift + 7 + 2.5 * i))
    mean = axes.scatter([place], [found.mean], s=52, color=colour, marker=shape, edgecolors="white", zorder=6)
    mean.set_offset_transform(moved(axes, shift))
    if named:
        above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(f"{found.mean:.3f}", (place, top), (shift, 5), fontsize=SMALL, color=INK, **above)


def draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw horizontal lines, named at the right end; names that would touch are moved apart."""
    if not levels:
        return
    low, high = axes.get_ylim()
    low, high = min(low, *levels.values()), max(high, *levels.values())
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    for level in levels.values():
        axes.axhline(level, color=MUTED, linewidth=1.1, linestyle=DASHES, zorder=1)
    name_at_right(axes, [(level, f"{name} {level:.3f}", MUTED) for name, level in levels.items()])


def name_at_right(
    axes: Axes, names: Sequence[tuple[float, str, str]], height: float = 3.4, size: float = SMALL
) -> None:
    """Write names outside the right edge at their heights, moved apart where they would touch.

    Args:
        axes: The panel, its y scale and limits final.
        names: Height in data units, text and colour of each.
        height: Of the panel, roughly, in inches.
        size: Of the letters, in points.
    """
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(axes.get_ylim())
    gap = (high - low) * 1.35 * size / (72 * height)
    places = spread([float(scale.transform(level)) for level, _, _ in names], gap, low, high)
    for (level, text, colour), place in zip(names, scale.inverted().transform(places), strict=True):
        thread = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        axes.annotate(
            text,
            (1, level),
            (1.03, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=size,
            color=colour,
            arrowprops=thread,
        )


def spread(places: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Move places as little as can be (least squares) until neighbours are `gap` apart, within `low` and `high`.

    With `z_i = place_i - i · gap` in ascending order, the smallest change is the isotonic regression of `z`.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    pools: list[list[float]] = []
    for rank, i in enumerate(order):
        pools.append([places[i] - rank * gap])
        while len(pools) > 1 and _centre(pools[-2]) >= _centre(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    moved_z = [_centre(pool) for pool in pools for _ in pool]
    top = high - (len(places) - 1) * gap
    inside = [max(low, min(z, top)) for z in moved_z]
    found = dict(zip(order, (z + rank * gap for rank, z in enumerate(inside)), strict=True))
    return [found[i] for i in range(len(places))]


def log_axis(axes: Axes, decades: float, which: str = "x") -> None:
    """Give a panel a logarithmic axis whose labels stay apart: 1, 2, 5 per decade, or fewer where there are many.

    Less than half a decade is left linear: no round power of ten need lie within it.
    """
    if decades < 0.5:
        return
    getattr(axes, f"set_{which}scale")("log", nonpositive="mask")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.2 else (1, 3) if decades < 2.7 else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def number_axis(axes: Axes, metric: str, which: str = "y") -> None:
    """Write the ticks of an axis as its metric is printed, where that is not a plain number: shares in per cent."""
    known = measure(metric)
    if known.scale != 1:
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value * known.scale:g}{known.unit}")
    elif known.spec == ",.0f":
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value:,.0f}")


def say(axes: Axes, sentence: str) -> None:
    """Put a sentence where a panel has nothing to show; panels that share its axes keep their ticks."""
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.grid(visible=False)
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color=MUTED)


def mark(label: str, shape: str, colour: str, face: str | None = None, **line: Any) -> Line2D:
    """Return an entry of a legend: a mark, and a line where `line` gives it a style."""
    kept = {"linestyle": ""} | line
    return Line2D([], [], marker=shape, color=colour, markerfacecolor=face or colour, label=label, **kept)


def moved(axes: Axes, points: float) -> Transform:
    """Return the data coordinates of a panel, so many points to the right.

    Give them to what is already drawn: the limits of the axes are then those of the places themselves.
    """
    figure = axes.get_figure()
    assert figure is not None
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def _centre(pool: Sequence[float]) -> float:
    return math.fsum(pool) / len(pool)
