from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tastelab.results.rows import Row, make_rows
from tastelab.results.slices import slice_block
from tastelab.results.tables import Table, write_table

Record = dict[str, Any]
Build = Callable[..., Record]


def part(name: str, n: int, auc: float | None = None) -> dict[str, Any]:
    """One slice of a record; without a value it has too few impressions."""
    measured = {"too_few": True} if auc is None else {"metrics": {"auc": {"mean": auc, "n": n}, "mrr": {"mean": 0.1}}}
    return {"slice": name, "n": n} | measured


def cells(block: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"]
    return {line[0]: line[1:] for line in lines}


def rows(run: Build, *slices: dict[str, Any]) -> list[Row]:
    records = [run("final", f"row {i}", 0.6, slices=each) for i, each in enumerate(slices)]
    return make_rows(records, baselines=False)


def test_slices_are_lines_in_the_order_of_dimensions_and_rows_are_columns(run: Build) -> None:
    one = {"community": [part("ai", 70, 0.61)], "other": [part("x", 90, 0.5)], "items": [part("cold", 60, 0.55)]}
    two = {"community": [part("ai", 70, 0.64), part("beer", 55, 0.7)], "items": [part("cold", 60, 0.51)]}
    found = cells(slice_block(rows(run, one, two)))
    assert list(found)[2:] == ["items: cold", "community: ai", "community: beer", "other: x"]
    assert found["slice"] == ["impressions", "row 0", "row 1"]
    assert found["items: cold"] == ["60", "**0.5500**", "0.5100"]
    assert found["community: beer"] == ["55", "–", "0.7000"], "of a single row nothing is the best"
    assert found["other: x"] == ["90", "0.5000", "–"]


def test_a_value_is_the_mean_over_seeds_and_impressions_may_differ(run: Build) -> None:
    cut = [{"users": [part("cold", n, auc)]} for n, auc in ((1200, 0.5), (1000, 0.6))]
    records = [run("final", "a", 0.6, seed, slices=each) for seed, each in enumerate(cut)]
    assert cells(slice_block(make_rows(records, baselines=False)))["users: cold"] == ["1,000 – 1,200", "0.5500"]


def test_too_few_impressions_are_said_with_their_number_and_make_no_value(run: Build) -> None:
    few, many = {"items": [part("cold", 7)]}, {"items": [part("cold", 52, 0.58)]}
    assert cells(slice_block(rows(run, few, many)))["items: cold"] == ["7 – 52", "few (7)", "0.5800"]


def test_records_without_slices_print_nothing(run: Build, tmp_path: Path) -> None:
    assert slice_block(rows(run, {}, {})) == ""
    table = Table("t", "T", datasets=())
    assert "<summary>By slice" not in write_table(table, [run("final", "a", 0.6)], tmp_path)[0].read_text()


def test_a_table_shows_its_slices_and_the_baselines_in_its_details(run: Build, tmp_path: Path) -> None:
    cut = {"history": [part("0", 80, 0.52)]}
    records = [run("final", "a", 0.6, slices=cut), run("baseline", "frozen", 0.5, slices=cut)]
    text = write_table(Table("t", "T", datasets=()), records, tmp_path)[0].read_text()
    block = text.partition("<details><summary>By slice</summary>\n\n")[2].partition("\n\n</details>")[0]
    assert cells(block)["slice"] == ["impressions", "a", "Frozen encoder"]
    assert "few (n): too few impressions" in block


def test_the_title_of_a_fold_is_never_markup(run: Build) -> None:
    block = slice_block(rows(run, {"items": [part("<b>", 60, 0.5)]}), title="By slice: <script>")
    assert block.startswith("<details><summary>By slice: &lt;script&gt;</summary>\n\n|")
