"""What `tastelab retrieve` reads and prints: the latest clicks, then the items, as the last figures of [B] do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from tastelab.serving.retriever import Answer, Found

LATEST = 8
"""Clicks that are shown."""


def read_history(lines: Iterable[str]) -> list[str]:
    """Return one click per line, the oldest first, blank lines left out; raises `ValueError` if it is not UTF-8."""
    try:
        return [text for line in lines if (text := line.strip())]
    except UnicodeDecodeError as error:
        raise ValueError("The history is not UTF-8 text: pass a text file with one item a line.") from error


def as_lines(answer: Answer, as_json: bool = False) -> str:
    """Format what is retrieved: notes, the latest clicks (the newest last), the items, and those of each vector."""
    if as_json:
        return json.dumps(dataclasses.asdict(answer), ensure_ascii=False, indent=2)
    latest = answer.clicks[-LATEST:]
    lines = list(answer.notes)
    if latest:
        lines += [f"The user's latest {len(latest)} clicks" if len(latest) > 1 else "The user's latest click"]
        lines += [f"      {click.title}" for click in latest]
    lines += ["", *_table("Top items", answer.items)]
    for number, items in enumerate(answer.vectors, start=1):
        lines += ["", *_table(f"Top items retrieved by vector {number}", items)]
    return "\n".join(lines)


def _table(heading: str, items: Sequence[Found]) -> list[str]:
    rows = [f"{item.position:>4}  {item.score:>8.4f}  {item.title}" for item in items]
    return [heading, f"{'rank':>4}  {'score':>8}  item", *rows]
