"""What is written down of a run: one record, complete enough that every table and figure is made from records alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tastelab.config import METHOD_VERSION, to_dict
from tastelab.experiment import Point
from tastelab.results.provenance import anonymise, provenance
from tastelab.results.store import EXTRAS
from tastelab.training.job import Job


@dataclass(frozen=True)
class Recorder:
    """Builds the records of one launch of an experiment."""

    experiment: str
    size: str
    group: str
    data: Mapping[str, Any]
    """Name, fingerprint, and what is known of the data, such as its best reachable AUC."""
    origin: Mapping[str, Any] = field(default_factory=provenance)

    def record(
        self,
        role: str,
        status: str,
        job: Job,
        point: Point,
        result: Mapping[str, Any],
        wall_time_s: float,
        **extra: Any,
    ) -> dict[str, Any]:
        """Build the record of a run that finished, was pruned, or failed."""
        kept = job.keep and status == "finished"
        return self._common(role, status, point.labels[self.group]) | {
            "run_id": job.run_id,
            "labels": dict(point.labels),
            "config": to_dict(job.config),
            "seed": job.config.seed,
            "metrics": result.get("metrics", {}),
            "counts": result.get("counts", {}),
            "split": job.config.evaluation.split,
            "dialect": job.config.evaluation.ties,
            "features": list(job.config.data.features),
            "params_trained": result.get("params_trained"),
            "params_total": result.get("params_total"),
            "encoder": encoder_of(job),
            "hardware": dict(self.origin["hardware"]) | {"workers": result.get("workers", job.cluster.workers)},
            "wall_time_s": round(wall_time_s, 3),
            "throughput": result.get("throughput", {}),
            "peak_memory_mb": result.get("peak_memory_mb"),
            "latency_ms": result.get("latency_ms", {}),
            "curves": result.get("curves", {}),
            "checkpoint": f"runs/{job.run_id}/checkpoint" if kept else None,
            "values": f"runs/{job.run_id}/impressions.npz" if kept else None,
            **{key: result[key] for key in EXTRAS if result.get(key)},
            **{key: anonymise(value) if isinstance(value, str) else value for key, value in extra.items()},
        }

    def baseline(self, name: str, label: str, run_id: str, job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
        """Build the record of a baseline of methods.md §1, which trains nothing."""
        return self._common("baseline", "finished", name) | {
            "run_id": run_id,
            "label": label,
            "config": {
                "baseline": name,
                "data": to_dict(job.config.data),
                "evaluation": to_dict(job.config.evaluation),
            },
            "seed": 0,
            "metrics": result["metrics"],
            "counts": result["counts"],
            "split": job.config.evaluation.split,
            "dialect": job.config.evaluation.ties,
            "features": list(job.config.data.features) if name in ("tfidf", "frozen") else [],
            "params_trained": 0,
            "encoder": None,
            "hardware": dict(self.origin["hardware"]),
            "wall_time_s": result.get("wall_time_s"),
            **{key: result[key] for key in EXTRAS if result.get(key)},
        }

    def comparison(self, run_id: str, label: str, like: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        """Build the record of a row compared with the first row of its table; `like` is a run of the row."""
        shared = {key: like.get(key) for key in ("encoder", "split", "dialect")}
        return self._common("comparison", "finished", label) | {"run_id": run_id, **shared, "comparison": dict(found)}

    def _common(self, role: str, status: str, group: str) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "role": role,
            "status": status,
            "size": self.size,
            "label": group,
            "group": group,
            "method_version": METHOD_VERSION,
            "data": dict(self.data),
            "git": self.origin["git"],
            "versions": self.origin["versions"],
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def encoder_of(job: Job) -> dict[str, Any] | None:
    """Name the encoder of a run; a model with words of its own has none."""
    if job.tokenizer is not None:
        return None
    return {"name": job.config.model.encoder.name, "fingerprint": job.encoder_fingerprint}


def headline_value(record: Mapping[str, Any]) -> float | None:
    """Return the mean of the metric that choosing looks at: AUC, or what a retrieval run names; None without one."""
    value = (record.get("metrics") or {}).get(headline_of(record), {}).get("mean")
    return None if value is None else float(value)


def headline_of(record: Mapping[str, Any]) -> str:
    """Name the metric that choosing looks at in a record's run, as `config.headline` does for a configuration."""
    retrieval = (record.get("config") or {}).get("retrieval") or {}
    return str(retrieval.get("metric", "auc"))
