"""Tune: every run of an experiment is a trial, of a grid or of a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler

from tastelab.cluster.preflight import DRIVER_CPU
from tastelab.cluster.study import StudySearch
from tastelab.cluster.trial import METRIC, TIME, job_of, point_of, run_trial, trial_config
from tastelab.experiment import Point
from tastelab.training.job import Job


@dataclasses.dataclass(frozen=True)
class Trials:
    """How the trials of one launch run, whatever their points."""

    template: Job
    data_fingerprint: str
    concurrent: int
    label: str

    def search(self, searcher: StudySearch, num_trials: int, validations: int) -> ResultGrid:
        """Run `num_trials` trials that `searcher` suggests; ASHA stops the poor ones at their validations."""
        scheduler = AskingASHA(
            ask=lambda trial: job_of(point_of(trial.config), self.template, self.data_fingerprint, False).stop_file,
            time_attr=TIME,
            metric=METRIC,
            mode="max",
            grace_period=1,
            reduction_factor=2,
            max_t=validations + 2,  # beyond the last report
        )
        config = TuneConfig(
            search_alg=searcher, scheduler=scheduler, num_samples=num_trials, max_concurrent_trials=self.concurrent
        )
        return self._fit(config, {}, keep=False)

    def grid(self, points: Sequence[Point], write: Callable[[str, Point, dict[str, Any]], Any]) -> ResultGrid:
        """Run each point once, in order; `write` records each as it ends."""
        space = {"point": tune.grid_search([trial_config(point) for point in points])}
        config = TuneConfig(metric=METRIC, mode="max", max_concurrent_trials=self.concurrent)
        return self._fit(config, space, keep=True, callbacks=[RecordEach(write)])

    def _fit(
        self, config: TuneConfig, space: dict[str, Any], keep: bool, callbacks: Sequence[Callback] = ()
    ) -> ResultGrid:
        trainable = tune.with_parameters(
            _trainable, template=self.template, data_fingerprint=self.data_fingerprint, keep=keep
        )
        tuner = Tuner(
            tune.with_resources(trainable, {"cpu": DRIVER_CPU}),
            param_space=space,
            tune_config=config,
            run_config=RunConfig(
                name=self.label,
                storage_path=str(Path(self.template.cluster.home).resolve() / "tune"),
                callbacks=[JsonLoggerCallback(), *callbacks],
                verbose=0,
            ),
        )
        return tuner.fit()


class AskingASHA(ASHAScheduler):
    """ASHA that asks a poor trial to end, by a file that its workers look for, instead of having Tune kill it.

    A killed trial leaves its training processes to find out by themselves: they train on, or their placement group
    outlives them, and the next trial waits for CPUs that nobody gives back (ray#54305).
    """

    def __init__(self, ask: Callable[[Trial], Path], **settings: Any) -> None:
        """Stop a trial by the file that `ask` names; `settings` are ASHA's own."""
        super().__init__(**settings)
        self.ask = ask

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Judge a validation; the trial goes on until it has found the file, and reports that itself."""
        if "step" in result and super().on_trial_result(tune_controller, trial, result) == self.STOP:
            file = self.ask(trial)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return str(self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Forget a trial; what it reports at its end is no validation."""
        self.on_trial_remove(tune_controller, trial)


class RecordEach(Callback):
    """Writes the record of each trial of a grid as it ends."""

    def __init__(self, write: Callable[[str, Point, dict[str, Any]], Any]) -> None:
        """Write records by `write(status, point, last result)`."""
        self.write = write

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial that came to its end."""
        if (trial.last_result or {}).get("finished"):
            self.write("finished", point_of(trial.config["point"]), trial.last_result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record a trial that failed, with its reason."""
        self.write("failed", point_of(trial.config["point"]), trial.last_result or {})


def _trainable(config: dict[str, Any], template: Job, data_fingerprint: str, keep: bool) -> None:
    run_trial(config.get("point", config), template, data_fingerprint, keep)
