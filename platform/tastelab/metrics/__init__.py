"""Metrics of rankings, and intervals of their means; numpy only."""

from __future__ import annotations

from tastelab.metrics.dialects import first_hit_mrr, pooled_auc
from tastelab.metrics.intervals import Interval, bootstrap_mean
from tastelab.metrics.ranking import counts, official_ranks, per_impression, summary

__all__ = [
    "Interval",
    "bootstrap_mean",
    "counts",
    "first_hit_mrr",
    "official_ranks",
    "per_impression",
    "pooled_auc",
    "summary",
]
