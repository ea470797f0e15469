"""Numbers as people read them in a table: differences, p-values, durations, latencies, names of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tastelab.results.measures import measure, metric_label

__all__ = ["ABSENT", "count", "difference", "duration", "metric_label", "milliseconds", "p_value"]

ABSENT = "–"


def duration(seconds: float | None) -> str:
    """Write seconds in the largest unit that leaves two or three digits: 47 s, 3.2 min, 5.1 h."""
    if seconds is None:
        return ABSENT
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def milliseconds(value: float | None) -> str:
    """Write a latency in milliseconds with three digits or more: 0.0123, 4.56, 1,234."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def count(number: float | None) -> str:
    """Write a count with separators: 1,327,104."""
    return ABSENT if number is None else f"{number:,.0f}"


def difference(test: Mapping[str, Any] | None) -> str:
    """Write the difference that a test found, with its unbroken interval, if any: `+0.0123 (+0.0011 – +0.0235)`."""
    if test is None:
        return ABSENT
    known, low, high = measure(test.get("metric") or "auc"), test.get("low"), test.get("high")
    interval = "" if low is None or high is None else f" ({known.signed(low)}\u00a0–\u00a0{known.signed(high)})"
    return known.signed(test["difference"]) + interval


def p_value(p: float | None) -> str:
    """Write a p-value with three decimals: `0.013`, `< 0.001`."""
    if p is None:
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
