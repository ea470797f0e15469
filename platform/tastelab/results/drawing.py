"""The hand that draws: one style, colours that the colour-blind tell apart, and the parts that figures share.

Text is drawn as paths: a page that shows the SVG need not have the font, and what was laid out stays laid out. Ids are
salted with a constant and no date is written, so the same records make the same bytes (with the same matplotlib). The
background is white, to be read on a dark page too.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tastelab.results.rows import Estimate

STYLE = {
    "font.family": "DejaVu Sans",  # the one that matplotlib carries
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "tastelab",
}
WIDTH = 9.0  # inches; at 96 dots per inch the width of a README
INK, MUTED = "#222222", "#666666"
APART = ("#d55e00", "#cc79a7", "#e69f00")  # of Okabe and Ito's palette: far from viridis in hue
MARKERS = "osD^vP<>"


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in one style, whatever the user's own matplotlib settings are."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def canvas(height: float) -> Figure:
    """Make an empty figure of the house's width; `height` in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG; call it within `house_style`."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "tastelab"})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def as_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; call it within `house_style`."""
    figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def colours(groups: Sequence[str], apart: Collection[str]) -> dict[str, str]:
    """Give each group a colour: ordered ones from dark to light, those of another kind one far from these."""
    ordered = [group for group in groups if group not in apart]
    scale = mpl.colormaps["viridis"]
    chosen = {group: to_hex(scale(0.72 * i / max(1, len(ordered) - 1))) for i, group in enumerate(ordered)}
    others = [group for group in groups if group in apart]
    return chosen | {group: APART[i % len(APART)] for i, group in enumerate(others)}


def markers(groups: Sequence[str]) -> dict[str, str]:
    """Give each group a shape, so that colour is never the only sign."""
    return {group: MARKERS[i % len(MARKERS)] for i, group in enumerate(groups)}


def entitle(axes: Axes, title: str, facts: str) -> None:
    """Set the title above a panel and, between them in grey, what the figure was made from."""
    axes.set_title(facts, loc="left", fontsize=9, color=MUTED, pad=10)
    axes.annotate(
        title,
        (0, 1),
        (0, 30),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=13,
        fontweight="bold",
        color=INK,
    )


def draw_estimate(axes: Axes, place: float, found: Estimate, seeds: Sequence[float], colour: str) -> None:
    """Draw a mean, its interval as a bar with the value above, and each seed as a small dot beside it."""
    top = found.mean if found.high is None else found.high
    if found.low is not None:
        axes.vlines(place, found.low, top, color=colour, linewidth=10, alpha=0.3, zorder=3)
    spread = [place + 0.14 + 0.05 * i for i in range(len(seeds))]
    axes.scatter(spread, seeds, s=13, color=colour, linewidths=0, zorder=5)
    axes.scatter([place], [found.mean], s=52, color=colour, edgecolors="white", linewidths=1.2, zorder=6)
    above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
    axes.annotate(f"{found.mean:.3f}", (place, top), (0, 5), fontsize=9, color=INK, **above)


def draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw horizontal lines, named at the right end; names that would touch are moved apart."""
    if not levels:
        return
    low, high = axes.get_ylim()
    low, high = min(low, *levels.values()), max(high, *levels.values())
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    gap, last = 0.085 * (high - low), float("-inf")
    for name, level in sorted(levels.items(), key=lambda pair: pair[1]):
        axes.axhline(level, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        last = max(level, last + gap)
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{name} {level:.3f}", (1, last), (6, 0), fontsize=9, color=MUTED, **beside)


def log_axis(axes: Axes, decades: float) -> None:
    """Give a panel a logarithmic x axis whose labels stay apart: 1, 2, 5 per decade, or 1 where there are many."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.7 else (1, 3) if decades < 3 else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
