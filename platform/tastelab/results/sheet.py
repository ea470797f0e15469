"""The CSV file of a table: one line per row and section in full precision, an empty cell for what is not there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from tastelab.results.measures import is_retrieval
from tastelab.results.rows import Row
from tastelab.results.sections import Section
from tastelab.results.store import distinct

MEANS = {
    "wall_time_s": "wall_time_s",
    "impressions_per_s": "throughput.impressions_per_s",
    "peak_memory_mb": "peak_memory_mb",
    **{f"latency_{name}_ms": f"latency_ms.{name}" for name in ("warm_1", "warm_64", "cold_1", "cold_64")},
}
"""Column → path of a number that is averaged over the runs of a row."""

SHARED = (
    *("counts.n_total", "counts.n_scored", "counts.n_single_class", "counts.n_empty_history"),
    *("params_trained", "params_total", "split", "dialect", "features"),
    *("data.name", "data.fingerprint", "encoder.name", "encoder.fingerprint", "method_version", "git.commit"),
)
OF_USERS = ("n_users", "n_diversity_users", "n_cold_targets", "n_items")
"""Counts that only runs of candidate generation have."""

SETTINGS = ("data.train_impressions", "optim.epochs", "optim.learning_rate", "optim.weight_decay", "optim.global_batch")


def line(row: Row, section: Section, metrics: Sequence[str]) -> dict[str, Any]:
    """Return one line: a row of a section."""
    made = heads(row, section) | estimates(row, metrics)
    test = (row.comparison or {}).get("comparison", {})
    made |= {f"vs_first_{part}": test.get(part) for part in ("metric", "difference", "low", "high", "p")}
    made |= {"vs_first_p_holm": row.p_holm}
    made |= {f"trials_{status}": row.num_trials(status) for status in ("finished", "pruned", "failed")}
    made |= {"runs_failed": len(row.failed)}
    made |= {name: row.mean(path) for name, path in MEANS.items()}
    made |= {path.rpartition(".")[2]: _all([] if row.baseline else row.runs, f"config.{path}") for path in SETTINGS}
    return made | origins(row, section)


def with_others(metrics: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return a table's metrics and, where its runs are of candidate generation, all others that these have."""
    runs = [run for row in rows for run in row.runs if is_retrieval(run)]
    found = (name for run in runs for name in run.get("metrics") or {})
    derived = (name for row in rows for name in row.relative)
    return list(dict.fromkeys([*metrics, *found, *derived]))


def heads(row: Row, section: Section) -> dict[str, Any]:
    """Return what a line begins with: which row it is, and how far it is."""
    made = {"group": row.group, "label": row.label, "kind": "baseline" if row.baseline else "run"}
    return made | {"status": row.status, "size": section.size, "seeds": " ".join(map(str, row.seeds))}


def estimates(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    """Return the mean of each metric, its bounds, its spread over seeds and its number of impressions, or users."""
    made: dict[str, Any] = {}
    for metric in metrics:
        found = row.estimate(metric)
        made[metric] = getattr(found, "mean", None)
        made |= {f"{metric}_{part}": getattr(found, part, None) for part in ("low", "high", "sd", "n")}
    return made


def origins(row: Row, section: Section) -> dict[str, Any]:
    """Return what a line ends with: what its runs were measured on and with, and their ids."""
    made = {path.removeprefix("counts.").replace(".", "_"): _all(row.runs, path) for path in SHARED}
    made["data_name"] = made["data_name"] or section.data
    made |= {"run_ids": " ".join(run["run_id"] for run in row.runs)}
    return made | {name: found for name in OF_USERS if (found := _all(row.runs, f"counts.{name}"))}


def sheet(lines: Sequence[dict[str, Any]]) -> str:
    """Return lines as CSV; a column that only some of them have is empty in the others."""
    out = io.StringIO()
    columns = list(dict.fromkeys(column for line in lines for column in line)) or ["group"]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _all(runs: Sequence[dict[str, Any]], path: str) -> str:
    return " ".join(map(str, distinct(runs, path)))
