"""What `tastelab rank` reads and prints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from tastelab.serving.ranker import Ranked


def read_texts(lines: Iterable[str]) -> list[str]:
    """Return one text per line, blank lines left out; raises `ValueError` if there is none, or it is not UTF-8."""
    try:
        texts = [text for line in lines if (text := line.strip())]
    except UnicodeDecodeError as error:
        raise ValueError("The candidates are not UTF-8 text: pass a text file with one candidate per line.") from error
    if not texts:
        raise ValueError("There are no candidates: pass a file with one text per line.")
    return texts


def as_lines(ranked: Sequence[Ranked], as_json: bool) -> str:
    """Format a ranking as a table, best first, or as a JSON list of position, index, score and text."""
    if as_json:
        return json.dumps([dataclasses.asdict(place) for place in ranked], ensure_ascii=False, indent=2)
    rows = [f"{place.position:>4}  {place.score:>8.4f}  {place.text}" for place in ranked]
    return "\n".join([f"{'rank':>4}  {'score':>8}  text", *rows])
