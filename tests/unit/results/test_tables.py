from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.columns import aligned, duration, metric_label
from tastelab.results.store import RecordStore
from tastelab.results.tables import Table, summary, write_table, write_text

Record = dict[str, Any]
Build = Callable[..., Record]
ROWS = (
    ("full", "full fine-tuning"),
    ("lora-2", "LoRA r=2"),
    ("lora-4", "LoRA r=4"),
    ("lora-8", "LoRA r=8"),
    ("lora-32", "LoRA r=32"),
)
TABLE = Table("sweep", "LoRA rank", rows=ROWS, heading="Adaptation", note="Chosen on the end of train.", datasets=())


def page(records: list[Record], folder: Path, table: Table = TABLE) -> str:
    return write_table(table, records, folder)[0].read_text()


def cells(text: str, label: str) -> list[list[str]]:
    """The cells of every Markdown line that starts with a label."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {label} ")
    ]


def csv_rows(records: list[Record], folder: Path, table: Table = TABLE) -> dict[str, dict[str, str]]:
    with write_table(table, records, folder)[1].open(newline="") as lines:
        return {row["group"]: row for row in csv.DictReader(lines)}


def test_a_row_prints_quality_then_cost(sweep: list[Record], tmp_path: Path) -> None:
    quality, cost = cells(page(sweep, tmp_path), "LoRA r=2")
    assert quality[1:] == ["0.7224", "0.7054 – 0.7394", "±\u00a00.0017", "0.3624", "0.3924", "0.4524", "–", "–", "3"]
    assert cost[1:] == ["6", "331,776 (1.5 %)", "all", "42 s", "31.2", "–", "–", "1,710 MB"]


def test_the_caption_names_size_data_encoder_split_counts_and_commit(sweep: list[Record], tmp_path: Path) -> None:
    head = page(sweep, tmp_path).partition("| Adaptation")[0]
    assert head.startswith("# LoRA rank\n")
    for fact in (
        "Size **default**",
        "data `synthetic` (`5d3f0a91c2be`)",
        "encoder `all-MiniLM-L6-v2` (`77e1c0ffee12`)",
        "split dev",
        "features title",
        "method version 1",
        "900 impressions · 897 scored · 2 of one class only · 31 with an empty history",
        "best reachable AUC 0.8420",
        "Commit `3f9a1c2` · 2 CPUs · no GPU · 2 workers",
    ):
        assert fact in head


def test_uncommitted_changes_are_named(run: Build, tmp_path: Path) -> None:
    dirty = run("final", "lora-2", 0.7, git={"commit": "a" * 40, "dirty": True})
    assert "commit `aaaaaaa` · uncommitted changes" in page([dirty], tmp_path).lower()


def test_a_pending_row_has_dashes_and_is_named(sweep: list[Record], tmp_path: Path) -> None:
    text = page(sweep, tmp_path)
    assert cells(text, "LoRA r=4")[0][1:] == ["–"] * 9
    assert "- Pending: LoRA r=4.\n" in text


def test_without_records_everything_is_pending(tmp_path: Path) -> None:
    text = page([], tmp_path)
    assert all(set(line[1:]) <= {"–", "0"} for label in ("LoRA r=8", "TF-IDF") for line in cells(text, label))
    assert "- Pending: full fine-tuning, LoRA r=2, LoRA r=4, LoRA r=8, LoRA r=32, Random," in text
    assert "Made from no finished run yet." in text
    assert csv_rows([], tmp_path)["lora-8"]["status"] == "pending"


def test_the_best_trained_row_is_bold_and_no_baseline_ever_is(run: Build, tmp_path: Path) -> None:
    records = [run("final", "lora-2", 0.70), run("final", "lora-8", 0.72), run("baseline", "frozen", 0.9)]
    text = page(records, tmp_path)
    assert [cells(text, label)[0][1] for label in ("LoRA r=2", "LoRA r=8", "Frozen encoder")] == [
        "0.7000",
        "**0.7200**",
        "0.9000",
    ]


def test_equal_as_printed_is_equally_best_and_a_lone_row_is_not_marked(run: Build, tmp_path: Path) -> None:
    tied = [run("final", "lora-2", 0.700001), run("final", "lora-8", 0.700002)]
    assert page(tied, tmp_path).count("**0.7000**") == 2
    assert "**0." not in page(tied[:1], tmp_path)


def test_stale_rows_are_marked_and_never_best(run: Build, tmp_path: Path) -> None:
    records = [run("final", "lora-2", 0.70), run("final", "full", 0.71), run("final", "lora-8", 0.72, stale=True)]
    text = page(records, tmp_path)
    assert cells(text, "LoRA r=8 (stale)")[0][1] == "0.7200"
    assert "Stale, made by an older method version" in text
    assert "**0.7100**" in text


def test_failed_runs_and_trials_are_named_with_their_error(sweep: list[Record], run: Build, tmp_path: Path) -> None:
    failed = run("final", "lora-4", None, 1, status="failed", error="RuntimeError:\n  out of `memory` " + "x" * 300)
    text = page([*sweep, failed], tmp_path)
    assert "- Failed: LoRA r=4, seed 1: `RuntimeError: out of 'memory' xxx" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("- Failed")) < 220
    assert "- Failed trial: LoRA r=8, number 6: `ValueError: the loss became NaN at step 12`" in text
    assert cells(text, "LoRA r=8")[1][1] == "5 + 1 failed"


def test_records_on_other_data_are_left_out_and_named(sweep: list[Record], run: Build, tmp_path: Path) -> None:
    other = run("final", "lora-4", 0.9, data={"name": "synthetic", "fingerprint": "0123"})
    text = page([other, *sweep], tmp_path)
    assert "0.9000" not in text
    assert "in data, encoder, split, ties or study: 1 record (data `synthetic` (`0123`), encoder" in text


def test_each_data_set_and_size_has_a_section_of_its_own(run: Build, tmp_path: Path) -> None:
    records = [
        run("final", "lora-2", 0.6, size="smoke"),
        run("final", "lora-2", 0.7, data={"name": "mind-small", "fingerprint": "0123"}),
        run("final", "lora-2", 0.8),
    ]
    parts = page(records, tmp_path).split("\n## ")
    assert [part.partition("\n")[0] for part in parts[1:]] == [
        "In detail: mind-small, size default",
        "In detail: synthetic, size default",
        "In detail: synthetic, size smoke",
    ]
    assert [cells(part, "LoRA r=2")[0][1] for part in parts[1:]] == ["0.7000", "0.8000", "0.6000"]


def test_a_smoke_table_says_what_it_is(run: Build, tmp_path: Path) -> None:
    text = page([run("final", "lora-2", 0.7, size="smoke")], tmp_path)
    assert "Size **smoke**" in text
    assert "its values say nothing about quality" in text


def test_all_run_ids_are_listed(sweep: list[Record], tmp_path: Path) -> None:
    text, rows = page(sweep, tmp_path), csv_rows(sweep, tmp_path)
    shown = {record["run_id"] for record in sweep if record["role"] != "search"}
    assert set(re.findall(r"`([0-9a-f]{12})`", text.partition("<details>")[2])) == shown
    assert {run_id for row in rows.values() for run_id in row["run_ids"].split()} == shown


def test_the_csv_holds_full_precision_and_machine_friendly_cells(run: Build, tmp_path: Path) -> None:
    aucs = (1 / 3, 2 / 7)
    row = csv_rows([run("final", "lora-8", auc, seed) for seed, auc in enumerate(aucs)], tmp_path)["lora-8"]
    assert float(row["auc"]) == sum(aucs) / 2
    assert (row["seeds"], row["auc_n"], row["params_trained"], row["features"]) == ("0 1", "895", "1327104", "title")
    assert (row["kind"], row["status"], row["size"], row["dialect"]) == ("run", "finished", "default", "expected")
    assert (row["n_total"], row["n_single_class"], row["impressions_per_s"]) == ("900", "2", "31.25")


def test_the_same_records_give_the_same_bytes_also_when_read_back_from_disk(
    sweep: list[Record], tmp_path: Path
) -> None:
    store = RecordStore(tmp_path / "a")
    for record in sweep:
        store.append(record)
    first = [path.read_bytes() for path in write_table(TABLE, store.load(), tmp_path / "a")]
    again = [path.read_bytes() for path in write_table(TABLE, json.loads(json.dumps(sweep)), tmp_path / "b")]
    assert first == again
    assert sorted(path.name for path in (tmp_path / "a" / "tables").iterdir()) == ["sweep.csv", "sweep.md"]


def test_columns_are_aligned_pipes_are_escaped_and_numbers_stand_right() -> None:
    text = aligned([["System", "AUC"], ["a|b", "0.5"], ["c", "–"]], [False, True])
    assert text.splitlines() == ["| System | AUC |", "| ------ | --: |", r"| a\|b   | 0.5 |", "| c      |   – |"]


@pytest.mark.parametrize("column", ["auc:median", "mrr:low"])
def test_a_wrong_column_fails_when_the_table_is_declared(column: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown column '{column}': a metric takes :interval, :sd or :n; others are"):
        Table("t", "T", columns=(column,))


def test_the_summary_fits_a_screen_and_tells_what_waits(sweep: list[Record]) -> None:
    text = summary(TABLE, sweep, "default")
    table = text.split("\n\n")[1].splitlines()
    assert re.split(r"\s{2,}", table[5]) == [
        *("LoRA r=8", "0.7484", "0.7314 – 0.7654", "±\u00a00.0017", "3", "5 + 1 failed", "1,327,104 (5.8 %)", "42 s")
    ]
    assert max(map(len, table)) <= 110
    assert "Pending: LoRA r=4." in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (4.21, "4.2 s"), (47, "47 s"), (192, "3.2 min"), (18_360, "5.1 h")]
)
def test_duration_keeps_two_or_three_digits(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_metric_labels_are_the_fields_own() -> None:
    assert [metric_label(key) for key in ("auc", "ndcg@10", "hr@50", "coverage")] == [
        "AUC",
        "nDCG@10",
        "HR@50",
        "coverage",
    ]


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "new" / "page.md", "old\n")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"
