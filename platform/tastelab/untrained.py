"""The baselines of methods.md §1 that train nothing, scored in this process: as they are, and under every probe.

Random, popularity and newest read no texts, so other features change nothing for them. TF-IDF reads other features, but
not as a study takes parts of them away: those cells stay pending.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.config import RunConfig, digest, replace_at, to_dict
from tastelab.data.order import fitting_and_validation
from tastelab.data.ragged import flat
from tastelab.evaluation import baselines
from tastelab.evaluation.evaluate import Evaluation
from tastelab.evaluation.slices import slices
from tastelab.metrics import ranking
from tastelab.results.rows import BASELINES
from tastelab.stage import Stage

Ints = npt.NDArray[np.int64]
READ_TEXTS = ("tfidf",)


def score_baseline(
    stage: Stage, name: str, impressions: pa.Table, rows: Ints, config: RunConfig | None = None
) -> dict[str, Any]:
    """Measure one baseline on reported impressions.

    Args:
        stage: the launch.
        name: of the baseline.
        impressions: of the reported split.
        rows: rows of the split that `impressions` are.
        config: how it reads, the base of the launch unless given.
    """
    start, config = time.perf_counter(), config or stage.base
    fitting, _ = fitting_and_validation(stage.data, dataclasses.replace(stage.base.data, train_impressions=None))
    seen = None if stage.split == "dev" else fitting
    scores = baselines.score(
        name, stage.data, impressions, seen, config.data.features, config.data.max_history, config.seed
    )
    labels, offsets = flat(impressions["labels"])
    _, history_offsets = flat(impressions["history"])
    evaluation = config.evaluation
    values = ranking.per_impression(scores, labels, offsets, ks=evaluation.ks, ties=evaluation.ties)
    counts = ranking.counts(labels, offsets, np.diff(history_offsets))
    seconds = round(time.perf_counter() - start, 3)
    metrics = ranking.summary(values)
    split = "dev" if stage.split == "dev" else "train"
    whole = Evaluation(rows, values, counts, metrics)
    cut = slices(stage.data, split, whole, np.zeros(0, np.int64), config.data.max_history)
    return {"metrics": metrics, "counts": counts, "wall_time_s": seconds, "slices": cut}


def probe_baselines(stage: Stage, ids: Mapping[str, str]) -> None:
    """Measure what is missing of the baselines under the probes; `ids` has the run id of each by its name."""
    records = stage.store.load(stage.experiment.name)
    done = {(r["run_id"], r["probe"]) for r in records if r["role"] == "probe" and r["size"] == stage.options.size}
    for order, (label, values) in enumerate(stage.experiment.probes.items()):
        config = replace_at(stage.base, {"evaluation.split": stage.split, **values})
        for name, of in ids.items():
            run_id = digest(["probe", of, to_dict(config.data), to_dict(config.evaluation)])
            if (run_id, label) in done or not _can_read(name, config):
                continue
            job = dataclasses.replace(stage.template, config=config)
            split, rows = job.evaluation_rows(stage.data)
            result = score_baseline(stage, name, stage.data.impressions(split).take(rows), rows, config)
            record = stage.recorder.baseline(name, BASELINES.get(name, name), run_id, job, result)
            probe = {"role": "probe", "of": of, "probe": label, "probe_order": order, "slices": result["slices"]}
            stage.store.append(record | probe | {"features": list(config.data.features)})


def _can_read(name: str, config: RunConfig) -> bool:
    if config.evaluation.retriever is not None:  # they rank what was shown, and look nothing up
        return False
    return name not in READ_TEXTS or (not config.data.missing and config.data.title_words is None)
