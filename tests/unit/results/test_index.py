from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.index import write_index
from tastelab.results.plots import RankCurve, write_plot
from tastelab.results.store import RecordStore
from tastelab.results.tables import Table, write_table

Record = dict[str, Any]
ROWS = (("lora-8", "LoRA r=8"), ("lora-64", "LoRA r=64"))


@pytest.fixture
def reports(tmp_path: Path, sweep: list[Record], run: Callable[..., Record]) -> Path:
    store = RecordStore(tmp_path)
    smoke = run("final", "lora-8", 0.6, size="smoke", finished_at="2026-02-01T09:00:00Z")
    stale = run("final", "lora-8", 0.6, 7, method_version=0)
    other = run("final", "lora-8", 0.6, experiment="lora", data={"name": "mind-small", "fingerprint": "0"})
    for record in [*sweep, smoke, stale, other]:
        store.append(record)
    rows = (*ROWS, *(("lora-2", "LoRA r=2"),))
    write_table(Table("lora_rank_sweep", "LoRA rank", rows=rows), store.load("lora_rank_sweep"), tmp_path)
    write_plot(RankCurve("lora_rank_sweep", "LoRA rank", rows), store.load("lora_rank_sweep"), tmp_path)
    (tmp_path / "figures" / "lora_rank_sweep_search-synthetic.svg").write_text("<svg/>")
    return tmp_path


def lines_of(text: str, name: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| [{name}]")
    ]


def test_each_experiment_and_size_has_a_line_of_counts(reports: Path) -> None:
    text = write_index(reports).read_text()
    smoke, default = lines_of(text, "lora_rank_sweep")
    #               size     data        trials runs baselines failed stale pending last
    assert smoke[1:] == ["smoke", "synthetic", "0", "1", "0", "0", "0", "6", "2026-02-01"]
    assert default[1:] == ["default", "synthetic", "23", "12", "5", "1", "1", "1", "2026-03-08"]
    assert lines_of(text, "lora")[0][1:3] == ["default", "mind-small"]


def test_tables_and_figures_are_linked_from_their_experiment(reports: Path) -> None:
    text = write_index(reports).read_text()
    section = text.partition("## lora_rank_sweep\n")[2]
    assert "- [LoRA rank](tables/lora_rank_sweep.md) ([CSV](tables/lora_rank_sweep.csv))" in section
    assert "![lora_rank_sweep-synthetic](figures/lora_rank_sweep-synthetic.svg)" in section
    assert "![lora_rank_sweep_search-synthetic](figures/lora_rank_sweep_search-synthetic.svg)" in section
    assert section.index("lora_rank_sweep-synthetic.svg") < section.index("lora_rank_sweep_search-synthetic.svg")
    assert "No table yet." in text.partition("## lora\n")[2].partition("## lora_rank_sweep")[0]


def test_every_link_leads_somewhere(reports: Path) -> None:
    text = write_index(reports).read_text()
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert all((reports / target).exists() for target in targets if not target.startswith("#"))
    assert {target[1:] for target in targets if target.startswith("#")} == {"lora", "lora_rank_sweep"}


def test_the_index_is_the_same_bytes_when_written_again(reports: Path) -> None:
    first = write_index(reports).read_bytes()
    assert write_index(reports).read_bytes() == first


def test_an_empty_folder_has_an_index_that_says_so(tmp_path: Path) -> None:
    assert "Nothing was run yet." in write_index(tmp_path / "reports").read_text()
