from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.probes import OWN, ProbeTable
from tastelab.results.tables import summary, write_table

Record = dict[str, Any]
Build = Callable[..., Record]
TABLE = ProbeTable("transfer", "Domain transfer", across="Tested on", summaries="domains", figures=("map",))
WARNING = "Ranking by id order reaches an AUC of .61 on these data."


def page(records: list[Record], folder: Path, table: ProbeTable = TABLE) -> str:
    return write_table(table, records, folder)[0].read_text()


def cells(text: str, label: str) -> list[str]:
    """The cells of the first Markdown line that starts with a label."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def lines_of(records: list[Record], folder: Path, table: ProbeTable = TABLE) -> dict[tuple[str, str], dict[str, str]]:
    with write_table(table, records, folder)[1].open(newline="") as lines:
        return {(line["group"], line["probe"]): line for line in csv.DictReader(lines)}


def test_each_cell_is_a_mean_with_its_spread_the_best_bold_and_the_own_marked(
    transfer: list[Record], tmp_path: Path
) -> None:
    text = page(transfer, tmp_path)
    sd = "±\u00a00.0071"
    assert cells(text, "Trained on ↓ Tested on →") == [
        *("everything", "ai", "beer", "physics", "in-domain", "zero-shot")
    ]
    assert cells(text, "ai") == [
        *(f"**0.6050** {sd}", f"**0.7050**{OWN} {sd}", f"0.5550 {sd}", f"0.5650 {sd}", "0.7050", "0.5600")
    ]
    assert cells(text, "All")[0] == f"**0.6050**{OWN} {sd}", "the four tie as printed"
    assert cells(text, "Frozen encoder") == ["0.6000", "0.6000", "0.5700", "–", "–", "–"]
    assert cells(text, "Best zero-shot") == ["–", "0.5250", "0.5550", "0.5850", "", ""]
    assert cells(text, "Left out") == ["–", "–", "–", "0.5850", "", ""]


def test_the_page_says_what_was_measured_what_waits_and_from_where(transfer: list[Record], tmp_path: Path) -> None:
    text = page(transfer, tmp_path)
    for part in (
        "# Domain transfer\n\n## synthetic, size default\n\nSize **default** · data `synthetic` (`5d3f0a91c2be`)",
        "encoder `all-MiniLM-L6-v2` (`77e1c0ffee12`)",
        "Commit `3f9a1c2`",
        f"{OWN} the row's own condition",
        "- Pending: 1 of 20 cells.\n",
        "Left out: the row that was trained on all but the column.",
        "![map](../figures/map-synthetic.svg)",
        "<details><summary>Runs</summary>",
    ):
        assert part in text
    assert cells(text, "physics") == ["900", "897", "0 1", "title"], "impressions, scored, seeds, features"
    assert text.endswith("Made from `runs/transfer.jsonl`.\n")
    assert "seeds of its row" not in text and "slice" not in text and "Left out: 1" not in text


def test_without_summaries_no_mean_over_domains_is_made(transfer: list[Record], tmp_path: Path) -> None:
    text = page(transfer, tmp_path, ProbeTable("plain", "Domain transfer"))
    assert cells(text, "Trained on ↓ Served with →") == ["everything", "ai", "beer", "physics"]
    assert "zero-shot" not in text and "in-domain" not in text
    with pytest.raises(ValueError, match=r"The table t has the summaries 'rows': use 'domains' or ''\."):
        ProbeTable("t", "T", summaries="rows")


def test_the_csv_has_a_line_per_cell_in_full_precision(transfer: list[Record], tmp_path: Path) -> None:
    found = lines_of(transfer, tmp_path)
    assert len(found) == 5 * 4
    line = found["ai", "beer"]
    assert float(line["auc"]) == pytest.approx(0.555) and float(line["auc_low"]) == pytest.approx(0.538)
    assert float(line["auc_high"]) == pytest.approx(0.572) and float(line["ndcg@10_sd"]) > 0
    shown = {"status": "finished", "seeds": "0 1", "own_condition": "0", "domain": "out", "features": "title"}
    assert {key: line[key] for key in shown} == shown
    assert (found["ai", "ai"]["own_condition"], found["ai", "ai"]["domain"]) == ("1", "in")
    assert (found["All", "everything"]["own_condition"], found["All", "everything"]["domain"]) == ("1", "")
    waiting = found["frozen", "physics"]
    assert (waiting["kind"], waiting["status"], waiting["auc"]) == ("baseline", "pending", "")
    trained = [r["run_id"] for r in transfer if r["role"] == "final" and r["group"] == "ai"]
    assert line["of"].split() == trained and len(line["run_ids"].split()) == 2


def test_notes_tell_of_lost_probes_of_fewer_seeds_and_of_what_the_data_favour(
    transfer: list[Record], run: Build, probe: Build, tmp_path: Path
) -> None:
    lost = [r for r in transfer if (r["role"], r["group"], r.get("probe"), r["seed"]) != ("probe", "ai", "beer", 1)]
    lost.append(probe(run("final", "ai", 0.6, experiment="transfer"), "ai", 0.9, of=None))
    old = {"run_id": "old", "experiment": "transfer", "config": {"data": {"features": ["title", "abstract"]}}}
    first = run("final", "beer", 0.6, **old)
    lost = [first, probe(first, "ai", 0.9), *lost]
    warned = [r | {"data": r["data"] | {"warnings": [WARNING]}} for r in lost]
    text = page(warned, tmp_path)
    assert f"- {WARNING}\n" in text and text.count(WARNING) == 1
    assert "- Not of all seeds of its row yet: 1 of 20 cells (see the CSV file).\n" in text
    assert "- Left out: 1 probe of runs that the rows no longer show, or measured otherwise" in text
    assert "0.9000" not in text


def test_what_a_probe_took_from_the_texts_is_named(run: Build, probe: Build, tmp_path: Path) -> None:
    a = run("final", "a", 0.6)
    probes = [
        probe(a, "half", 0.6, data_config={"missing": 0.5}),
        probe(a, "short", 0.5, data_config={"title_words": 3}),
    ]
    text = page([a, *probes], tmp_path, ProbeTable("t", "T"))
    assert cells(text, "half")[-2:] == ["0.5", "–"] and cells(text, "short")[-2:] == ["–", "3"]
    assert cells(text, "Served with")[-3:] == ["features", "missing", "title words"]


def test_a_section_per_size_and_data_set(transfer: list[Record], tmp_path: Path) -> None:
    elsewhere = [r | {"size": "smoke", "data": {"name": "tiny", "fingerprint": "1"}} for r in transfer]
    text = page([*transfer, *elsewhere], tmp_path)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## synthetic, size default",
        "## tiny, size smoke",
    ]
    assert "say nothing about quality" in text.partition("## tiny")[2]


def test_before_any_run_the_declared_cells_wait(tmp_path: Path) -> None:
    table = ProbeTable("t", "T", rows=("a", "b"), columns=("x", "y"), note="Wait.")
    text = page([], tmp_path, table)
    assert cells(text, "b") == ["–", "–"] and "- Pending: 6 of 6 cells." in text
    assert "Wait." in text and "Made from no finished probe yet." in text
    assert "Nothing was measured under other conditions yet." in page([], tmp_path, ProbeTable("t", "T"))


def test_the_screen_shows_the_matrix_and_its_notes(transfer: list[Record]) -> None:
    text = summary(TABLE, transfer, "default")
    assert text.startswith("Domain transfer · size default\n")
    assert f"0.7050{OWN} ±\u00a00.0071" in text and "**" not in text and "Best zero-shot" in text


def test_slices_stand_below_each_column_that_has_them(transfer: list[Record], tmp_path: Path) -> None:
    cut = {"items": [{"slice": "cold", "n": 60, "metrics": {"auc": {"mean": 0.5123}}}]}
    records = [r | ({"slices": cut} if r.get("probe") == "beer" else {}) for r in transfer]
    text = page(records, tmp_path)
    assert text.count("<summary>By slice") == 1 and "<summary>By slice: beer</summary>" in text
    assert cells(text, "items: cold")[0] == "60" and cells(text, "items: cold")[-1] == "0.5123"


def test_the_same_records_make_the_same_bytes(transfer: list[Record], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_table(TABLE, transfer, tmp_path / "a")]
    assert [path.read_bytes() for path in write_table(TABLE, transfer, tmp_path / "b")] == first
