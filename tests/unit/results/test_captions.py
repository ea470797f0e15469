from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tastelab.results.captions import notes, run_list
from tastelab.results.rows import make_rows
from tastelab.results.tables import Table, write_table

Build = Callable[..., dict[str, Any]]


def said(*records: dict[str, Any]) -> list[str]:
    return [note for note in notes(make_rows(list(records)), [], "default") if " of workers: " in note]


def test_rows_of_another_number_of_workers_are_named_because_their_cost_differs(run: Build) -> None:
    two, one = run("final", "lora-2", 0.7), run("final", "lora-8", 0.7)
    assert said(two, one) == [], "all have two"
    one["hardware"] = {**one["hardware"], "workers": 1}
    (note,) = said(two, one)
    assert note == (
        "Time, impressions/s and memory are not comparable between runs of different numbers of workers: "
        f"2 workers: {two['label']}; 1 worker: {one['label']}."
    )
    seed = run("final", "lora-8", 0.71, 1)
    (note,) = said(two, one, seed)
    assert note.endswith(f"2 workers: {two['label']}; 1 or 2 workers: {one['label']}.")


def test_a_label_that_begins_with_a_plus_is_no_list_of_its_own(run: Build) -> None:
    plus = run("final", "+ LoRA only", 0.7, label="+ LoRA only")
    assert f"- \\+ LoRA only: `{plus['run_id']}`" in run_list(make_rows([plus]))


def test_what_the_data_favour_is_said_under_the_matrix_and_under_the_details(
    grid: list[dict[str, Any]], tmp_path: Path
) -> None:
    warned = [r | {"data": r["data"] | {"warnings": ["Id order ranks with an AUC of .61."]}} for r in grid]
    warned = [r if r["data"]["name"] == "mix_sample" else old for r, old in zip(warned, grid, strict=True)]
    text = write_table(Table("main_table", "All"), warned, tmp_path)[0].read_text()
    assert text.count("- Id order ranks with an AUC of .61.\n") == 2, "of one of the data sets"
