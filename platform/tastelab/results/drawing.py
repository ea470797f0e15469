"""The hand that draws: one style, colours that the colour-blind tell apart, and the frame that all figures share.

Text is drawn as paths: a page that shows the SVG need not have the font, and what was laid out stays laid out. Ids are
salted with a constant, no date is written and coordinates are rounded, so the same records make the same bytes (with
the same matplotlib). The background is white, to be read on a dark page too.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

STYLE = {
    "font.family": "DejaVu Sans",  # the one that matplotlib carries
    "font.size": 10.5,
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
WIDTH = 7.5  # inches: fills a README, and its letters are still read on a phone
INK, MUTED = "#222222", "#666666"
SMALL = 9.5  # points of the letters that explain
APART = ("#d55e00", "#cc79a7", "#e69f00")  # of Okabe and Ito's palette: far from viridis in hue
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c6d46")  # the same palette's
MARKERS = "osD^vP<>"

COORDINATES = re.compile(r'(?<=[\s](?:d|x|y)=")[^"]*(?=")|(?<=translate\()[^)]*(?=\))')
NO_BREAK = "\N{NO-BREAK SPACE}"
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in one style, whatever the user's own matplotlib settings are."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def canvas(height: float) -> Figure:
    """Make an empty figure of the house's width; `height` in inches, title not counted."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG with coordinates in hundredths of a point; call it within `house_style`."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "tastelab"})
    rounded = COORDINATES.sub(lambda part: LONG_NUMBER.sub(_hundredths, part[0]), out.getvalue())
    return "\n".join(line.strip() for line in rounded.splitlines()) + "\n"


def as_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; call it within `house_style`."""
    figure.savefig(path, format="png", dpi=144, metadata={"Software": None})


def colours(groups: Sequence[str], apart: Collection[str] = ()) -> dict[str, str]:
    """Give each group a colour: ordered ones from dark to light, those of another kind one far from these."""
    ordered = [group for group in groups if group not in apart]
    scale = mpl.colormaps["viridis"]
    chosen = {group: to_hex(scale(0.72 * i / max(1, len(ordered) - 1))) for i, group in enumerate(ordered)}
    others = [group for group in groups if group in apart]
    return chosen | {group: APART[i % len(APART)] for i, group in enumerate(others)}


def palette(groups: Sequence[str]) -> dict[str, str]:
    """Give each group, of no order among them, a colour far from the others'."""
    return {group: PALETTE[i % len(PALETTE)] for i, group in enumerate(groups)}


def markers(groups: Sequence[str]) -> dict[str, str]:
    """Give each group a shape, so that colour is never the only sign."""
    return {group: MARKERS[(i + i // len(MARKERS)) % len(MARKERS)] for i, group in enumerate(groups)}


def strokes(groups: Sequence[str]) -> dict[str, str]:
    """Give each group a kind of line: dashed ones where the colours of `palette` begin anew."""
    return {group: ("-", "--", ":")[i // len(PALETTE) % 3] for i, group in enumerate(groups)}


def entitle(figure: Figure, title: str, facts: str) -> None:
    """Set the title on top of a figure, which grows by it, and below it in grey what the figure was made from."""
    heads, lines = _wrapped(title, 64), _wrapped(facts, 112)
    above = 0.06 + 0.22 * len(heads) + 0.05
    header = above + 0.16 * len(lines) + 0.12
    height = figure.get_figheight() + header
    figure.set_figheight(height)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, 0, 1, 1 - header / height))  # type: ignore[call-arg]
    left = 0.008
    figure.text(left, 1 - 0.06 / height, "\n".join(heads), va="top", fontsize=13, fontweight="bold", color=INK)
    figure.text(left, 1 - above / height, "\n".join(lines), va="top", fontsize=9, color=MUTED)


def explain(figure: Figure, handles: Sequence[Artist], bold: Collection[str] = ()) -> None:
    """Set the legend below a figure, which grows by it, in as many columns as fit; labels in `bold` stand out."""
    if not handles:
        return
    labels = [str(handle.get_label()) for handle in handles]
    widest = max(map(len, labels))
    columns = max(1, min(len(labels), int(WIDTH * 72 / (5.9 * widest + 40))))
    figure.set_figheight(figure.get_figheight() + 0.14 + 0.2 * math.ceil(len(labels) / columns))
    legend = figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, fontsize=SMALL)
    for text in legend.get_texts():
        text.set_fontweight("bold" if text.get_text() in bold else "normal")


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap a text into as few lines as can be, of nearly one length; none begins with a separating dot.

    Lines break between the facts that dots separate, if that takes no line more.
    """
    glued = text.replace(" · ", f"{NO_BREAK}· ")
    fewest = len(_lines(glued, width))
    whole = f"{NO_BREAK}· ".join(fact.replace(" ", NO_BREAK) for fact in text.split(" · "))
    fits = len(_lines(whole, width)) == fewest and all(len(word) <= width for word in whole.split(" "))
    tries = (_lines(whole if fits else glued, w, not fits) for w in range(20, width + 1))
    lines = next(lines for lines in tries if len(lines) <= fewest)
    return [line.replace(NO_BREAK, " ").removesuffix(" ·") for line in lines]


def _lines(text: str, width: int, break_words: bool = True) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=break_words)


def _hundredths(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
