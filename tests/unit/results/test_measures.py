from __future__ import annotations

import pytest

from tastelab.results.columns import best_rows, column
from tastelab.results.formats import difference
from tastelab.results.measures import as_number, is_retrieval, measure, metric_label, unit_of
from tastelab.results.rows import Row

NB = "\u00a0"


@pytest.mark.parametrize(
    ("metric", "value", "printed"),
    [
        ("auc", 0.70184, "0.7018"),
        ("hr@50", 0.17816, f"17.82{NB}%"),
        ("hr@50_weekend", 0.1716, f"17.16{NB}%"),
        ("pipeline_hr@10", 0.05, f"5.00{NB}%"),
        ("diversity", 10_780_111.0, "10,780,111"),
        ("coverage", 0.5, f"50.00{NB}%"),
        ("gini", 0.71234, "0.712"),
        ("popularity", 0.00012345, "0.000123"),
        ("popularity_index", 0.2236, "0.224"),
        ("kl", 0.0123456, "0.01235"),
        ("ctr", 0.0385, f"3.85{NB}%"),
        ("sim/ctr", 0.0385, f"3.85{NB}%"),
        ("dwell", 21.456, f"21.46{NB}s"),
        ("dwell_gain", 0.119, f"+11.90{NB}%"),
        ("unheard-of", 0.25, "0.2500"),
    ],
)
def test_each_metric_is_printed_as_it_is_read_and_read_back(metric: str, value: float, printed: str) -> None:
    known = measure(metric)
    assert known.number(value) == printed
    assert as_number(printed) == pytest.approx(value * known.scale, rel=6e-3)


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("hr@50", "HR@50"),
        ("hr@50_weekday", "HR@50 weekdays"),
        ("hr@50_weekend", "HR@50 weekends"),
        ("pipeline_hr@10", "pipeline HR@10"),
        ("kl", "KL"),
        ("ctr", "CTR"),
        ("popularity_index", "popularity index"),
        ("ndcg@10", "nDCG@10"),
        ("coverage", "coverage"),
    ],
)
def test_each_metric_is_named_as_the_field_does(metric: str, label: str) -> None:
    assert metric_label(metric) == label


def test_published_values_keep_the_digits_that_they_were_published_with() -> None:
    cases = {"hr@50": 0.071, "hr@50_weekday": 0.1718, "popularity_index": 0.658, "diversity": 21_905_318, "auc": 0.7018}
    printed = [measure(metric).printed(value) for metric, value in cases.items()]
    assert printed == [f"7.1{NB}%", f"17.18{NB}%", "0.658", "21,905,318", "0.7018"]


def test_differences_are_in_points_with_a_sign_of_their_own() -> None:
    found = {"metric": "hr@50", "difference": 0.0123, "low": -0.001, "high": 0.0255}
    assert difference(found) == f"+1.23 (−0.10{NB}–{NB}+2.55)"
    assert difference({"metric": "hr@50", "difference": 0.000001}) == "0.00"
    assert difference({"metric": "diversity", "difference": -1200.0}) == "−1,200"


def rows(number: int) -> list[Row]:
    return [Row(str(i), str(i), runs=({"stale": False},)) for i in range(number)]


def test_the_best_is_the_highest_or_the_lowest_or_none() -> None:
    assert best_rows(rows(3), [f"9.30{NB}%", f"17.82{NB}%", f"17.82{NB}%"]) == [1, 2]
    assert best_rows(rows(3), ["9,300", "10,780", "–"]) == [1]
    kl, gini = measure("kl").better, measure("gini").better
    assert best_rows(rows(3), ["0.9000", "0.01235", "2.000"], kl) == [1]
    assert best_rows(rows(3), ["0.700", "0.100", "0.900"], gini) == []
    assert (measure("diversity").better, measure("coverage").better, measure("popularity").better) == (1, 1, 0)
    assert (column("kl").better, column("kl:interval").better, column("hr@50").better) == (-1, 0, 1)


def test_a_run_of_candidate_generation_counts_users() -> None:
    ranking = {"metrics": {"auc": {}}, "counts": {"n_total": 5}}
    assert not is_retrieval(ranking)
    assert is_retrieval({"counts": {"n_users": 3}})
    assert is_retrieval({"config": {"retrieval": {"metric": "hr@50"}}})
    assert is_retrieval({"metrics": {"ctr": {}, "dwell": {}}})
    assert not is_retrieval({"metrics": {"auc": {}, "hr@50": {}}})  # one encoder for two jobs
    assert unit_of([{"counts": {"n_users": 3}}]) == "users"
    assert unit_of([{"counts": {"n_users": 3}}, ranking]) == unit_of([]) == "impressions"
