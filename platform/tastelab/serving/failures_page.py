"""The worst impressions as one page: histories and candidates as texts, without any outside part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template
from typing import TypeVar

import numpy as np

from tastelab.results.page.markup import tag, text
from tastelab.serving.failures import Candidate, Failure, Failures, Item

T = TypeVar("T")

RECENT = 12
"""Clicks of a history that are in sight; older ones unfold."""
TOP = 10
"""Candidates in sight, the clicked ones apart; the rest unfold."""
FEWEST = 4
"""Rows that are worth folding."""
BINS = 16
WIDTH, HEIGHT, FOOT = 500, 90, 18
WARNING = "This page shows what real people clicked, in the words of real items. Do not publish or commit it."


def check_place(output: Path) -> None:
    """Raise `ValueError` where a page cannot be written to `output`."""
    if not output.absolute().parent.is_dir():
        raise ValueError(f"{output.parent} is no folder: make it, or name another place with --output.")
    if output.is_dir():
        raise ValueError(f"{output} is a folder: name a file with --output.")


def write_page(found: Failures, output: Path) -> Path:
    """Write the page and return its path."""
    output.write_text(render(found), encoding="utf-8")
    return output


def render(found: Failures) -> str:
    """Return the page as HTML; every text of the data is escaped."""
    parts = {
        "style": _asset("tastelab.results.page", "page.css") + "\n" + _asset("tastelab.serving", "failures.css"),
        "masthead": masthead(found),
        "impressions": "\n".join(article(place, one, found.by) for place, one in enumerate(found.worst, start=1)),
        "script": _asset("tastelab.serving", "failures.js"),
    }
    return Template(_asset("tastelab.serving", "page.html")).substitute(parts)


def masthead(found: Failures) -> str:
    """Say what this is, of which model and data, and how the metric is spread."""
    num = len(found.value_N)
    where = f"the {found.split} split" + (f" ({found.slice})" if found.slice else "")
    lede = f"The {len(found.worst):,} of {num:,} impressions of {where} that the model ranks worst by {name(found.by)}."
    facts = {
        "model": found.model,
        "data": found.data,
        "fingerprint": found.fingerprint,
        "text read": ", ".join(found.reads),
        f"mean {name(found.by)}": f"{found.value_N.mean():.4f}",
        "shown": f"{len(found.worst):,} of {num:,}",
    }
    shown = [tag("div", tag("dt", text(key)), tag("dd", text(value))) for key, value in facts.items()]
    head = [tag("h1", "tastelab · failures"), tag("p", text(lede), class_="lede")]
    return "\n".join([*head, tag("p", WARNING, class_="warning"), tag("dl", *shown, class_="facts"), spread(found)])


def spread(found: Failures) -> str:
    """Draw how many impressions have which value of the metric, as an inline SVG."""
    counts, edges = np.histogram(found.value_N, BINS, (0.0, 1.0))
    step, scale = WIDTH / BINS, (HEIGHT - FOOT) / max(1, counts.max())
    bars = [
        f'<rect x="{i * step + 1:.1f}" y="{HEIGHT - FOOT - count * scale:.1f}" width="{step - 2:.1f}" '
        f'height="{count * scale:.1f}"><title>{edges[i]:.2f} to {edges[i + 1]:.2f}: {count:,}</title></rect>'
        for i, count in enumerate(counts.tolist())
    ]
    foot = HEIGHT - FOOT
    axis = f'<line x1="0" y1="{foot}" x2="{WIDTH}" y2="{foot}"/>'
    anchors = ((0, "start", "0"), (WIDTH / 2, "middle", "0.5"), (WIDTH, "end", "1"))
    ticks = [f'<text x="{x:.0f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{tick}</text>' for x, anchor, tick in anchors]
    label = f"Histogram of {name(found.by)}"
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">'
    caption = tag(
        "p", f"{text(name(found.by))} of {len(found.value_N):,} impressions; the highest bar is {counts.max():,}"
    )
    return tag("div", caption, drawn + "".join([*bars, axis, *ticks]) + "</svg>", class_="spread")


def article(place: int, one: Failure, by: str) -> str:
    """Write an impression: its values, its slices, what the model saw, and what it made of the candidates."""
    clicked = ", ".join(candidate.rank for candidate in one.candidates if candidate.clicked)
    others = [f"{name(key)} {value:.3f}" for key, value in one.metrics.items() if key != by and np.isfinite(value)]
    about = [f"click at {clicked} of {len(one.candidates)}", *others, f"row {one.row:,}"]
    about += [f"{one.time:%Y-%m-%d %H:%M}"] if one.time else []
    title = tag("h2", tag("a", f"{place}. {text(name(by))} {one.metrics[by]:.3f}", href=f"#row-{one.row}"))
    chips = [tag("li", text(f"{key}: {label}")) for key, label in one.slices.items()]
    sides = [tag("section", *history(one)), tag("section", *candidates(one.candidates))]
    head = tag("header", title, tag("p", text(" · ".join(about))))
    listed = tag("ul", *chips, class_="chips")
    return tag("article", head, listed, tag("div", *sides, class_="sides"), id=f"row-{one.row}")


def history(one: Failure) -> Iterator[str]:
    """List what the model saw of the history, oldest first, the older part folded."""
    yield tag("h3", f"History, oldest first ({len(one.history)})")
    if one.num_dropped:
        yield tag("p", f"The model did not see {one.num_dropped:,} older ones.", class_="none")
    if not one.history:
        yield tag("p", "Empty: a model that learned nothing for newcomers ties all candidates.", class_="none")
        return
    numbered = list(enumerate(one.history, start=1))
    in_sight = [place > len(numbered) - RECENT for place, _ in numbered]
    yield from _folded(numbered, in_sight, lambda rows: _list([_clicked(*row) for row in rows], ""))


def _clicked(place: int, slot: tuple[Item, bool]) -> str:
    item, disliked = slot
    mark = tag("span", "disliked", class_="mark") if disliked else ""
    cells = [tag("span", str(place), class_="place"), tag("div", mark, *_item(item))]
    return tag("li", *cells, class_="disliked" if disliked else None)


def candidates(ranked: Sequence[Candidate]) -> Iterator[str]:
    """List the candidates in the model's order with their scores; those between the best and the clicked are folded."""
    yield tag("h3", f"Candidates in the model’s order ({len(ranked)})")
    scores = [candidate.score for candidate in ranked]
    low, high = min(scores), max(scores)
    in_sight = [place < TOP or candidate.clicked for place, candidate in enumerate(ranked)]
    yield from _folded(ranked, in_sight, lambda rows: _list([_candidate(row, low, high) for row in rows], "candidates"))


