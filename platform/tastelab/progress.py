"""Progress of the runs of an experiment: a bar on a terminal, one plain line per run otherwise."""

from __future__ import annotations

import math
import sys

from tqdm import tqdm

from tastelab.results.measures import metric_label


class Progress:
    """Counts runs as they end, with rate and remaining time."""

    def __init__(self, what: str, total: int, done: int = 0, metric: str = "auc") -> None:
        """Count towards `total` runs, of which `done` were found finished; `metric` is what a line tells of each."""
        self.what, self.total, self.done, self.metric = what, total, done, metric_label(metric)
        self._bar = tqdm(total=total, initial=done, desc=what, unit="run", disable=not sys.stderr.isatty())

    def line(self, label: str, status: str, value: float | None, seconds: float, error: str | None = None) -> None:
        """Tell how one run ended."""
        self.done += 1
        known = value is not None and not math.isnan(value)
        outcome = error if status == "failed" else f"{self.metric} {value:.4f}" if known else "no result"
        text = f"[{self.what} {self.done}/{self.total}] {label}: {status}, {outcome}, {seconds:.0f} s"
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
        self._bar.update(1)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
