from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.matrix import Panel, panels
from tastelab.results.store import RecordStore
from tastelab.results.tables import Table, write_table

Record = dict[str, Any]
ROWS = tuple((row, row) for row in ("Bi-encoder BCE", "NRMS", "Bi-encoder MINCE", "ID-SAS BCE", "Cross-encoder BCE"))
TABLE = Table(
    "main_table",
    "Architectures and losses",
    rows=ROWS,
    heading="Configuration",
    note="The cross-encoder trains on fewer impressions.",
    published={
        "Bi-encoder BCE": "A1.bi_encoder_bce",
        "NRMS": "A1.nrms",
        "Bi-encoder MINCE": "A1.bi_encoder_mince",
        "ID-SAS BCE": "A1.id_sas",
        "Cross-encoder BCE": "A1.cross_encoder",
    },
    references=("A.leaderboard", "A1.id_sas_all_features"),
)


def panel(records: list[Record], header: str, size: str = "default", table: Table = TABLE) -> Panel:
    return next(each for each in panels(table, records)[size] if each.header == header)


def line(shown: Panel, label: str) -> list[str]:
    return next(cells[1:] for cells in shown.cells("System") if cells[0] == label)


def page(records: list[Record], folder: Path, table: Table = TABLE) -> str:
    return write_table(table, records, folder)[0].read_text()


def test_ours_then_published_of_the_data_set_nearest_to_it(grid: list[Record]) -> None:
    shown = panel(grid, "Mix sample")
    assert shown.cells("Configuration")[0] == [
        *("Configuration", "AUC", "MRR", "nDCG@5", "nDCG@10"),
        *("published AUC", "published MRR", "published nDCG@5"),
    ]
    # .585 + (.0021 - .0013 + .0004) / 3 = .5854, sd √(.00170² + .00170² + 0²) / √2 = .0017
    assert line(shown, "Bi-encoder MINCE") == [
        *("**0.5854** ±\u00a00.0017", "**0.2254**", "**0.2554**", "**0.3154**"),
        *("*0.7551*", "*0.4679*", "*0.4955*"),
    ]
    assert line(shown, "Bi-encoder BCE")[:2] == ["0.5724 ±\u00a00.0017", "0.2124"]


def test_pending_in_the_source_is_a_dash_and_absent_there_is_blank(grid: list[Record]) -> None:
    shown = panel(grid, "Mix sample")
    assert line(shown, "ID-SAS BCE")[4:] == ["–", "–", "–"]
    assert line(shown, "NRMS") == ["–", "–", "–", "–", "", "", ""]
    assert line(shown, "TF-IDF")[4:] == ["", "", ""]


def test_a_data_set_without_a_kin_has_no_published_columns(grid: list[Record]) -> None:
    assert panel(grid, "Synthetic").cells("System")[0] == ["System", "AUC", "MRR", "nDCG@5", "nDCG@10"]


def test_a_waiting_data_set_is_last_with_every_row_and_the_references(grid: list[Record]) -> None:
    assert [each.header for each in panels(TABLE, grid)["default"]] == ["Mix sample", "Synthetic", "MIND-small"]
    shown = panel(grid, "MIND-small")
    assert line(shown, "Bi-encoder BCE") == [*"––––", "*0.6801*", "*0.3250*", "*0.3561*"]
    assert line(shown, "NRMS")[4:] == ["*0.6622*", "*0.3192*", "*0.3453*"]
    labels = [cells[0] for cells in shown.cells("System")]
    assert labels[-3:] == [
        "Frozen encoder",
        "*Top of MIND's leaderboard, all features*",
        "*ID-SAS, full fine-tuning, all 6 text features*",
    ]
    assert line(shown, labels[-2]) == ["", "", "", "", "*0.7304*", "", ""]


