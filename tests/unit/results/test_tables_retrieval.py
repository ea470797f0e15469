"""Tables over retrieval metrics: users and not impressions, shares in per cent, indices over the rows of the table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.page.chapters import Chapter, render_chapter
from tastelab.results.page.ledger import Ledger, compact
from tastelab.results.relative import with_relatives
from tastelab.results.rows import make_rows
from tastelab.results.tables import Table, write_table

Record = dict[str, Any]
Build = Callable[..., Record]
NB = "\u00a0"
ROWS = tuple((label, label) for label in ("Full softmax", "CLRec", "IPW", "Multi-CLRec"))
COLUMNS = (
    *("hr@50", "hr@50:interval", "hr@50:sd", "hr@50:n", "hr@10", "diversity", "coverage", "gini", "popularity_index"),
    *("vs_first", "vs_first:holm", "seeds"),
)
TABLE = Table(
    "candidate_generation",
    "Candidate generation",
    rows=ROWS,
    columns=COLUMNS,
    details=("train_impressions", "wall_time", "throughput"),
    datasets=(("ml-100k", "MovieLens-100K"),),
    published={"CLRec": "B.clrec"},
)
PLAIN = Table("plain", "Plain", rows=ROWS, columns=COLUMNS, details=(), datasets=())


def lines(text: str, label: str) -> list[list[str]]:
    return [
        [cell.strip(" ") for cell in line.strip("|").split("|")][1:]
        for line in text.splitlines()
        if line.startswith(f"| {label} ")
    ]


def page(records: list[Record], folder: Path, table: Table = TABLE) -> str:
    return write_table(table, records, folder)[0].read_text()


def test_a_row_prints_each_metric_in_its_own_way(candidates: list[Record], tmp_path: Path) -> None:
    text = page(candidates, tmp_path, PLAIN)
    (header,), (clrec,) = lines(text, "System"), lines(text, "CLRec")
    assert dict(zip(header, clrec, strict=True)) == {
        "HR@50": f"**12.00{NB}%**",
        "95 % interval": f"10.80 – 13.20{NB}%",
        "± seeds": f"±{NB}0.28{NB}%",
        "users": "943",
        "HR@10": f"**4.00{NB}%**",
        "diversity": "900",
        "coverage": f"53.51{NB}%",
        "Gini": "0.700",
        "popularity index": "0.500",
        "Δ HR@50 to first row, % points": f"+4.00 (+3.00{NB}–{NB}+5.00)",
        "p (Holm)": "0.001",
        "seeds": "2",
    }
    assert lines(text, "IPW")[0][5] == "**1,200**"
    assert "**0.500**" not in text


def test_the_words_are_of_users_and_clicks(candidates: list[Record], tmp_path: Path) -> None:
    text = page(candidates, tmp_path)
    assert "impressions" not in text
    for fact in (
        "2,000 clicks · 943 users · 12 on items that training never saw clicked · 1,682 items in the catalogue",
        "The interval is over users",
        "HR@50 against Full softmax (paired permutation test over users; 1 test",
        "distinct items among the first 50 items for the last click of each of 500 users (drawn with seed 0",
        "Coverage, Gini and popularity index: over the first 50 items for every click.",
        "| training examples | time per run | examples/s |",
    ):
        assert fact in text


def test_published_figures_of_b_stand_beside_ours(candidates: list[Record], tmp_path: Path) -> None:
    text = page(candidates, tmp_path)
    header, clrec = lines(text, "System")[0], lines(text, "CLRec")[0]
    assert header[-3:] == ["published HR@50", "published diversity", "published popularity index"]
    assert clrec[-3:] == [f"*17.8{NB}%*", "*21,905,318*", "*0.224*"]
    assert clrec[0] == f"**12.00{NB}%** ±{NB}0.28"
    assert "*Published: [B] §Experiments, its own logs.*" in text
    assert "*Italic: published in [B], not measured here*" in text
    assert "published in [A]" not in text


def test_only_the_baselines_of_retrieval_are_waited_for(candidates: list[Record], tmp_path: Path) -> None:
    text = page(candidates[:2], tmp_path)
    assert "Pending: CLRec, IPW, Multi-CLRec, Random, Popularity, Frozen encoder." in text
    assert "TF-IDF" not in text


def test_the_popularity_index_is_relative_to_the_highest_row_but_the_popularity_baseline(
    candidates: list[Record], tmp_path: Path
) -> None:
    rows = with_relatives(make_rows(candidates, baselines=("random", "popularity", "frozen")))
    means = {row.label: found.mean for row in rows if (found := row.estimate("popularity_index"))}
    assert means == pytest.approx(
        {"Full softmax": 1, "CLRec": 0.5, "IPW": 0.25, "Random": 0.1, "Popularity": 1.5, "Frozen encoder": 0.1}
    )
    text = page(candidates, tmp_path)
    assert "(Full softmax: 0.00600). What recommends by popularity alone is shown" in text
    found = rows[1].estimate("popularity_index")
    assert found is not None
    assert (found.low, found.high, found.n) == (pytest.approx(0.45), pytest.approx(0.55), 943)


def test_dwell_time_is_compared_with_the_first_row(retrieval: Build) -> None:
    records = [retrieval("final", "Full softmax", 0, {"dwell": 20.0}), retrieval("final", "CLRec", 0, {"dwell": 22.0})]
    gains = [row.relative["dwell_gain"].mean for row in with_relatives(make_rows(records, baselines=False))]
    assert gains == pytest.approx([0, 0.1])
    assert with_relatives([]) == []
    assert all("dwell_gain" not in row.relative for row in with_relatives(make_rows([records[0] | {"metrics": {}}])))


def test_of_a_divergence_the_lowest_is_the_best(retrieval: Build, tmp_path: Path) -> None:
    table = Table("t", "T", columns=("kl", "gini"), details=(), datasets=())
    records = [retrieval("final", group, 0, {"kl": kl}) for group, kl in (("IPW", 0.02), ("CLRec", 0.3))]
    text = page(records, tmp_path, table)
    assert (lines(text, "IPW"), lines(text, "CLRec")) == ([["**0.02000**", "0.700"]], [["0.3000", "0.700"]])


def test_tests_about_another_metric_of_the_table_are_shown_and_named(candidates: list[Record], tmp_path: Path) -> None:
    table = Table("t", "T", rows=ROWS, columns=("hr@10", "hr@50", "vs_first"), details=(), datasets=())
    assert lines(page(candidates, tmp_path, table), "System")[0] == ["HR@10", "HR@50", "Δ HR@50 to first row, % points"]
    other = Table("t", "T", rows=ROWS, columns=("hr@10", "vs_first"), details=(), datasets=())
    text = page(candidates, tmp_path, other)
    assert lines(text, "System")[0][1] == "Δ HR@10 to first row, % points"
    assert lines(text, "CLRec")[0][1] == "–"


def test_the_csv_has_every_metric_and_count(candidates: list[Record], tmp_path: Path) -> None:
    table = Table("t", "T", rows=ROWS, columns=("hr@50",), details=(), datasets=())
    with write_table(table, candidates, tmp_path)[1].open(newline="") as file:
        rows = {row["group"]: row for row in csv.DictReader(file)}
    clrec = rows["CLRec"]
    assert float(clrec["hr@10"]) == pytest.approx(0.04)
    assert float(clrec["diversity"]) == 900
    assert float(clrec["popularity_index"]) == pytest.approx(0.5)
    assert (clrec["hr@50_n"], clrec["n_users"], clrec["n_diversity_users"]) == ("943", "943", "500")
    assert rows["Multi-CLRec"]["n_users"] == ""


def test_the_page_shows_runs_of_retrieval(candidates: list[Record], tmp_path: Path) -> None:
    ledger = Ledger()
    shown = render_chapter(Chapter("candidate_generation", "Which loss?", (TABLE,)), candidates, tmp_path, ledger)
    assert "published in [B]" in shown
    assert f"<b>12.00{NB}%</b>" in shown
    assert "Δ HR@50 to first row" in shown
    assert "over users" in shown
    assert "impressions" not in shown
    run = ledger.runs[candidates[0]["run_id"]]
    assert run["metrics"]["diversity"]["mean"] == 600
    assert run["degrees"] == candidates[0]["degrees"]


def test_slices_keep_the_metric_that_the_run_was_chosen_by(retrieval: Build) -> None:
    cut = {"users": [{"slice": "cold", "n": 5, "metrics": {"hr@50": {"mean": 0.1}, "hr@10": {"mean": 0.05}}}]}
    (lean,) = compact(retrieval("final", "CLRec", 0, slices=cut))["slices"]["users"]
    assert lean["metrics"] == {"hr@50": {"mean": 0.1}}
