"""Checks of candidate generation before any work: each mistake is one sentence, and what only looks wrong passes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from tastelab.checks import check_configuration
from tastelab.checks_retrieval import check_on_data
from tastelab.config import ClusterConfig, RunConfig, SimulationConfig, replace_at
from tastelab.data import exposure_log
from tastelab.data.clicks import fitting_and_validation_clicks, reported_clicks
from tastelab.data.exposure_world import ExposureSpec
from tastelab.data.order import fitting_and_validation
from tastelab.data.sequences import prepare_sequences
from tastelab.data.tables import PreparedData
from tastelab.experiment import Experiment, Variants
from tastelab.presets import bi_encoder, retrieval
from tastelab.stage import check_sizes_of_rows, num_fitted, num_reported

ONE = ClusterConfig(workers=1, cpus_per_worker=0.1)
SIMULATED = {"retrieval.simulation": SimulationConfig(users=20, slots=2, retrieved=5, warmup_days=1, days=1)}
TRUE = {"correct": False, "distribution": "true", "shared": False, "negatives": 8}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"retrieval.items.text": "bert"}, "retrieval.items.text is 'bert': choose one of none, frozen, trained."),
    "targets": ({"retrieval.targets": "all"}, "retrieval.targets is 'all': choose one of each, window."),
    "days": ({"retrieval.days": "weekends"}, "retrieval.days is 'weekends': choose one of all, weekdays."),
    "width": ({"retrieval.items.width": 0}, "retrieval.items.width is 0: choose at least 1."),
    "dropout": (
        {"retrieval.items.id_dropout": 1.0},
        "retrieval.items.id_dropout is 1.0: choose a share from 0 to below 1.",
    ),
    "no cut-off": (
        {"retrieval.ks": ()},
        "retrieval.ks is (): give at least one number of retrieved items, 1 or more.",
    ),
    "cut-off of 0": (
        {"retrieval.ks": (0, 10)},
        "retrieval.ks is (0, 10): give at least one number of retrieved items, 1 or more.",
    ),
    "vectors": ({"retrieval.num_vectors": 0}, "retrieval.num_vectors is 0: choose at least 1."),
    "users": ({"retrieval.diversity_users": 0}, "retrieval.diversity_users is 0: choose at least 1."),
    "a metric that is not measured": (
        {"retrieval.metric": "hr@20", "retrieval.ks": (10, 50)},
        "retrieval.metric is 'hr@20', which is not measured: choose one of hr@10, hr@50, hr@50_weekday, hr@50_weekend, "
        "hr@50_warm, hr@50_cold, diversity, coverage, gini, popularity, kl, or add its cut-off to retrieval.ks.",
    ),
    "a metric that a simulation has not": (
        SIMULATED,
        "A simulation does not measure 'hr@50': set retrieval.metric to 'ctr'.",
    ),
    "weekdays of a simulation": (
        {**SIMULATED, "retrieval.metric": "ctr", "retrieval.days": "weekdays"},
        "A simulation learns from single clicks of all days: leave retrieval.targets at 'each' and retrieval.days at "
        "'all'.",
    ),
    "intents": (
        retrieval.contrast("multi_clrec"),
        "The loss multi_clrec needs a user tower with intents, and weighted has none: choose the tower multi_clrec.",
    ),
    "domains": (
        {"data.domains": ("beer",)},
        "Candidate generation trains on all domains: leave data.domains out, or prepare them apart.",
    ),
    "heads": (
        {**retrieval.tower("sasrec", num_heads=5), "retrieval.items.width": 64},
        "5 heads do not divide the width 64: choose a divisor of it as num_heads.",
    ),
    "temperature": ({"retrieval.temperature": 0.0}, "The temperature is 0.0: choose a number above 0, such as 0.05."),
}


def config(values: dict[str, Any] | None = None) -> RunConfig:
    return replace_at(retrieval.candidate_generation(), values or {})


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_setting_is_one_sentence(name: str) -> None:
    values, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check_configuration(config(values), ONE)


def test_micro_steps_would_cut_what_is_contrasted() -> None:
    with pytest.raises(ValueError, match=r"micro-steps would cut: leave --accumulation at 1, or use more workers\.$"):
        check_configuration(config(), dataclasses.replace(ONE, accumulation=2))


@pytest.mark.parametrize(
    "values",
    [
        {},
        retrieval.multi_clrec(num_intents=4),
        {"retrieval.metric": "hr@10_cold", "retrieval.ks": (10, 200)},  # parts are of the longest cut-off up to 50
        {"retrieval.metric": "kl"},
        {**SIMULATED, "retrieval.metric": "dwell"},
    ],
)
def test_what_can_run_passes(values: dict[str, Any]) -> None:
    check_configuration(config(values), ONE)


UNKNOWN = re.escape("'tiny' is no world of known policy: choose --data exposure, or another distribution.")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"retrieval.metric": "kl"}, UNKNOWN),
        (retrieval.contrast("ipw", propensity="true"), UNKNOWN),
        (retrieval.contrast("sampled_softmax", **TRUE), UNKNOWN),
        (SIMULATED, "'tiny' has no known preferences to simulate users by: give a synthetic data set, such as --data"),
    ],
)
def test_data_that_do_not_know_what_is_asked(tiny_data: PreparedData, values: dict[str, Any], sentence: str) -> None:
    found = config(values).retrieval
    assert found is not None
    with pytest.raises(ValueError, match=sentence):
        check_on_data(found, tiny_data)


def test_data_that_know_what_is_asked(tiny_data: PreparedData, tmp_path: Path) -> None:
    spec = ExposureSpec(num_train=40, num_dev=10, num_items=8, num_states=2, num_intents=2)
    world = exposure_log.prepare(tmp_path / "world", spec)
    for values in ({"retrieval.metric": "kl"}, retrieval.contrast("sampled_softmax", **TRUE)):
        asked = config(values).retrieval
        assert asked is not None
        check_on_data(asked, world)
    # Without draws the distribution that is named beside them is not asked for.
    plain = config(retrieval.contrast("ipw", propensity="logged")).retrieval
    assert plain is not None
    check_on_data(plain, tiny_data)


def rows(**changes: dict[str, Any]) -> Experiment:
    return Experiment("sizes", "Do they fit?", bi_encoder(), "row", Variants(changes))


BASE = {"retrieval.ks": (5, 10), "retrieval.metric": "hr@10", "retrieval.loss.queue": 64}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"retrieval.ks": (5, 1_000)}, r"Row 'second': HR@1000 is asked of \d+ items: set retrieval.ks to at most"),
        (
            {"retrieval.loss.queue": 10_000},
            r"Row 'second': The queue has 10,000 places and the data have \d+ clicks to train on",
        ),
        (
            retrieval.multi_clrec(num_intents=500, queue=32, intent_queue=8),
            r"Row 'second': There are 500 intents and \d+ items: choose at most as many intents as items\.",
        ),
        ({"retrieval.metric": "kl"}, "Row 'second': 'tiny' is no world of known policy"),
    ],
)
def test_the_row_that_asks_for_too_much_is_named(
    tiny_data: PreparedData, values: dict[str, Any], sentence: str
) -> None:
    base = config(BASE)
    check_sizes_of_rows(rows(first={}), base, tiny_data)
    with pytest.raises(ValueError, match=sentence):
        check_sizes_of_rows(rows(first={}, second=values), base, tiny_data)


def test_a_ranking_row_is_not_asked_for_clicks(tiny_data: PreparedData) -> None:
    check_sizes_of_rows(rows(first={}), bi_encoder(), tiny_data)


def test_what_is_fitted_is_counted_in_impressions_or_in_clicks(tiny_data: PreparedData) -> None:
    ranking, retrieving = bi_encoder(), config({"data.train_impressions": 50})
    assert num_fitted(tiny_data, ranking) == tuple(map(len, fitting_and_validation(tiny_data, ranking.data)))
    sequences = prepare_sequences(tiny_data)
    parts = fitting_and_validation_clicks(sequences, retrieving.data)
    assert num_fitted(tiny_data, retrieving) == (50, len(parts[1])) == tuple(map(len, parts))
    weekdays = replace_at(retrieving, {"retrieval.days": "weekdays", "data.train_impressions": None})
    assert 0 < num_fitted(tiny_data, weekdays)[0] < num_fitted(tiny_data, config())[0]
    assert num_reported(tiny_data, ranking) == tiny_data.num_impressions("dev")
    assert num_reported(tiny_data, retrieving) == len(reported_clicks(sequences, "dev"))