def test_the_origin_of_published_figures_is_named_and_the_exceptions_with_it(grid: list[Record]) -> None:
    assert panel(grid, "Mix sample").origins == "[A] Table 1, Mix"
    assert panel(grid, "MIND-small").origins == (
        "[A] Table 1, MIND dev (NRMS: [A] Table 1, MIND test; "
        "Top of MIND's leaderboard, all features: [A] §4, MIND test; "
        "ID-SAS, full fine-tuning, all 6 text features: [A] Table 1, caption, MIND dev)"
    )


def test_one_seed_has_no_spread_and_a_baseline_is_never_best(grid: list[Record]) -> None:
    shown = panel(grid, "Synthetic")
    assert line(shown, "Cross-encoder BCE")[0] == "**0.7141**"
    better = [r | {"metrics": {"auc": {"mean": 0.9}}} if r["group"] == "frozen" else r for r in grid]
    assert line(panel(better, "Synthetic"), "Frozen encoder")[0] == "0.9000"


def test_a_stale_row_is_marked_and_not_best(grid: list[Record]) -> None:
    old = [r | {"stale": True} if r["group"] == "Cross-encoder BCE" else r for r in grid]
    shown = panel(old, "Synthetic")
    assert line(shown, "Cross-encoder BCE (stale)")[0] == "0.7141"
    assert line(shown, "Bi-encoder MINCE")[0] == "**0.7054** ±\u00a00.0017"


def test_sizes_never_mix_and_smoke_stands_under_its_declared_name(grid: list[Record]) -> None:
    made = panels(TABLE, grid)
    assert list(made) == ["default", "smoke"]
    assert [(each.header, each.dataset) for each in made["smoke"]] == [("Synthetic", "synthetic-smoke")]
    # .592 + .0021 - .05 = .5441
    assert line(made["smoke"][0], "Cross-encoder BCE")[0] == "**0.5441**"
    assert {run["size"] for each in made["default"] for row in each.rows for run in row.runs} == {"default"}


def test_full_mind_and_a_data_set_of_one_s_own_get_panels(grid: list[Record]) -> None:
    full = [r | {"data": {"name": "mind", "fingerprint": "1"}} for r in grid if r["size"] == "default"][:3]
    own = [r | {"data": {"name": "feeds", "fingerprint": "2"}} for r in full]
    made = panels(TABLE, [*full, *own])["default"]
    assert [each.header for each in made] == ["feeds", "mind", "MIND-small", "Mix sample", "Synthetic"]
    assert line(made[1], "Bi-encoder BCE")[4] == "*0.6801*"
    assert made[0].published_metrics == []


def test_a_table_of_pending_figures_alone_still_has_its_columns() -> None:
    table = Table("late", "Late interaction", rows=(("x", "x"),), published={"x": "A2.half_cross_encoder"})
    shown = panel([], "MIND-small", table=table)
    assert line(shown, "x") == ["–"] * 8
    assert shown.origins == "[A] Table 2, MIND dev"


