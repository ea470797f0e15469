from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tastelab.results.index import write_index
from tastelab.results.probe_matrix import Column, ProbeMatrix, probe_matrix
from tastelab.results.rows import Row, comparable, make_rows
from tastelab.results.sections import sections
from tastelab.results.store import RecordStore

Record = dict[str, Any]
Build = Callable[..., Record]


def row(matrix: ProbeMatrix, group: str) -> Row:
    return next(row for row in matrix.rows if row.group == group)


def column(matrix: ProbeMatrix, name: str) -> Column:
    return next(column for column in matrix.columns if column.name == name)


def at(matrix: ProbeMatrix, group: str, name: str) -> float | None:
    return matrix.value(row(matrix, group), column(matrix, name), "auc")


def test_rows_come_as_trained_with_the_frozen_encoder_last_and_columns_by_their_order(transfer: list[Record]) -> None:
    matrix = probe_matrix(transfer, "default")
    assert [row.label for row in matrix.rows] == ["ai", "beer", "All", "All but physics", "Frozen encoder"]
    assert [column.label for column in matrix.columns] == ["everything", "ai", "beer", "physics"]


def test_rows_named_after_columns_follow_them_whichever_run_ended_first(transfer: list[Record]) -> None:
    finals = [record for record in transfer if record["role"] == "final"]
    others = [record for record in transfer if record["role"] != "final"]
    matrix = probe_matrix([*finals[::-1], *others], "default")
    assert [row.label for row in matrix.rows] == ["ai", "beer", "All", "All but physics", "Frozen encoder"]
    declared = probe_matrix(transfer, "default", rows=("beer", "ai"))
    assert [row.label for row in declared.rows] == ["beer", "ai", "Frozen encoder"], "what is declared stays"


def test_a_cell_is_the_mean_over_the_seeds_of_its_row(transfer: list[Record]) -> None:
    matrix = probe_matrix(transfer, "default")
    cell = matrix.cell(row(matrix, "ai"), column(matrix, "beer"))
    assert cell.seeds == [0, 1]
    assert at(matrix, "ai", "beer") == pytest.approx(0.555)
    assert cell.estimate("auc").sd == pytest.approx(0.01 / 2**0.5)  # type: ignore[union-attr]
    assert at(matrix, "frozen", "physics") is None, "it was not measured"


def test_declared_rows_and_columns_bring_order_labels_and_what_waits(transfer: list[Record]) -> None:
    declared = {"rows": ("All", ("ai", "only AI"), "new"), "columns": ("physics", ("ai", "AI"), "later")}
    matrix = probe_matrix(transfer, "default", **declared)  # type: ignore[arg-type]
    assert [row.label for row in matrix.rows] == ["All", "only AI", "new", "Frozen encoder"]
    assert [column.label for column in matrix.columns] == ["physics", "AI", "later"]
    assert at(matrix, "ai", "ai") == pytest.approx(0.705)
    assert {at(matrix, "new", "ai"), at(matrix, "All", "later")} == {None}
    assert matrix.left_out == (), "what is not declared is not shown, but belongs"
    assert [row.group for row in probe_matrix(transfer, "default", baselines=False).rows][-1] == "All but physics"


def test_domains_decide_what_is_a_rows_own_and_what_it_never_saw(transfer: list[Record]) -> None:
    matrix = probe_matrix(transfer, "default")
    own = {(r.group, c.name) for r in matrix.rows for c in matrix.columns if matrix.is_own(r, c)}
    of_all = {("All", name) for name in ("everything", "ai", "beer", "physics")}
    assert own == of_all | {("ai", "ai"), ("beer", "beer"), ("All but physics", "ai"), ("All but physics", "beer")}
    unseen = {(r.group, c.name) for r in matrix.rows for c in matrix.columns if matrix.is_outside(r, c)}
    assert unseen == {
        *(("ai", "beer"), ("ai", "physics"), ("beer", "ai"), ("beer", "physics"), ("All but physics", "physics")),
        *(("frozen", name) for name in ("ai", "beer", "physics")),
    }


def test_means_within_and_outside_the_domains_of_a_row(transfer: list[Record]) -> None:
    matrix = probe_matrix(transfer, "default")
    found = {r.group: (matrix.in_domain(r, "auc"), matrix.zero_shot(r, "auc")) for r in matrix.rows}
    # each cell is .005 above the values of conftest.TRANSFER: the mean of two seeds .01 apart
    assert found["ai"] == pytest.approx((0.705, (0.55 + 0.56) / 2 + 0.005))
    assert found["beer"] == pytest.approx((0.665, (0.52 + 0.48) / 2 + 0.005))
    assert found["All"] == (pytest.approx((0.68 + 0.64 + 0.62) / 3 + 0.005), None)
    assert found["All but physics"] == pytest.approx(((0.69 + 0.67) / 2 + 0.005, 0.585))
    assert found["frozen"] == (None, None), "it was trained on nothing, and its mean waits for physics"


def test_the_best_zero_shot_cell_and_the_one_that_was_left_out(transfer: list[Record]) -> None:
    matrix = probe_matrix(transfer, "default")
    best = {c.name: matrix.best_zero_shot(c, "auc") for c in matrix.columns}
    assert {name: cell and cell.group for name, cell in best.items()} == {
        **{"everything": None, "ai": "beer", "beer": "ai", "physics": "All but physics"}
    }
    left_out = {c.name: matrix.left_one_out(c) for c in matrix.columns}
    assert {name for name, cell in left_out.items() if cell} == {"physics"}
    assert left_out["physics"].estimate("auc").mean == pytest.approx(0.585)  # type: ignore[union-attr]


