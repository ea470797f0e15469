"""A Tune trial: one run on Ray Train, its reports passed on to Tune, its result in the last one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from tastelab.cluster.trainer import fit
from tastelab.config import RunConfig, from_dict, headline, objective, to_dict
from tastelab.experiment import Point
from tastelab.training.job import Job

METRIC = "objective"
"""What a search maximises: the headline metric of a run, with its sign."""
TIME = "validation"


def trial_config(point: Point, **extra: Any) -> dict[str, Any]:
    """Write a point as plain values: the configuration of a Tune trial; `extra` goes beside it."""
    return {"config": to_dict(point.config), "labels": dict(point.labels), **extra}


def point_of(config: Mapping[str, Any]) -> Point:
    """Read a point back from a trial's configuration."""
    return Point(from_dict(RunConfig, config["config"]), config["labels"])


def job_of(point: Point, template: Job, data_fingerprint: str, keep: bool) -> Job:
    """Describe the run of a point; everything but the science comes from `template`."""
    return template.at(point.config, data_fingerprint, keep)


def run_trial(config: dict[str, Any], template: Job, data_fingerprint: str, keep: bool) -> None:
    """Carry out a trial: the function that Tune runs. Its result travels as JSON, since Tune flattens what is nested.

    A run that fails by itself reports its reason before it raises, so that the record can name it.
    """
    start = time.perf_counter()
    job = job_of(point_of(config), template, data_fingerprint, keep)
    job.stop_file.unlink(missing_ok=True)
    try:
        result = fit(job, [TuneReportCallback()])
    except Exception as error:
        tune.report({METRIC: math.nan, TIME: 0, "error": _sentence(error)})
        raise
    wall_time_s = time.perf_counter() - start
    if result.get("stopped"):
        tune.report({METRIC: math.nan, TIME: 0, "wall_time": wall_time_s, "pruned": True})
        return
    value = objective(job.config, result["metrics"][headline(job.config)]["mean"])
    last = job.config.evaluation.validations + 1
    tune.report({METRIC: value, TIME: last, "result": json.dumps(result), "wall_time": wall_time_s, "finished": True})


def _sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[-1][:500] if text else type(error).__name__
