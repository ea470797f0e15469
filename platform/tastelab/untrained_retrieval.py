"""The baselines of candidate generation that train nothing, measured on the whole catalogue in this process."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from tastelab.config import RetrievalConfig
from tastelab.data.clicks import fitting_and_validation_clicks, reported_clicks
from tastelab.data.sequences import prepare_sequences
from tastelab.retrieval.baselines import score_plain
from tastelab.training.job import Job

RETRIEVAL_BASELINES = ("random", "popularity")


def score_retrieval_baseline(job: Job, name: str) -> dict[str, Any]:
    """Measure one baseline on the reported clicks of a job's data: metrics, counts, degrees."""
    start, config = time.perf_counter(), job.config
    assert config.retrieval is not None
    data = job.open_data()
    sequences = prepare_sequences(data)
    everything = dataclasses.replace(config.data, train_impressions=None)
    fitting, validation = fitting_and_validation_clicks(sequences, everything, config.retrieval.days)
    rows = validation
    if config.evaluation.split != "validation":
        rows = reported_clicks(sequences, config.evaluation.split)
    clicks_N = np.bincount(np.asarray(sequences.items)[fitting], minlength=data.num_items)
    found = score_plain(name, sequences, rows, config, clicks_N / max(1, clicks_N.sum()))
    seconds = round(time.perf_counter() - start, 3)
    return {"metrics": found.metrics, "counts": found.counts, "degrees": found.degrees, "wall_time_s": seconds}


def measured_by(config: RetrievalConfig) -> dict[str, Any]:
    """Return what the measurement of a retrieval depends on, whatever is trained."""
    return {"ks": list(config.ks), "exclude_seen": config.exclude_seen, "diversity_users": config.diversity_users}
