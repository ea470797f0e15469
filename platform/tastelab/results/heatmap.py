"""A matrix of probes as a picture: a cell per model and condition, coloured from chance on and with its value."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.patches import Rectangle

from tastelab.results import drawing
from tastelab.results.formats import ABSENT, metric_label
from tastelab.results.plots import Plot, facts
from tastelab.results.probe_matrix import Column, Names, ProbeMatrix, probe_matrix
from tastelab.results.probes import probes_of
from tastelab.results.rows import Row
from tastelab.results.store import Record

DIVERGING = LinearSegmentedColormap.from_list(
    "below and above", ["#d55e00", "#fbe3d2", "#ffffff", "#d6e8f3", "#0072b2"]
)
SEQUENTIAL = LinearSegmentedColormap.from_list("from low to high", ["#ffffff", "#d6e8f3", "#0072b2"])
DARK, LIGHT = "#000000", "#ffffff"
"""Letters on a cell: the one of higher contrast is always readable (4.5 : 1 or more)."""

GAP = 0.35  # of a row: sets the frozen encoder apart
LABELS_PT = 150  # width that the labels of rows may take
LINE_PT = 12.5
CELL_PT = (23.0, 30.0)  # least and usual height of a row
FRAME_PT = 2.0  # from the edge of a cell to the middle of its frame
MIN_LIMIT = 0.05  # differences from chance below this never get the full colour


@dataclass(frozen=True)
class HeatMap(Plot):
    """The matrix that `probes.ProbeTable` prints, as a heat map of one metric.

    The colour of an AUC is its distance from chance, .5: white there, blue above, orange below. Other metrics go from
    white to blue. A cell whose model was measured as it was trained has a frame, a pending one is hatched, the frozen
    encoder stands apart at the bottom.
    """

    columns: Names | None = None
    """The probes in order, each its name or (name, label); None takes those of the records by their `probe_order`."""
    heading: str = "Trained on"
    across: str = "Served with"
    baselines: bool = True
    """Whether the frozen encoder is the last row."""
    differences: bool = False
    """Whether a cell shows its value minus that of the row's own condition; a row without one is then pending, and
    the frozen encoder, which has none, is left out."""

    def draw(self, records: Sequence[Record], size: str) -> Figure:
        """Draw the records of one size."""
        rows = self.rows or None
        last = self.baselines and not self.differences
        matrix = probe_matrix(records, size, rows, self.columns, self.group, self.fixed, last)
        values = {(row.group, c.name): self._value(matrix, row, c) for row in matrix.rows for c in matrix.columns}
        known = [value for value in values.values() if value is not None]
        scale = Scale.of(known, 0.0 if self.differences else 0.5 if self.metric == "auc" else None)
        figure = self._picture(matrix, values, scale)
        drawing.entitle(figure, self.title, facts(probes_of(matrix), size, *self._reading(matrix, bool(known))))
        return figure

    def _picture(self, matrix: ProbeMatrix, values: dict[tuple[str, str], float | None], scale: Scale) -> Figure:
        labels = [_wrapped(row.label, LABELS_PT) for row in matrix.rows]
        beside = max((text_width(line) for label in labels for line in label.split("\n")), default=0) + 36
        width = (drawing.WIDTH * 72 - beside) / max(1, len(matrix.columns))
        heads = Heads.of([column.label for column in matrix.columns], width)
        lines = max((label.count("\n") + 1 for label in labels), default=1)
        height = min(max(CELL_PT[0], LINE_PT * lines + 6, width), max(CELL_PT[1], LINE_PT * lines + 6))
        figure = drawing.canvas(max(1.2, (height * (len(labels) + GAP) + heads.height + 34) / 72))
        axes = figure.add_subplot()
        places = _places(matrix.rows)
        _frame(axes, places, labels, heads)
        axes.set_xlabel(self.across, fontsize=drawing.SMALL)
        axes.set_ylabel(self.heading, fontsize=drawing.SMALL)
        for row, place in zip(matrix.rows, places, strict=True):
            for x, column in enumerate(matrix.columns):
                own = matrix.is_own(row, column)
                self._cell(axes, (x, place), values[row.group, column.name], scale, own, (width, height))
        if not matrix.columns:
            axes.text(0, 0, "nothing was measured under other conditions yet", ha="center", color=drawing.MUTED)
        return figure

    def _cell(
        self,
        axes: Axes,
        at: tuple[float, float],
        value: float | None,
        scale: Scale,
        own: bool,
        points: tuple[float, float],
    ) -> None:
        """Draw a cell; `points` are its width and height in points, nearly."""
        corner = (at[0] - 0.5, at[1] - 0.5)
        if value is None:
            axes.add_artist(
                Rectangle(corner, 1, 1, facecolor="#ffffff", edgecolor="#d5d5d5", hatch="////", linewidth=0)
            )
            face = "#ffffff"
        else:
            face = scale.colour(value)
            axes.add_artist(Rectangle(corner, 1, 1, facecolor=face, linewidth=0))
        axes.add_artist(Rectangle(corner, 1, 1, fill=False, edgecolor="#ffffff", linewidth=1.5))
        if own:
            x, y = (FRAME_PT / side for side in points)
            frame = Rectangle((corner[0] + x, corner[1] + y), 1 - 2 * x, 1 - 2 * y)
            frame.set(fill=False, edgecolor=drawing.INK, linewidth=1.6, zorder=4)
            axes.add_artist(frame)
        text = ABSENT if value is None else short(value, self.differences)
        size = min(drawing.SMALL, drawing.SMALL * (points[0] - 7) / text_width(short(-0.123, True)))
        axes.text(*at, text, ha="center", va="center_baseline", fontsize=max(6.5, size), color=letters(face), zorder=5)

    def _value(self, matrix: ProbeMatrix, row: Row, column: Column) -> float | None:
        value = matrix.value(row, column, self.metric)
        if not self.differences or value is None:
            return value
        own = [matrix.value(row, other, self.metric) for other in matrix.columns if matrix.is_own(row, other)]
        known = [each for each in own if each is not None]
        return value - math.fsum(known) / len(known) if known else None

    def _reading(self, matrix: ProbeMatrix, known: bool) -> list[str]:
        """Say what the colours, frames and hatches mean."""
        if not known:
            return ["no finished probe yet"]
        label = metric_label(self.metric)
        found = [f"{label}, mean over seeds"]
        found += ["white: .5, chance; blue: above; orange: below" if self.metric == "auc" else "darker: higher"]
        if self.differences:
            found = [f"{label} minus that of the row's own condition", "blue: above; orange: below"]
        cells = [(row, column) for row in matrix.rows for column in matrix.columns]
        found += ["framed: measured as it was trained"] if any(matrix.is_own(*cell) for cell in cells) else []
        return found + (["hatched: no value yet"] if any(not matrix.cell(*cell).runs for cell in cells) else [])


@dataclass(frozen=True)
class Scale:
    """Value → colour."""

    low: float
    high: float
    map: Colormap

    @classmethod
    def of(cls, values: Sequence[float], reference: float | None) -> Scale:
        """Cover the values: as far below the reference as above it, or from the least to the greatest."""
        if reference is None:
            low, high = min(values, default=0.0), max(values, default=1.0)
            return cls(low, max(high, low + MIN_LIMIT), SEQUENTIAL)
        limit = max([MIN_LIMIT, *(abs(value - reference) for value in values)])
        return cls(reference - limit, reference + limit, DIVERGING)

    def colour(self, value: float) -> str:
        """Return the colour of a value."""
        return to_hex(self.map((value - self.low) / (self.high - self.low)))


@dataclass(frozen=True)
class Heads:
    """The labels of the columns: wrapped to the width of a cell, upright where a word is wider than it."""

    labels: tuple[str, ...]
    upright: bool
    height: float
    """In points."""

    @classmethod
    def of(cls, labels: Sequence[str], width: float) -> Heads:
        """Set labels above cells of a width in points."""
        flat = [_wrapped(label, width - 6) for label in labels]
        if all(text_width(line) <= width - 4 for label in flat for line in label.split("\n")):
            lines = max((label.count("\n") + 1 for label in flat), default=1)
            if lines <= 4:
                return cls(tuple(flat), False, LINE_PT * lines)
        standing = [_wrapped(label, 120, max(1, int(width // LINE_PT))) for label in labels]
        tallest = max(text_width(line) for label in standing for line in label.split("\n"))
        return cls(tuple(standing), True, tallest + 4)


def short(value: float, signed: bool = False) -> str:
    """Write a value with three decimals and no zero before the point; a difference with its sign.

    >>> short(0.6204), short(-0.0123, signed=True), short(0.00001, signed=True)
    ('.620', '−.012', '.000')
    """
    text = f"{value:.3f}" if not signed or abs(value) < 0.0005 else f"{value:+.3f}"
    return text.removeprefix("-").replace("0.", ".", 1) if float(text) == 0 else _pointed(text)


def letters(face: str) -> str:
    """Return black or white, whichever is better read on a colour."""
    return DARK if contrast(face, DARK) >= contrast(face, LIGHT) else LIGHT


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = drawing.SMALL) -> float:
    """Return the width of a line in points, in the letters of all figures."""
    font = get_font(findfont(str(drawing.STYLE["font.family"])))
    font.set_size(size, 72)
    font.set_text(text, flags=LoadFlags.NO_HINTING)
    return float(font.get_width_height()[0]) / 64


def _pointed(text: str) -> str:
    return text.replace("-", "−").replace("0.", ".", 1)


def _luminance(colour: str) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _wrapped(label: str, width: float, max_lines: int | None = None) -> str:
    """Wrap a label to a width in points; where lines are limited, the last ends in an ellipsis."""
    plain = " ".join(label.split())
    at = max(4, int(width / max(1.0, text_width(plain)) * len(plain)))
    for characters in range(at + 2, 3, -1):
        lines = textwrap.wrap(plain, characters, break_long_words=False, max_lines=max_lines, placeholder=" …")
        if all(text_width(line) <= width or " " not in line for line in lines):
            return "\n".join(_balanced(plain, lines, characters, max_lines))
    return plain


def _balanced(plain: str, lines: list[str], characters: int, max_lines: int | None) -> list[str]:
    """Make the longest of as many lines as short as can be, so that none holds a lonely word."""
    for fewer in range(characters - 1, 3, -1):
        tried = textwrap.wrap(plain, fewer, break_long_words=False, max_lines=max_lines, placeholder=" …")
        if len(tried) > len(lines) or tried[-1].endswith("…") != lines[-1].endswith("…"):
            break
        lines = tried
    return lines


def _places(rows: Sequence[Row]) -> list[float]:
    return [place + GAP * (row.baseline and place > 0) for place, row in enumerate(rows)]


def _frame(axes: Axes, places: Sequence[float], labels: Sequence[str], heads: Heads) -> None:
    """Set the labels around the cells; no line and no grid."""
    axes.set_xlim(-0.5, max(1, len(heads.labels)) - 0.5)
    axes.set_ylim(max(places, default=0) + 0.5, -0.5)
    axes.set_yticks(list(places), list(labels), fontsize=drawing.SMALL)
    axes.set_xticks(
        range(len(heads.labels)), list(heads.labels), fontsize=drawing.SMALL, rotation=90 if heads.upright else 0
    )
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.tick_params(length=0, pad=4)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
