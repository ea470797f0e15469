"""Optuna under Tune, with a study that outlives the process: a killed search goes on where it was.

The record of a trial is written before the study hears of its end. Whatever moment a kill picks, the next start finds
a trial either finished in both, or recorded and still open in the study (it is closed from its record), or open in both
(its parameters are queued again).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from tastelab.cluster.trial import METRIC, TIME, trial_config
from tastelab.config import LOWER_IS_BETTER
from tastelab.experiment import Experiment, Point
from tastelab.results.record import headline_of, headline_value

Write = Callable[[str, Point, dict[str, Any]], dict[str, Any]]
"""Write the record of a trial: (status, point, last result and trial facts) → the record."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(home: Path, experiment: str, url: str | None = None) -> BaseStorage:
    """Open the study's storage: a journal file under `home`, or the database at `url` (PostgreSQL on a cluster)."""
    if url:
        return RDBStorage(url)
    folder = home / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(folder / f"{experiment}.journal")))


def open_study(storage: BaseStorage, name: str, experiment: Experiment, num_trials: int = 0) -> optuna.Study:
    """Open or create a study; a new one first tries every row of the table once, or, if it is even, equally often.

    Args:
        storage: where the study lives.
        name: of the study.
        experiment: what is searched.
        num_trials: trials in all, which an even search shares out.
    """
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    labels = list(experiment.rows.values)
    rounds = max(1, num_trials // len(labels)) if experiment.even else 1
    # At every start: a kill may have left the queue half filled. Orphans that `mend` queues again count, too.
    trials = study.get_trials(deepcopy=False)
    fixed = [trial.params or trial.system_attrs.get("fixed_params", {}) for trial in trials]
    there = Counter(params.get(experiment.group) for params in fixed)
    for number in range(1, rounds + 1):
        for label in labels:
            if there[label] < number:
                study.enqueue_trial({experiment.group: label})
                there[label] += 1
    return study


def mend(study: optuna.Study, recorded: Callable[[str], dict[str, Any] | None]) -> None:
    """Close the trials that a kill left open: from their record if there is one, else by queueing them again."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        record = recorded(trial.user_attrs.get("run_id", ""))
        if record is None:
            _queue_once(study, trial.params or trial.system_attrs.get("fixed_params", {}))
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            if record["status"] == "failed":
                error = record.get("error") or "failed"
                study._storage.set_trial_user_attr(trial._trial_id, "error", error)  # a stored trial has no setter
            tell(study, trial.number, record["status"], _value(record))


def _queue_once(study: optuna.Study, params: dict[str, Any]) -> None:
    """Queue an orphan's parameters unless they wait already: a kill before it is closed must not repeat them."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if params not in [trial.system_attrs.get("fixed_params") for trial in waiting]:
        study.enqueue_trial(params)


def num_finished(study: optuna.Study) -> int:
    """Count the trials that count: finished, pruned, or failed by an error of their own."""
    trials = study.get_trials(deepcopy=False)
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(t.state in done or (t.state == TrialState.FAIL and "error" in t.user_attrs) for t in trials)


def tell(study: optuna.Study, number: int, status: str, value: float | None) -> None:
    """Tell the study how a trial ended."""
    if status == "finished":
        study.tell(number, value)
    else:
        study.tell(number, state=TrialState.PRUNED if status == "pruned" else TrialState.FAIL)


class StudySearch(OptunaSearch):
    """`OptunaSearch` on a study that survives kills; tells pruned trials from complete and failed ones.

    The stock class reports a trial that ASHA stopped as complete, with a value of less training, and cannot restart on
    a persistent storage; both are cured here.
    """

    def __init__(
        self,
        experiment: Experiment,
        base: Any,
        study: optuna.Study,
        storage: BaseStorage,
        identify: Callable[[Point], str],
        write: Write,
    ) -> None:
        """Search `experiment` from the configuration `base`.

        Args:
            experiment: what is searched.
            base: configuration that the search varies.
            study: the open study; its sampler is replaced by a seeded TPE.
            storage: where the study lives.
            identify: run id of a point.
            write: writes the record of a trial.
        """
        self.identify, self.write = identify, write
        self.experiment, self.base = experiment, base
        self._last: dict[str, dict[str, Any]] = {}
        self._points: dict[str, Point] = {}
        done = len(study.get_trials(deepcopy=False))
        sampler = optuna.samplers.TPESampler(
            # A restart goes on with other draws than the ones that it already tried.
            seed=base.seed + done,
            n_startup_trials=len(experiment.rows.values),  # those that open_study queues
        )
        super().__init__(
            space=lambda trial: None,
            metric=METRIC,
            mode="max",
            sampler=sampler,
            study_name=study.study_name,
            storage=storage,
        )

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Draw the configuration of a trial."""
        trial = self._ot_trials[trial_id] = self._ot_study.ask()
        point = self.experiment.draw(trial, self.base)
        trial.set_user_attr("run_id", self.identify(point))
        trial.set_user_attr("labels", dict(point.labels))
        self._points[trial_id] = point
        return trial_config(point, number=trial.number)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a validation on to the study, and keep the last result."""
        curve = self._last.get(trial_id, {}).get("curve", [])
        if "step" in result:
            curve = [*curve, [result["step"], result[METRIC]]]
            self._ot_trials[trial_id].report(result[METRIC], int(result[TIME]))
        self._last[trial_id] = {**result, "curve": curve}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Write the record, then tell the study; a trial that was only interrupted stays open."""
        last = {**(result or {}), **self._last.pop(trial_id, {})}
        status = "failed" if error else next((end for end in ("finished", "pruned") if last.get(end)), None)
        if status is None:
            return
        trial = self._ot_trials[trial_id]
        params = {name.split("[")[0]: value for name, value in trial.params.items()}
        facts = {"number": trial.number, "params": params, "curve": last.get("curve", [])}
        facts["study"] = self._study_name
        record = self.write(status, self._points[trial_id], {**last, "trial": facts})
        if status == "failed":
            trial.set_user_attr("error", record.get("error") or "failed")
        tell(self._ot_study, trial.number, status, _value(record))
        self._completed_trials.add(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing for Tune's own snapshot: the study and the records are what a restart reads."""
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see `save`."""


def best_points(study: optuna.Study, experiment: Experiment, base: Any) -> dict[str, Point]:
    """Return the best searched configuration of each row: the best of the complete trials, else of the pruned ones."""
    best: dict[str, tuple[tuple[bool, float], Point]] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if trial.value is None and not trial.intermediate_values:
            continue
        value = trial.value if trial.value is not None else trial.intermediate_values[max(trial.intermediate_values)]
        point = experiment.draw(optuna.trial.FixedTrial(trial.params), base)
        label = point.labels[experiment.group]
        key = (trial.state == TrialState.COMPLETE, value)
        if label not in best or key > best[label][0]:
            best[label] = (key, point)
    return {label: best[label][1] for label in experiment.rows.values if label in best}


def _value(record: dict[str, Any]) -> float | None:
    value = headline_value(record)
    if value is None:
        return None
    return -value if headline_of(record).startswith(LOWER_IS_BETTER) else value
