"""Each row of an experiment against its first row, impression by impression, written down as a record.

Records hold means, and a paired test needs the values of each impression. These lie in the home folder beside the
checkpoints; what the test found is recorded, so that a table can be made again from records alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastelab.config import digest, headline
from tastelab.results.rows import FIXED, Row, comparable, make_rows
from tastelab.results.statistics import paired_bootstrap, paired_permutation
from tastelab.results.store import Record
from tastelab.stage import Stage


def compare(stage: Stage, fixed: Sequence[str] = FIXED) -> None:
    """Record the paired test of every finished row against the first, unless it is recorded for these very runs."""
    records = stage.store.load(stage.experiment.name)
    own = [r for r in records if r["data"]["fingerprint"] == stage.data.fingerprint and r["role"] != "comparison"]
    done = {r["run_id"] for r in records if r["role"] == "comparison" and r["size"] == stage.options.size}
    labels = [(label, label) for label in stage.experiment.rows.values]
    rows = make_rows(comparable(own, stage.options.size, fixed)[0], rows=labels)
    first = rows[0]
    home, metric = stage.template.cluster.home, headline(stage.base)
    for row in rows:
        shared = sorted({*row.seeds} & {*first.seeds})
        if row.group == first.group or not shared:
            continue
        runs, against = _of_seeds(row, shared), _of_seeds(first, shared)
        sides = [[run["run_id"] for run in side.runs] for side in (row, first)]
        run_id = digest(["comparison", metric, sides])
        if run_id in done or not all(_has(home, run, metric) for run in (*runs, *against)):
            continue
        found = _paired(home, runs, against, metric) | {
            "metric": metric,
            "against": first.group,
            "runs": sides[0],
            "against_runs": sides[1],
            "seeds": shared,
        }
        stage.store.append(stage.recorder.comparison(run_id, row.group, runs[0], found))


def _of_seeds(row: Row, seeds: list[int]) -> list[Record]:
    return [run for run in row.runs if run["seed"] in seeds]


def _paired(home: Path, runs: list[Record], against: list[Record], metric: str) -> dict[str, Any]:
    """Compare two rows by their values averaged over seeds; a test of impressions, not of training runs."""
    first, second = (np.mean([_values(home, run, metric) for run in side], axis=0) for side in (runs, against))
    bounds, test = paired_bootstrap(first, second), paired_permutation(first, second)
    return {
        "difference": test.difference,
        "low": bounds.low,
        "high": bounds.high,
        "p": test.p,
        "n": test.n,
        "test": test.test,
    }


def _has(home: Path, run: Record, metric: str) -> bool:
    """Tell whether a run left values of a metric to pair: they may lie elsewhere, and some metrics have none."""
    if not (file := _values_file(home, run)).is_file():
        return False
    with np.load(file) as values:
        return metric in values.files


def _values(home: Path, run: Record, metric: str) -> NDArray[np.float64]:
    with np.load(_values_file(home, run)) as file:
        values: NDArray[np.float64] = file[metric][np.argsort(file["rows"])]
    return values


def _values_file(home: Path, run: Record) -> Path:
    return home / "runs" / str(run["run_id"]) / "impressions.npz"
