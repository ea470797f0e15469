from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from tastelab.results.rows import comparable, make_rows

Record = dict[str, Any]
Build = Callable[..., Record]


def test_an_estimate_is_the_mean_over_seeds_with_the_mean_of_their_bounds(run: Build) -> None:
    aucs = (0.70, 0.72, 0.76)
    (row,) = make_rows([run("final", "lora-8", auc, seed) for seed, auc in enumerate(aucs)], baselines=False)
    found = row.estimate("auc")
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(aucs))
    assert found.low == pytest.approx(statistics.fmean(aucs) - 0.017)
    assert found.high == pytest.approx(statistics.fmean(aucs) + 0.017)
    assert found.sd == pytest.approx(0.030550504633)  # sqrt((.0267² + .0067² + .0333²) / 2)
    assert found.n == 895


def test_one_seed_has_no_spread_and_an_absent_metric_no_estimate(run: Build) -> None:
    (row,) = make_rows([run("final", "lora-8", 0.7)], baselines=False)
    assert row.estimate("auc").sd is None  # type: ignore[union-attr]
    assert row.estimate("hr@50") is None


def test_rows_come_in_the_declared_order_and_wait_where_nothing_ran(sweep: list[Record]) -> None:
    declared = (("lora-8", "eight"), ("lora-4", "four"), ("full", "all"))
    rows = make_rows(sweep, rows=declared, baselines=False)
    assert [(row.group, row.label, row.status) for row in rows] == [
        ("lora-8", "eight", "finished"),
        ("lora-4", "four", "pending"),
        ("full", "all", "finished"),
    ]


def test_rows_can_be_grouped_by_any_value_of_the_record(run: Build) -> None:
    records = [run("final", f"g{width}", 0.7, config={"model": {"width": width}}) for width in (384, 768)]
    assert [row.group for row in make_rows(records, "config.model.width", baselines=False)] == ["384", "768"]


def test_seeds_are_sorted_and_a_later_run_of_a_seed_replaces_an_earlier_one(run: Build) -> None:
    records = [run("final", "lora-8", auc, seed) for seed, auc in ((2, 0.7), (0, 0.6), (1, 0.8), (0, 0.9))]
    (row,) = make_rows(records, baselines=False)
    assert row.seeds == [0, 1, 2]
    assert row.runs[0]["metrics"]["auc"]["mean"] == 0.9


def test_runs_of_an_earlier_choice_are_never_averaged_with_the_present_one(run: Build) -> None:
    def chosen(rate: float, seed: int) -> Record:
        return run("final", "lora-8", 0.7, seed, config={"rate": rate, "seed": seed}, run_id=f"{rate}-{seed}")

    records = [chosen(1e-3, 0), chosen(1e-3, 1), chosen(5e-4, 0)]
    (row,) = make_rows(records, baselines=False)
    assert [r["run_id"] for r in row.runs] == ["0.0005-0"]
    (row,) = make_rows([*records[2:], *records[:2]], baselines=False)
    assert [r["run_id"] for r in row.runs] == ["0.001-0", "0.001-1"], "what was entered last counts"


def test_stale_runs_show_only_where_there_is_nothing_newer(run: Build) -> None:
    old = run("final", "lora-8", 0.6, 0, stale=True)
    (row,) = make_rows([old], baselines=False)
    assert row.status == "stale"
    (row,) = make_rows([run("final", "lora-8", 0.7, 1), old], baselines=False)
    assert (row.status, row.seeds) == ("finished", [1])


def test_failed_runs_and_trials_are_kept_apart(run: Build) -> None:
    records = [
        run("final", "lora-8", None, 0, status="failed", error="ValueError: NaN"),
        *(
            run("search", "lora-8", 0.7, number, status=end)
            for number, end in enumerate(["finished", "pruned", "failed"])
        ),
    ]
    (row,) = make_rows(records, baselines=False)
    assert row.status == "failed"
    assert [row.num_trials(end) for end in ("finished", "pruned", "failed")] == [1, 1, 1]
    assert row.failed[0]["error"] == "ValueError: NaN"


def test_baselines_are_last_in_one_order_and_newest_only_where_it_exists(run: Build) -> None:
    records = [run("baseline", "frozen", 0.6), run("baseline", "tfidf", 0.55), run("final", "lora-8", 0.7)]
    rows = make_rows(records)
    assert [row.group for row in rows] == ["lora-8", "random", "popularity", "tfidf", "frozen"]
    assert [row.status for row in rows] == ["finished", "pending", "pending", "finished", "finished"]
    assert "newest" in [row.group for row in make_rows([run("baseline", "newest", 0.5)])]


def test_records_on_other_data_encoders_splits_or_of_another_size_are_left_out(run: Build) -> None:
    other = {"name": "mind-small", "fingerprint": "0"}
    wrong = [
        run("final", "a", 0.7, data=other),
        run("final", "b", 0.7, encoder=other),
        run("final", "c", 0.7, split="test"),
        run("final", "d", 0.7, dialect="official"),
    ]
    smoke = run("final", "e", 0.7, size="smoke", data=other)
    right = [run("search", "f", 0.6), run("baseline", "random", 0.5), run("final", "f", 0.7)]
    kept, left_out = comparable([*wrong, *right, smoke], "default")
    assert kept == right
    assert sorted(r["group"] for r in left_out) == ["a", "b", "c", "d"]
    assert len(comparable([*wrong, *right], "default", fixed=())[0]) == 7


def test_trials_of_an_earlier_study_are_left_out_and_runs_are_not(run: Build) -> None:
    trials = [run("search", "a", 0.6, number, trial={"number": 0, "study": name}) for number, name in enumerate("xyy")]
    final = run("final", "a", 0.7)
    kept, left_out = comparable([*trials, final], "default")
    assert kept == [*trials[1:], final]
    assert left_out == trials[:1]


def test_comparisons_make_no_row_and_decide_nothing(run: Build) -> None:
    final = run("final", "a", 0.7)
    other = run("comparison", "b", None, data={"name": "mind-small", "fingerprint": "0"}, comparison={"runs": []})
    kept, left_out = comparable([final, other], "default")
    assert (kept, left_out) == ([final, other], [])
    assert [row.group for row in make_rows(kept, baselines=False)] == ["a"]
    assert comparable([other | {"size": "smoke"}], "default") == ([], [])
