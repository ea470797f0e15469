"""The probes of an experiment: which are missing, and how what they find is recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tastelab.cluster.probing import Probing, measure
from tastelab.cluster.tuner import Trials
from tastelab.config import digest, replace_at, to_dict
from tastelab.experiment import Point
from tastelab.progress import Progress
from tastelab.results.provenance import anonymise
from tastelab.stage import Stage
from tastelab.training.job import Job

RETRIEVER = "evaluation.retriever"


@dataclass(frozen=True)
class Missing:
    """A finished run and the probes of it that are not recorded: label → job."""

    point: Point
    job: Job
    probes: Mapping[str, Job]


def missing_probes(stage: Stage, points: Sequence[Point]) -> list[Missing]:
    """Find what was not measured yet of the finished runs of some points; a run without its model is named and left."""
    done = _done(stage)
    found = []
    for point in points:
        job = stage.template.at(point.config, stage.data.fingerprint)
        if stage.store.finished(job.run_id) is None:
            continue
        wanted = {
            label: retrieved_by(stage, values, point, points) for label, values in stage.experiment.probes.items()
        }
        probes = {label: _job(stage, job, values) for label, values in wanted.items() if values is not None}
        probes = {label: probe for label, probe in probes.items() if (probe.run_id, label) not in done}
        if probes and not (job.folder / "impressions.npz").is_file():
            label = point.labels[stage.experiment.group]
            print(f"Run {job.run_id} of '{label}' is not probed: its model is not under {stage.template.cluster.home}.")
        elif probes:
            found.append(Missing(point, job, probes))
    return found


def retrieved_by(
    stage: Stage, values: Mapping[str, Any], point: Point, points: Sequence[Point]
) -> Mapping[str, Any] | None:
    """Put the run of the same seed for the row that retrieves in a probe; None where its model is not there."""
    row = values.get(RETRIEVER)
    if row is None:
        return values
    alike = [p for p in points if p.labels[stage.experiment.group] == row and p.config.seed == point.config.seed]
    jobs = [stage.template.at(p.config, stage.data.fingerprint) for p in alike]
    kept = [job for job in jobs if stage.store.finished(job.run_id) and (job.folder / "impressions.npz").is_file()]
    return {**values, RETRIEVER: kept[0].run_id} if kept else None


def run_probes(stage: Stage, missing: Sequence[Missing], trials: Callable[[], Trials]) -> None:
    """Measure and record; `trials` brings the cluster up and says what a worker of it reserves."""
    if not missing:
        return
    places = trials().template.cluster
    progress = Progress("probes", sum(len(each.probes) for each in missing))
    probings = [Probing(dataclasses.replace(each.job, cluster=places), tuple(each.probes.values())) for each in missing]
    failed = measure(
        probings, places.cpus_per_worker or 1.0, places.gpus_per_worker, partial(_write, stage, missing, progress)
    )
    progress.close()
    for place, reason in sorted(failed.items()):
        of = missing[place]
        print(f"The probes of '{of.point.labels[stage.experiment.group]}' failed: {reason}")
        for label in of.probes:
            stage.store.append(_record(stage, of, label, "failed", {}, 0.0) | {"error": anonymise(reason)})


def _done(stage: Stage) -> set[tuple[str, str]]:
    """Return id and label of the probes that are recorded at this size: a table shows no others."""
    records = stage.store.load(stage.experiment.name)
    probes = [r for r in records if r["role"] == "probe" and r["status"] == "finished" and not r["stale"]]
    return {(r["run_id"], str(r["probe"])) for r in probes if r["size"] == stage.options.size}


def _job(stage: Stage, job: Job, values: Mapping[str, Any]) -> Job:
    """Describe the job that a probe reads and evaluates by; its id says of which run and under which conditions."""
    config = replace_at(job.config, values)
    found = stage.template.at(config, stage.data.fingerprint)
    identity = digest(["probe", job.run_id, to_dict(config.data), to_dict(config.evaluation)])
    return dataclasses.replace(found, run_id=identity)


def _write(
    stage: Stage,
    missing: Sequence[Missing],
    progress: Progress,
    place: int,
    measured: Job,
    result: dict[str, Any],
    seconds: float,
) -> None:
    of, group = missing[place], stage.experiment.group
    label = next(name for name, job in of.probes.items() if job.run_id == measured.run_id)
    stage.store.append(_record(stage, of, label, "finished", result, seconds) | {"slices": result["slices"]})
    auc = result["metrics"].get("auc", {}).get("mean")
    progress.line(f"{of.point.labels[group]} → {label}", "finished", auc, seconds)


def _record(
    stage: Stage, of: Missing, label: str, status: str, result: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    about = {"of": of.job.run_id, "probe": label, "probe_order": list(stage.experiment.probes).index(label)}
    job = of.probes[label]
    if (retriever := job.config.evaluation.retriever) is not None:  # seeds of a row share a configuration: name the row
        about["retriever"] = retriever
        named = replace_at(job.config, {RETRIEVER: stage.experiment.probes[label][RETRIEVER]})
        job = dataclasses.replace(job, config=named)
    return stage.recorder.record("probe", status, job, of.point, result, seconds, **about)