def test_of_what_was_read_the_texts_decide_what_is_a_rows_own(run: Build, probe: Build) -> None:
    features = {"title": ["title"], "both": ["title", "abstract"]}
    runs = {name: run("final", name, 0.6, config={"data": {"features": read}}) for name, read in features.items()}
    served = {name: {"features": read} for name, read in features.items()}
    served |= {"short": {"features": ["title"], "title_words": 3}, "rare": {"features": ["title"], "missing": 0.5}}
    served |= {"same": {"features": ["title"], "missing": 0.0}}
    probes = [probe(of, name, 0.6, data_config=data) for of in runs.values() for name, data in served.items()]
    matrix = probe_matrix([*runs.values(), *probes], "default")
    own = {(r.group, c.name) for r in matrix.rows for c in matrix.columns if matrix.is_own(r, c)}
    assert own == {("title", "title"), ("title", "same"), ("both", "both")}


def test_a_probe_counts_only_while_its_row_shows_the_run_that_was_probed(run: Build, probe: Build) -> None:
    old = run("final", "a", 0.6, config={"rate": 1}, run_id="old")
    new = run("final", "a", 0.7, config={"rate": 2}, run_id="new")
    records = [old, probe(old, "x", 0.61), new]
    matrix = probe_matrix(records, "default")
    assert (matrix.columns, [r["of"] for r in matrix.left_out]) == ((), ["old"])
    records.append(probe(new, "x", 0.71))
    assert at(probe_matrix(records, "default"), "a", "x") == pytest.approx(0.71)
    assert at(probe_matrix([*records[1:], old], "default"), "a", "x") == pytest.approx(0.61), "what came last counts"


def test_a_column_holds_what_was_measured_alike_and_the_latest_configuration(run: Build, probe: Build) -> None:
    a, b = run("final", "a", 0.6), run("final", "b", 0.6)
    first = [probe(each, "x", 0.61, evaluation={"max_impressions": 100}) for each in (a, b)]
    matrix = probe_matrix([a, b, *first, probe(a, "x", 0.64)], "default")
    assert (at(matrix, "a", "x"), at(matrix, "b", "x")) == (pytest.approx(0.64), None)
    assert len(matrix.left_out) == 2
    again = [probe(a, "x", auc, data_config={"missing": share}) for auc, share in ((0.5, 0.1), (0.7, 0.2))]
    assert at(probe_matrix([a, *again], "default"), "a", "x") == pytest.approx(0.7)


def test_a_stale_probe_gives_way_to_a_new_one_and_a_failed_one_is_kept_apart(run: Build, probe: Build) -> None:
    a = run("final", "a", 0.6)
    old, new = probe(a, "x", 0.5, stale=True), probe(a, "x", 0.7, data_config={"missing": 0.1})
    matrix = probe_matrix([a, new, old], "default")
    assert (at(matrix, "a", "x"), matrix.rows[0].status) == (pytest.approx(0.7), "finished")
    assert probe_matrix([a, old], "default").cells["a", "x"].status == "stale"
    failed = probe(a, "x", None, status="failed", error="RuntimeError: no memory")
    assert probe_matrix([a, failed], "default").cells["a", "x"].status == "failed"


def test_rows_that_share_a_run_share_its_probes(run: Build, probe: Build) -> None:
    a = run("final", "a", 0.6, run_id="shared")
    matrix = probe_matrix([a, a | {"group": "b", "label": "b"}, probe(a, "x", 0.62)], "default")
    assert at(matrix, "a", "x") == at(matrix, "b", "x") == pytest.approx(0.62)


def test_probes_make_no_row_and_decide_nothing(run: Build, probe: Build) -> None:
    final = run("final", "a", 0.7)
    other = probe(final, "x", 0.6, data={"name": "elsewhere", "fingerprint": "0"}, split="test", group="b")
    kept, left_out = comparable([final, other], "default")
    assert (kept, left_out) == ([final, other], [])
    assert [row.group for row in make_rows(kept, baselines=False)] == ["a"]
    assert make_rows(kept, baselines=False)[0].runs == (final,)


def test_a_probe_stands_in_the_section_of_its_run_and_without_one_nowhere(run: Build, probe: Build) -> None:
    final = run("final", "a", 0.7)
    there = probe(final, "x", 0.6, data={"name": "elsewhere", "fingerprint": "0"})
    lost = probe(final, "x", 0.6, of="gone", data={"name": "elsewhere", "fingerprint": "0"})
    (section,) = sections([there, final, lost])
    assert (section.data, section.records) == ("synthetic", (there, final))
    assert sections([lost]) == []


def test_the_index_counts_probes_in_a_column_of_their_own_where_there_are_some(
    transfer: list[Record], tmp_path: Any
) -> None:
    for folder, records in (("with", transfer), ("without", [r for r in transfer if r["role"] != "probe"])):
        store = RecordStore(tmp_path / folder)
        for record in records:
            store.append(record)
    header, _, line = [line for line in write_index(tmp_path / "with").read_text().splitlines() if line.startswith("|")]
    found = dict(zip(*([cell.strip() for cell in each.split("|")] for each in (header, line)), strict=True))
    assert (found["runs"], found["baselines"], found["probes"], found["failed"]) == ("8", "1", "35", "0")
    assert "probes" not in write_index(tmp_path / "without").read_text()