def test_without_records_all_rows_wait_beside_the_published_figures(tmp_path: Path) -> None:
    text = page([], tmp_path)
    assert text.count("Nothing was run on it yet.") == 3
    assert text.count("| Bi-encoder BCE ") == 3
    assert "*0.6801*" in text and "*0.7186*" in text
    assert "In detail" not in text
    with (tmp_path / "tables" / "main_table.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert [row["status"] for row in found] == ["pending"] * 9  # five rows and the four baselines that always exist


def test_the_page_says_that_published_figures_were_not_measured_here(grid: list[Record], tmp_path: Path) -> None:
    matrix = page(grid, tmp_path).partition("## In detail")[0]
    assert "*Italic: published in [A], not measured here*" in matrix
    assert "- The cross-encoder trains on fewer impressions.\n" in matrix
    assert "*Published: [A] Table 1, Mix.*" in matrix
    assert "`mix_sample` · dev split · 900 impressions · encoder all-MiniLM-L6-v2 · 3 seeds" in matrix
    assert "encoder all-MiniLM-L6-v2 · 1 to 3 seeds" in matrix
    assert "A smoke run shows that everything works" in matrix.partition("## Results at size smoke")[2]


def test_the_detail_shows_tests_latency_and_what_was_trained_on(grid: list[Record], tmp_path: Path) -> None:
    detail = page(grid, tmp_path).partition("## In detail: Synthetic, size default")[2].partition("## In detail")[0]
    quality, cost = [
        [cell.strip() for cell in text.strip("|").split("|")]
        for text in detail.splitlines()
        if text.startswith("| Bi-encoder MINCE ")
    ]
    assert quality[1:] == [
        *(
            "0.7054",
            "0.6884 – 0.7224",
            "±\u00a00.0017",
            "+0.0130 (+0.0030\u00a0–\u00a0+0.0250)",
            "0.006",
            "3",
        )  # the rest is above
    ]
    assert cost[1:] == ["10,645,248 (46.9 %)", "1,024", "42 s", "31.2", "5.31", "0.0432", "1,710 MB"]
    assert "trials searched" not in detail
    assert "- Failed: ID-SAS BCE, seed 2: `RuntimeError: the loss became NaN at step 12`" in detail


def test_the_csv_holds_tests_and_latencies(grid: list[Record], tmp_path: Path) -> None:
    with write_table(TABLE, grid, tmp_path)[1].open(newline="") as lines:
        rows = {(row["data_name"], row["group"]): row for row in csv.DictReader(lines)}
    found = rows["mix_sample", "Bi-encoder MINCE"]
    assert float(found["vs_first_difference"]) == pytest.approx(0.013)
    assert (float(found["vs_first_p"]), float(found["vs_first_p_holm"])) == (0.0031, 0.0062)
    assert (found["latency_warm_1_ms"], found["latency_cold_1_ms"], found["latency_cold_64_ms"]) == (
        "5.3125",
        "31.0",
        "",
    )
    assert (found["train_impressions"], found["epochs"], found["learning_rate"]) == ("1024", "1", "0.0005")
    assert rows["mix_sample", "NRMS"]["status"] == "pending"
    assert not any("0.7551" in value for row in rows.values() for value in row.values())  # published is not measured


def test_rows_of_several_encoders_stand_together_only_if_the_table_lets_them(grid: list[Record]) -> None:
    groups = ("Bi-encoder BCE", "Bi-encoder MINCE")
    runs = [r for r in grid if r["group"] in groups and r["role"] == "final" and r["data"]["name"] == "mix_sample"]
    small = [r | {"encoder": {"name": "two layers", "fingerprint": "2"}} for r in runs if r["group"] == groups[0]]
    records = small + [r for r in runs if r["group"] == groups[1]]
    rows = tuple((group, group) for group in groups)
    assert line(panel(records, "Mix sample", table=Table("a", "A", rows=rows)), groups[0])[0] == "–"
    free = Table("a", "A", rows=rows, fixed=("data.fingerprint", "split", "dialect"))
    assert line(panel(records, "Mix sample", table=free), groups[0])[0] == "0.5724 ±\u00a00.0017"


def test_the_bytes_depend_on_the_records_alone(grid: list[Record], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_table(TABLE, grid, tmp_path / "a")]
    store = RecordStore(tmp_path / "c")
    for record in grid:
        store.append(record)
    assert [path.read_bytes() for path in write_table(TABLE, store.load(), tmp_path / "c")] == first
    mixed = list(grid)
    random.Random(1).shuffle(mixed)
    assert [path.read_bytes() for path in write_table(TABLE, mixed, tmp_path / "b")] == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"published": {"x": "A7.x"}}, "'A7.x' is no published figure"),
        ({"references": ("A7.x",)}, "'A7.x' is no published figure"),
        ({"published": {"y": "A1.nrms"}}, "The table t has no row 'y' to show a published figure beside: use one of x"),
    ],
)
def test_a_wrong_reference_fails_when_the_table_is_declared(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table("t", "T", rows=(("x", "x"),), **changes)
