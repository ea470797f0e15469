from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.heatmap import HeatMap
from tastelab.results.page.chapters import Chapter
from tastelab.results.page.document import write_page
from tastelab.results.page.ledger import compact
from tastelab.results.plots import figure_names
from tastelab.results.probes import ProbeTable
from tastelab.results.store import RecordStore
from tastelab.results.tables import Table, write_text

Record = dict[str, Any]
HOSTILE = "<script>alert('no')</script> & {{data}}"
WARNING = "Ranking by <id> order reaches an AUC of .61."
TABLES = (Table("all", "On all"), ProbeTable("transfer", "Domain transfer", summaries="domains"))
CHAPTER = Chapter("transfer", "Does taste transfer?", TABLES, (HeatMap("map", "Heat map"),))


def written(records: list[Record], folder: Path, chapter: Chapter = CHAPTER) -> str:
    store = RecordStore(folder)
    for record in records:
        store.append(record)
    for name in (name for plot in chapter.plots for name in figure_names(plot, store.load())):
        write_text(folder / "figures" / name, '<svg width="9pt" height="4pt"><g/></svg>')
    return write_page([chapter], folder).read_text()


def data(source: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(re.search(r'id="page-data">(.*?)</script>', source, re.DOTALL)[1])  # type: ignore[index]
    return found


def matrix(source: str) -> str:
    return source.partition('aria-label="Domain transfer"')[2].partition("</table>")[0]


@pytest.fixture
def source(transfer: list[Record], tmp_path: Path) -> str:
    return written(transfer, tmp_path)


def test_each_cell_leads_to_its_probes_and_each_label_to_what_was_probed(source: str, transfer: list[Record]) -> None:
    ledger, by_id = data(source), {record["run_id"]: record for record in transfer}
    cells = re.findall(
        r'<t[hd](?: scope="row")?(?: class="(own)")? data-row="(\d+)"><a href="#run=(\w+)"', matrix(source)
    )
    assert len(cells) == 5 + 19, "rows, and cells but the one that waits"
    for _, number, run_id in cells:
        entry = ledger["rows"][int(number)]
        assert entry["runs"][0] == run_id and entry["title"] == "Domain transfer"
        record = by_id[run_id]
        if record["role"] == "probe":
            name = "Frozen encoder" if record["group"] == "frozen" else record["label"]
            assert entry["label"] == f"{name} → {record['probe']}"
            assert ledger["runs"][run_id]["of"] in ledger["runs"], "the dialog leads on to what was probed"
    assert sum(own == "own" for own, *_ in cells) == 8


def test_every_run_has_an_address(source: str) -> None:
    addresses = set(re.findall(r'href="#run=(\w+)"', source))
    assert addresses == set(data(source)["runs"]) and len(addresses) == 9 + 35


def test_summaries_stand_below_the_rows_that_can_be_sorted(source: str) -> None:
    foot = matrix(source).partition("<tfoot>")[2]
    assert re.findall(r"<th scope=\"row\">([^<]+)<", foot) == ["Best zero-shot", "Left out"]
    assert "0.5850" in foot and "<a " not in foot


def test_the_heat_map_and_the_count_of_probes_are_shown(source: str) -> None:
    assert 'alt="Heat map, synthetic"' in source
    assert "<dt>probes</dt><dd>35</dd>" in source


def test_without_probes_nothing_is_said_of_them(transfer: list[Record], tmp_path: Path) -> None:
    trained = [record for record in transfer if record["role"] != "probe"]
    source = written(trained, tmp_path)
    assert "<dt>probes</dt>" not in source
    assert "Nothing was measured under other conditions yet." in source


def test_text_from_outside_is_never_markup(transfer: list[Record], tmp_path: Path) -> None:
    changed = [
        record
        | {"data": record["data"] | {"warnings": [WARNING]}}
        | ({"probe": HOSTILE} if record.get("probe") == "beer" else {})
        for record in transfer
    ]
    table = ProbeTable("t", HOSTILE, heading=HOSTILE, across=HOSTILE, note=HOSTILE)
    source = written(changed, tmp_path, Chapter("transfer", "Why?", (TABLES[0], table)))
    assert "<script>alert" not in source and "<id>" not in re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL)
    assert source.count("Ranking by &lt;id&gt; order") == 3, "under the matrix, the details and the probes"
    assert source.count("</script>") == 2


def test_slices_of_a_run_keep_what_the_page_shows() -> None:
    auc = {"mean": 0.51234567, "low": 0.4, "high": 0.6, "n": 60}
    slices = {"items": [{"slice": "cold", "n": 60, "metrics": {"auc": auc, "mrr": auc}}], "users": []}
    few = {"history": [{"slice": "0", "n": 3, "too_few": True}]}
    assert compact({"slices": slices | few})["slices"] == {
        "items": [{"slice": "cold", "n": 60, "metrics": {"auc": auc | {"mean": 0.512346}}}],
        "users": [],
        "history": [{"slice": "0", "n": 3, "too_few": True}],
    }


def test_the_same_records_make_the_same_bytes(source: str, transfer: list[Record], tmp_path: Path) -> None:
    assert written(transfer, tmp_path / "again") == source
