from __future__ import annotations

from typing import Any

import pytest

from tastelab.results.captions import comparison_notes
from tastelab.results.comparisons import holm, with_comparisons
from tastelab.results.rows import Row, comparable, make_rows
from tastelab.results.sections import sections

Record = dict[str, Any]


def rows_of(records: list[Record], data: str = "mix_sample") -> dict[str, Row]:
    (section,) = [each for each in sections(records) if (each.data, each.size) == (data, "default")]
    kept, _ = comparable(section.records, "default")
    return {row.label: row for row in with_comparisons(make_rows(kept), kept)}


def test_holm_by_hand() -> None:
    # Sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06, .04; the last may not be below the one before.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_valid_test_is_attached_and_corrected(grid: list[Record]) -> None:
    rows = rows_of(grid)
    mince, id_sas = rows["Bi-encoder MINCE"], rows["ID-SAS BCE"]
    assert mince.comparison is not None
    assert mince.comparison["comparison"]["difference"] == pytest.approx(0.013)
    assert (mince.p_holm, id_sas.p_holm) == (pytest.approx(0.0062), pytest.approx(0.0402))
    assert all(rows[label].comparison is None for label in ("Bi-encoder BCE", "Random", "Frozen encoder"))


def test_a_test_of_other_runs_of_the_row_does_not_count(grid: list[Record]) -> None:
    """The cross-encoder was tested with three seeds and shows one."""
    rows = rows_of(grid, "synthetic")
    assert (rows["Cross-encoder BCE"].comparison, rows["Cross-encoder BCE"].p_holm) == (None, None)
    assert rows["Bi-encoder MINCE"].p_holm == pytest.approx(0.0062)  # of two tests, not of three


def test_a_test_against_other_runs_of_the_first_row_does_not_count(grid: list[Record]) -> None:
    first = next(r for r in grid if r["group"] == "Bi-encoder BCE")
    rerun = first | {"run_id": "0123456789ab", "seed": 3, "config": first["config"] | {"seed": 3}}
    assert all(row.comparison is None for row in rows_of([*grid, rerun]).values())


def test_stale_failed_and_other_metrics_tests_do_not_count(grid: list[Record]) -> None:
    tests = [r for r in grid if r["role"] == "comparison"]
    others = [r for r in grid if r["role"] != "comparison"]
    changes = [{"stale": True}, {"status": "failed"}, {"comparison": tests[0]["comparison"] | {"metric": "mrr"}}]
    wrong = [tests[0] | change for change in changes]
    assert all(row.comparison is None for row in rows_of([*others, *wrong]).values())
    assert rows_of([*others, tests[0]])["Bi-encoder MINCE"].p_holm == 0.0031


def test_the_last_of_two_valid_tests_counts(grid: list[Record]) -> None:
    test = next(r for r in grid if r["role"] == "comparison")
    again = test | {"run_id": "again", "comparison": test["comparison"] | {"p": 0.5}}
    assert rows_of([*grid, again])["Bi-encoder MINCE"].comparison == again


def test_without_a_first_row_that_ran_there_is_nothing_to_test_against(grid: list[Record]) -> None:
    kept, _ = comparable([r for r in grid if r["data"]["name"] == "mix_sample"], "default")
    declared = (("NRMS", "NRMS"), ("Bi-encoder BCE", "Bi-encoder BCE"), ("Bi-encoder MINCE", "Bi-encoder MINCE"))
    assert all(row.comparison is None for row in with_comparisons(make_rows(kept, rows=declared), kept))
    baselines = make_rows([r for r in kept if r["role"] == "baseline"])
    assert with_comparisons(baselines, kept) == baselines
    assert with_comparisons([], kept) == []


def test_the_notes_say_what_differs_and_what_was_not_shown(grid: list[Record]) -> None:
    tests = [r for r in grid if r["role"] == "comparison"]
    weak = tests[0] | {"comparison": tests[0]["comparison"] | {"p": 0.03}}  # .03 · 2 = .06
    assert comparison_notes(list(rows_of(grid).values())) == [
        "AUC against Bi-encoder BCE (paired permutation test over impressions; 2 tests, p corrected by Holm, level "
        "0.05): higher: Bi-encoder MINCE; lower: ID-SAS BCE. The test does not cover the spread over seeds."
    ]
    (note,) = comparison_notes(list(rows_of([*grid, weak]).values()))
    assert "no difference shown: Bi-encoder MINCE, ID-SAS BCE." in note
    assert comparison_notes(make_rows(grid)) == []
