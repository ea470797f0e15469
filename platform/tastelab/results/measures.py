"""What is known of each metric: how it is named and printed, what it is counted over, and which way is better.

Ranking metrics are means over impressions, retrieval metrics over users (methods.md §1). A metric that is not listed is
printed as a ranking metric is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tastelab.config import LOWER_IS_BETTER

MINUS, NO_BREAK = "−", "\u00a0"
PIPELINE = "pipeline_"  # of what is retrieved, then ranked
DAYS = {"weekday": "weekdays", "weekend": "weekends"}


@dataclass(frozen=True)
class Measure:
    """A metric as people read it: `label`, and a number as `spec` formats it after `scale`, with its `unit`."""

    label: str
    spec: str = ".4f"
    scale: float = 1.0
    unit: str = ""
    better: int = 1
    """1: more is better, -1: less is, 0: neither, so no row is the best."""
    over: str = "impressions"
    """What its mean and its interval are over."""

    def number(self, value: float) -> str:
        """Write a value."""
        return format(value * self.scale, self.spec) + self.unit

    def span(self, low: float, high: float) -> str:
        """Write an interval, its unit once."""
        return f"{low * self.scale:{self.spec}} – {high * self.scale:{self.spec}}{self.unit}"

    def signed(self, value: float) -> str:
        """Write a difference without its unit, with a sign that a zero has not; a minus is as wide as a plus."""
        text = format(value * self.scale, f"+{self.spec}")
        return text.lstrip("+-") if not as_number(text) else text.replace("-", MINUS, 1)

    def printed(self, value: float) -> str:
        """Write a published value with the digits that it was published with."""
        spec = ".4g" if self.unit == PERCENT else ".4f" if self.spec == ".4f" else ",.10g"
        return format(value * self.scale, spec) + self.unit

    @property
    def difference_unit(self) -> str:
        """What stands beside the name of a difference: percentage points for a share, else the unit, if any."""
        return ", % points" if self.unit == PERCENT else f", {self.unit.strip()}" if self.unit else ""


PERCENT = f"{NO_BREAK}%"
_USERS: dict[str, Any] = {"over": "users"}
_SHARE: dict[str, Any] = {"spec": ".2f", "scale": 100.0, "unit": PERCENT, **_USERS}

MEASURES: Mapping[str, Measure] = {
    "auc": Measure("AUC"),
    "mrr": Measure("MRR"),
    "ndcg": Measure("nDCG"),
    "hr": Measure("HR", **_SHARE),
    "pipeline_hr": Measure("pipeline HR", ".2f", 100.0, PERCENT),
    "pipeline_mrr": Measure("pipeline MRR"),
    "diversity": Measure("diversity", ",.0f", **_USERS),
    "coverage": Measure("coverage", **_SHARE),
    "gini": Measure("Gini", ".3f", better=0, **_USERS),
    "popularity": Measure("popularity", "#.3g", better=0, **_USERS),
    "popularity_index": Measure("popularity index", ".3f", better=0, **_USERS),
    "kl": Measure("KL", "#.4g", **_USERS),
    "ctr": Measure("CTR", **_SHARE),
    "dwell": Measure("dwell time", ".2f", unit=f"{NO_BREAK}s", **_USERS),
    "dwell_gain": Measure("dwell time gain", "+.2f", 100.0, PERCENT, over="users"),
}
"""Metric, without what follows its `@`, → what is known of it."""

RETRIEVAL = frozenset(name for name, measure in MEASURES.items() if measure.over == "users")


def measure(metric: str) -> Measure:
    """Return what is known of a metric: `hr@50_weekday` is HR@50 on weekdays, `sim/ctr` the CTR."""
    base, at, k = metric.rpartition("/")[2].partition("@")
    if base.startswith(PIPELINE):
        return replace(
            measure(metric.removeprefix(PIPELINE)), label=f"pipeline {metric_label(metric[len(PIPELINE) :])}"
        )
    k, _, part = k.partition("_")
    known = MEASURES.get(base, Measure(base))
    label = known.label + at + k + (f" {DAYS.get(part, part)}" if part else "")
    better = -1 if base.startswith(LOWER_IS_BETTER) else known.better
    return Measure(label, known.spec, known.scale, known.unit, better, known.over)


def metric_label(metric: str) -> str:
    """Write a metric's key as the field does: `ndcg@5` → `nDCG@5`."""
    return measure(metric).label


def as_number(printed: str) -> float:
    """Read back what `Measure.number` writes: `10,780` → 10780, `17.82 %` → 17.82."""
    return float(printed.removesuffix(PERCENT).removesuffix(f"{NO_BREAK}s").replace(",", "").replace(MINUS, "-"))


def is_retrieval(run: Mapping[str, Any]) -> bool:
    """Whether a record is of candidate generation: it counts users, and not impressions."""
    counts, config = run.get("counts") or {}, run.get("config") or {}
    if "n_users" in counts or config.get("retrieval"):
        return True
    return _are_of_users(run.get("metrics") or {})


def unit_of(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return what the intervals of runs are over: users where all of them are of candidate generation."""
    return "users" if runs and all(map(is_retrieval, runs)) else "impressions"


def _are_of_users(metrics: Collection[str]) -> bool:
    bases = {metric.partition("@")[0] for metric in metrics}
    return bool(bases) and bases <= RETRIEVAL
