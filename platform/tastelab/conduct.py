"""An experiment carried out: search, final runs, baselines, tables. Only what is not recorded yet is run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tastelab.cluster import study as studies
from tastelab.cluster.preflight import concurrency, worker_cpus
from tastelab.cluster.runtime import await_gpus, cluster
from tastelab.cluster.trainer import clean_up
from tastelab.cluster.tuner import Trials
from tastelab.compare import compare
from tastelab.config import digest, headline, replace_at, to_dict
from tastelab.evaluation import baselines
from tastelab.experiment import Experiment, Point, seeded
from tastelab.modeling.encoders import encoder_facts
from tastelab.plan import describe, look_ahead
from tastelab.presets import frozen, pooling
from tastelab.presets.retrieval import untrained_retrieval
from tastelab.probes import missing_probes, run_probes
from tastelab.progress import Progress
from tastelab.results.index import write_index
from tastelab.results.plots import Plot, write_plot
from tastelab.results.record import headline_value
from tastelab.results.rows import BASELINES, FIXED, comparable, make_rows
from tastelab.results.tables import Reported, summary, write_table
from tastelab.stage import Options, Stage, point_label, prepare
from tastelab.training.job import Job
from tastelab.untrained import probe_baselines, score_baseline
from tastelab.untrained_retrieval import RETRIEVAL_BASELINES, measured_by, score_retrieval_baseline

FROZEN = "frozen"


def conduct(experiment: Experiment, tables: Sequence[Reported], plots: Sequence[Plot], options: Options) -> None:
    """Carry out an experiment and write its tables and figures.

    Raises:
        ValueError: something is wrong with an option, before any work.
    """
    if options.dry_run:
        print(describe(look_ahead(experiment, options)))
        return
    stage = prepare(experiment, options)
    fixed = tables[0].fixed if tables else FIXED
    with ExitStack() as stack:
        Conductor(stage, stack, fixed).run()
    compare(stage, fixed)
    report(stage, tables, plots)


def report(stage: Stage, tables: Sequence[Reported], plots: Sequence[Plot]) -> None:
    """Write tables, figures and index from the records, and the summary on the screen."""
    reports, size = stage.options.cluster.reports, stage.options.size
    records = stage.store.load(stage.experiment.name)
    for plot in plots:
        write_plot(plot, records, reports)
    for table in tables:
        page, sheet = write_table(table, records, reports)
        own = [r for r in records if r["data"]["name"] == stage.data.name]
        print(f"\n{summary(table, own, size)}\nTable: {page} and {sheet}")
    write_index(reports)


@dataclass
class Conductor:
    """Runs the parts of one experiment that are missing; Ray starts when the first of them does."""

    stage: Stage
    stack: ExitStack
    """Holds the cluster, once it is up."""
    fixed: Sequence[str] = FIXED
    """Where the records of the table must agree."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the running cluster behind: Tune pickles its searcher, whose callback leads here."""
        return {"stage": self.stage, "stack": None, "fixed": self.fixed}

    def run(self) -> None:
        """Do what is missing."""
        points = self.search() if self.stage.experiment.search else list(self.stage.experiment.grid(self.stage.base))
        wanted = self._wanted(points)
        self.finals(wanted)
        run_probes(self.stage, missing_probes(self.stage, wanted) if self.stage.experiment.probes else [], self._up)
        self.baselines()

    def _up(self) -> Trials:
        return self.trials

    @cached_property
    def trials(self) -> Trials:
        """The trials of this launch, on a cluster that is up and has room for at least one."""
        stage, chosen = self.stage, self.stage.options.cluster
        resources = self.stack.enter_context(cluster(chosen.address))
        cpus = worker_cpus(resources.cpus, chosen.workers, chosen.cpus_per_worker)
        if chosen.address is not None:
            resources = await_gpus(resources, chosen.workers, cpus, chosen.gpus_per_worker)
        at_once = concurrency(resources.cpus, resources.gpus, chosen.workers, cpus, chosen.gpus_per_worker)
        places = dataclasses.replace(stage.template.cluster, cpus_per_worker=cpus)
        template = dataclasses.replace(stage.template, cluster=places)
        if resources.dashboard:
            print(f"Ray dashboard: http://{resources.dashboard}")
        label = f"{stage.experiment.name}-{stage.options.size}"
        return Trials(template, stage.data.fingerprint, at_once, label)

    def search(self) -> list[Point]:
        """Search until the study holds all trials; return the best configuration of each row."""
        stage, experiment = self.stage, self.stage.experiment
        storage = studies.open_storage(stage.template.cluster.home, experiment.name, stage.options.storage)
        prints = (stage.data.fingerprint, stage.template.encoder_fingerprint)
        study = studies.open_study(
            storage, experiment.study_name(stage.base, stage.options.size, prints), experiment, stage.num_trials
        )
        studies.mend(study, self._searched)
        missing = stage.num_trials - studies.num_finished(study)
        if missing > 0:
            progress = self._progress("search", stage.num_trials, stage.num_trials - missing)

            def write(status: str, point: Point, last: dict[str, Any]) -> dict[str, Any]:
                return self._write("search", status, point, last, progress)

            searcher = studies.StudySearch(experiment, stage.base, study, storage, self._identify, write)
            self.trials.search(searcher, missing, stage.base.evaluation.validations)
            progress.close()
            _go_on_later("trials", stage.num_trials - studies.num_finished(study))
        best = studies.best_points(study, experiment, stage.base)
        if lost := [label for label in experiment.rows.values if label not in best]:
            print(f"No trial succeeded for {', '.join(lost)}: see the failed trials under the table.")
        return list(best.values())

    def _progress(self, what: str, total: int, done: int) -> Progress:
        return Progress(what, total, done, headline(self.stage.base))

    def _wanted(self, points: list[Point]) -> list[Point]:
        """Return each point with every seed, and the frozen encoder, scored on the reported split."""
        evaluation: dict[str, Any] = {"evaluation.split": self.stage.split}
        if self.stage.experiment.search:  # what was chosen needs no watching any more
            evaluation["evaluation.validations"] = 1
        chosen = [Point(replace_at(p.config, evaluation), p.labels) for p in points]
        return [*seeded(chosen, self.stage.seeds), *self._frozen()]

    def finals(self, wanted: list[Point]) -> None:
        """Run what is not recorded yet."""
        group = self.stage.experiment.group
        missing = [point for point in wanted if not self._recorded(self._identify(point), point.labels[group])]
        if missing:
            progress, written = self._progress("final runs", len(wanted), len(wanted) - len(missing)), 0

            def write(status: str, point: Point, last: dict[str, Any]) -> dict[str, Any]:
                nonlocal written
                written += 1
                role = "baseline" if point.labels[self.stage.experiment.group] == FROZEN else "final"
                return self._write(role, status, point, last, progress)

            once = list({self._identify(point): point for point in reversed(missing)}.values())[::-1]
            self.trials.grid(once, write)
            progress.close()
            _go_on_later("final runs", len(once) - written)
            for point in missing:  # rows of one configuration share its run
                self._recorded(self._identify(point), point.labels[group])

    def baselines(self) -> None:
        """Score the baselines that train nothing, here in this process."""
        stage = self.stage
        ids = {name: self._baseline_id(name) for name in self._plain_baselines()}
        if stage.base.retrieval is not None:
            self._retrieval_baselines(ids)
            return
        split, rows = self._reported().evaluation_rows(stage.data)
        if missing := [name for name, run_id in ids.items() if not self._recorded(run_id, name)]:
            impressions = stage.data.impressions(split)
            impressions = impressions if len(impressions) == len(rows) else impressions.take(rows)
            for name in missing:
                result = score_baseline(stage, name, impressions, rows)
                label = BASELINES.get(name, name)
                record = stage.recorder.baseline(name, label, ids[name], self._reported(), result)
                stage.store.append(record | {"slices": result["slices"]})
        probe_baselines(stage, ids)

    def _retrieval_baselines(self, ids: Mapping[str, str]) -> None:
        for name, run_id in ids.items():
            if not self._recorded(run_id, name):
                result = score_retrieval_baseline(self._reported(), name)
                record = self.stage.recorder.baseline(name, BASELINES.get(name, name), run_id, self._reported(), result)
                self.stage.store.append(record | {"degrees": result["degrees"]})

    def _write(self, role: str, status: str, point: Point, last: dict[str, Any], progress: Progress) -> dict[str, Any]:
        job = self._job(point, keep=role == "final")
        extra: dict[str, Any] = {key: last[key] for key in ("trial", "error") if key in last}
        wall_time_s = last.get("wall_time") or last.get("time_total_s") or 0.0
        result = json.loads(last.get("result", "{}"))
        extra |= {key: result[key] for key in ("slices", "gamma") if key in result}
        record = self.stage.recorder.record(role, status, job, point, result, wall_time_s, **extra)
        self.stage.store.append(record)
        clean_up(job)
        seen = last.get("trial", {}).get("curve") or [[0, None]]
        value = headline_value(record) or seen[-1][1]
        progress.line(point_label(point, self.stage.experiment), status, value, wall_time_s, last.get("error"))
        return record

    def _searched(self, run_id: str) -> dict[str, Any] | None:
        found = [r for r in self.stage.store.load(self.stage.experiment.name) if r["run_id"] == run_id]
        return next((r for r in found if r["role"] == "search" and not r["stale"]), None)

    def _frozen(self) -> list[Point]:
        if FROZEN not in self.stage.experiment.baselines:
            return []
        values = {"model.adaptation": frozen(), "optim.epochs": 0, "evaluation.split": self.stage.split}
        if self.stage.base.retrieval is None:
            values |= {"model.pooling": pooling("mean"), "evaluation.whitening": False}
        else:
            width = encoder_facts(self.stage.template.encoder_path).width
            values |= untrained_retrieval(width)
        labels = {path: "–" for path in self.stage.experiment.space} | {self.stage.experiment.group: FROZEN}
        return [Point(replace_at(self.stage.base, values), labels)]

    def _plain_baselines(self) -> list[str]:
        possible = RETRIEVAL_BASELINES if self.stage.base.retrieval else baselines.available(self.stage.data)
        return [name for name in self.stage.experiment.baselines if name in possible]

    def _reported(self) -> Job:
        config = replace_at(self.stage.base, {"evaluation.split": self.stage.split})
        return dataclasses.replace(self.stage.template, config=config)

    def _baseline_id(self, name: str) -> str:
        job = self._reported()
        science = [name, to_dict(job.config.data), to_dict(job.config.evaluation), self.stage.data.fingerprint]
        retrieval = job.config.retrieval
        measured = [] if retrieval is None else [retrieval.days, to_dict(measured_by(retrieval))]
        return digest([*science, *measured])

    def _recorded(self, run_id: str, label: str) -> bool:
        """Tell whether a run is finished; one of another experiment or row is entered here, and none is run twice."""
        stage = self.stage
        found = stage.store.finished(run_id)
        if found is None:
            return False
        if (label, run_id) not in self._shown():  # a row shows the configuration that was entered last
            here = {"experiment": stage.experiment.name, "size": stage.options.size, "group": label, "label": label}
            role = "baseline" if label in BASELINES else "final"
            plain = {key: value for key, value in found.items() if key != "trial"}  # a search trial is one no more
            stage.store.append(plain | here | {"role": role})
        return True

    def _shown(self) -> set[tuple[str, str]]:
        records = self.stage.store.load(self.stage.experiment.name)
        own = [r for r in records if r["data"]["fingerprint"] == self.stage.data.fingerprint]
        rows = make_rows(comparable(own, self.stage.options.size, self.fixed)[0])
        return {(row.group, run["run_id"]) for row in rows for run in row.runs}

    def _job(self, point: Point, keep: bool = False) -> Job:
        return self.stage.template.at(point.config, self.stage.data.fingerprint, keep)

    def _identify(self, point: Point) -> str:
        return self._job(point).run_id


def _go_on_later(what: str, num_open: int) -> None:
    """End the launch if Tune came back early: it takes an interrupt for the end of its trials."""
    if num_open > 0:
        raise Interrupted(f"Interrupted with {num_open} {what} open: the same command goes on from here.")


class Interrupted(Exception):
    """A person stopped the launch; what was finished is recorded."""
