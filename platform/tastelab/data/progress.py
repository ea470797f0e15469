"""A bar on a terminal, plain lines now and then otherwise."""

from __future__ import annotations

import sys
from typing import NoReturn, TextIO

from tqdm import tqdm

LINE_EVERY_S = 10.0


class _Lines:
    """Turn the redraws of a bar into lines, for a log."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()


def bar_of(total: int | None, label: str, show: bool, *, unit: str = "B", initial: int = 0) -> tqdm[NoReturn]:
    """Return a `tqdm` bar with rate and remaining time, over bytes unless told; `show` False keeps it silent."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        desc=label,
        unit=unit,
        unit_scale=True,
        disable=not show,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.1 if terminal else LINE_EVERY_S,
        leave=not terminal,
        dynamic_ncols=terminal,
    )