def _candidate(candidate: Candidate, low: float, high: float) -> str:
    length = (candidate.score - low) / (high - low) if high > low else 0.0
    bar = tag("span", tag("i", style=f"width:{100 * length:.0f}%"), class_="bar")
    mark = tag("span", "clicked", class_="mark") if candidate.clicked else ""
    cells = [
        tag("span", candidate.rank, class_="place"),
        tag("div", mark, *_item(candidate.item)),
        tag("div", f"{candidate.score:.3f}", bar, class_="score"),
    ]
    return tag("li", *cells, class_="clicked" if candidate.clicked else None)


def _item(item: Item) -> list[str]:
    about = [tag("small", text(item.about), dir="auto")] if item.about else []
    return [tag("span", text(item.title), class_="title", dir="auto"), *about]


def _folded(rows: Sequence[T], in_sight: Sequence[bool], write: Callable[[list[T]], str]) -> Iterator[str]:
    """Write rows, those out of sight in parts that unfold where they are many."""
    runs = [(seen, [row for row, _ in run]) for seen, run in groupby(zip(rows, in_sight, strict=True), lambda r: r[1])]
    joined: list[tuple[bool, list[T]]] = []
    for seen, run in runs:
        shown = seen or len(run) < FEWEST
        if joined and joined[-1][0] and shown:
            joined[-1][1].extend(run)
        else:
            joined.append((shown, run))
    for shown, run in joined:
        yield write(run) if shown else tag("details", tag("summary", f"{len(run):,} more"), write(run))


def _list(rows: Sequence[str], kind: str) -> str:
    return tag("ol", *rows, class_=f"slots {kind}".strip())


def name(metric: str) -> str:
    """Name a metric as it is written."""
    return metric.replace("ndcg", "nDCG") if metric.startswith("ndcg") else metric.upper()


def _asset(package: str, file: str) -> str:
    return files(package).joinpath("assets", file).read_text(encoding="utf-8").rstrip("\n")
