from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tastelab.results.page import document
from tastelab.results.page.chapters import Chapter
from tastelab.results.page.document import newest, write_page
from tastelab.results.page.ledger import Ledger, compact, rounded
from tastelab.results.page.markup import data_uri, inline, tag
from tastelab.results.plots import RankCurve, figure_names
from tastelab.results.sections import sections
from tastelab.results.store import RecordStore
from tastelab.results.tables import Table, write_text

Record = dict[str, Any]
LABELS = ("Bi-encoder BCE", "Bi-encoder MINCE", "ID-SAS BCE", "Cross-encoder BCE", "All components")
ROWS = tuple((label, label) for label in LABELS)
PUBLISHED = {"Bi-encoder MINCE": "A1.bi_encoder_mince", "All components": "A1.all_components"}
FIGURE = (
    '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-" "http://www.w3.org/svg11.dtd">\n<svg width="9pt" height="4pt">\n'
    " <metadata>\n  <a/>\n </metadata>\n <g>\n  <!-- b -->\n  <b/>\n </g>\n</svg>\n"
)
HOSTILE = "<script>alert('no')</script> & \"quoted\" {{data}}"


class Page(HTMLParser):
    """The parts of a page that the tests look at."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[dict[str, Any]] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.addresses += [(name, key, value or "") for key, value in attrs if key in ("src", "href", "action", "data")]
        if name == "tr":
            self.rows.append(
                {"number": attributes.get("data-row"), "class": attributes.get("class") or "", "cells": []}
            )
        if name in ("td", "th"):
            self.rows[-1]["cells"].append({"class": attributes.get("class") or "", "text": "", "href": None})
        if name == "a" and any(each in ("td", "th") for each, _ in self._open):
            self.rows[-1]["cells"][-1]["href"] = attributes.get("href")
        if name not in ("meta", "link", "img"):
            self._open.append((name, attributes))

    def handle_endtag(self, name: str) -> None:
        assert self._open and self._open[-1][0] == name, f"</{name}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        inside = [name for name, _ in self._open]
        if inside:
            self.texts.setdefault(inside[-1], []).append(data)
        if "td" in inside or "th" in inside:
            self.rows[-1]["cells"][-1]["text"] += data

    @property
    def data(self) -> dict[str, Any]:
        return next(json.loads(part) for part in self.texts["script"] if part.startswith('{"rows"'))

    def labelled(self, label: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["cells"][0]["text"] == label]


def chapter(**changes: Any) -> Chapter:
    table = Table("main_table", "Every ranking system", rows=ROWS, published=PUBLISHED, references=("A.leaderboard",))
    plot = RankCurve("main_table", "AUC of each system", ROWS)
    return Chapter(
        **({"name": "main_table", "question": "Which?\n\nVaries  all.", "tables": (table,), "plots": (plot,)} | changes)
    )


def written(reports: Path, records: list[Record], *chapters: Chapter) -> Path:
    store = RecordStore(reports)
    for record in records:
        store.append(record)
    for each in chapters:
        for name in (name for plot in each.plots for name in figure_names(plot, store.load(each.name))):
            write_text(reports / "figures" / name, FIGURE)
    return write_page(chapters, reports)


@pytest.fixture
def records(grid: list[Record]) -> list[Record]:
    curve = {"val/auc": [[0, 8, 16], [0.5, 0.5123456789, None]], "train/loss": [[1, 2], [2.0, 1.23456789]]}
    return [record | {"curves": curve} if record["role"] == "final" else record for record in grid]


@pytest.fixture
def source(tmp_path: Path, records: list[Record]) -> str:
    return written(tmp_path, records, chapter()).read_text()


@pytest.fixture
def page(source: str) -> Page:
    return Page(source)


def test_every_finished_run_of_the_table_is_reached_from_its_cells(page: Page, records: list[Record]) -> None:
    data = page.data
    num_rows = 0
    for section in sections(records):
        for row in chapter().tables[0].fill(section.records, section.size)[0]:
            ids = [run["run_id"] for run in row.runs]
            if not ids:
                continue
            num_rows += 1
            shown = [s for s in page.rows if s["number"] is not None and data["rows"][int(s["number"])]["runs"] == ids]
            assert len(shown) == 3, "the matrix, the intervals and the cost"
            measured = [cell for s in shown for cell in s["cells"] if "published" not in cell["class"]]
            assert {cell["href"] for cell in measured} == {f"#run={ids[0]}"}
            assert all(data["runs"][run_id]["run_id"] == run_id for run_id in ids)
            assert {("a", "href", f"#run={run_id}") for run_id in ids} <= set(page.addresses)
    assert num_rows == 3 + 5 + 4 + 5 + 4


def test_a_failed_run_is_named_and_reached_and_a_valid_test_is_kept_with_its_row(page: Page) -> None:
    failed = [run for run in page.data["runs"].values() if run["status"] == "failed"]
    assert [run["error"] for run in failed] == ["RuntimeError: the loss became NaN at step 12"]
    assert ("a", "href", f"#run={failed[0]['run_id']}") in page.addresses
    assert "main_table · synthetic · size default · ID-SAS BCE · seed 2: " in page.texts["li"]
    tested = [row for row in page.data["rows"] if "comparison" in row]
    assert {(row["label"], row["data"]) for row in tested} == {
        (label, data) for label in ("Bi-encoder MINCE", "ID-SAS BCE") for data in ("mix_sample", "synthetic")
    }


def test_pending_cells_are_dashes_that_lead_nowhere(page: Page) -> None:
    rows = page.labelled("All components")
    measured = [cell for row in rows for cell in row["cells"][1:] if "published" not in cell["class"]]
    assert rows and {cell["text"] for cell in measured} == {"–"}
    assert {cell["href"] for row in rows for cell in row["cells"]} == {None}
    assert all("pending" in row["class"] for row in rows)


def test_published_figures_stand_in_columns_of_their_own_and_lead_to_no_run(page: Page) -> None:
    published = [cell for row in page.rows for cell in row["cells"] if "published" in cell["class"]]
    assert "published in [A]" in {cell["text"] for cell in published}
    assert "0.7551" in {cell["text"] for cell in published}
    assert {cell["href"] for cell in published} == {None}
    assert "0.7551" not in {c["text"] for row in page.rows for c in row["cells"] if "published" not in c["class"]}


def test_each_figure_stands_in_its_view_under_its_title(page: Page, source: str) -> None:
    images = [address for name, key, address in page.addresses if (name, key) == ("img", "src")]
    assert images == [data_uri(FIGURE)] * 3, "two data sets and a smoke run"
    assert re.findall(r'alt="([^"]+)" width="9" height="4"', source) == [
        f"AUC of each system, {name}" for name in ("mix_sample", "synthetic", "synthetic-smoke")
    ]


def test_the_page_fetches_nothing(page: Page, source: str) -> None:
    assert all(address.startswith(("#", "data:")) for _, _, address in page.addresses)
    assert "default-src 'none'" in source
    own = re.sub(r'src="data:[^"]*"|http://www\.w3\.org/2000/svg', "", source)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|import\(", own)


def test_every_link_within_the_page_has_its_place(page: Page, source: str) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', source))
    anchors = {address[1:] for name, _, address in page.addresses if name == "a" and not address.startswith("#run=")}
    assert anchors == {"page", "main_table"} and anchors <= ids
    runs = {address.removeprefix("#run=") for _, _, address in page.addresses if address.startswith("#run=")}
    assert runs == set(page.data["runs"])


def test_text_from_outside_is_never_markup(tmp_path: Path, run: Callable[..., Record]) -> None:
    broken = run("final", "b", None, 0, status="failed", error=f"Error: {HOSTILE}", label=HOSTILE)
    table = Table("t", HOSTILE, rows=(("a", HOSTILE), ("b", "b")), note=HOSTILE, heading=HOSTILE)
    hostile = Chapter("lora_rank_sweep", f"{HOSTILE}\n\n{HOSTILE}", (table,))
    page = Page(written(tmp_path, [run("final", "a", 0.7, config={"x": HOSTILE}), broken], hostile).read_text())
    assert len(page.texts["script"]) == 2, "the data and the code"
    assert page.data["runs"][page.data["rows"][0]["runs"][0]]["config"] == {"x": HOSTILE}
    assert HOSTILE in page.texts["h2"] and HOSTILE in page.texts["p"] and HOSTILE in page.texts["pre"]
    assert page.labelled(HOSTILE)


def test_the_same_records_make_the_same_bytes(tmp_path: Path, records: list[Record]) -> None:
    first = written(tmp_path / "one", records, chapter()).read_bytes()
    assert written(tmp_path / "two", records, chapter()).read_bytes() == first


def test_the_newest_record_dates_the_page(tmp_path: Path, run: Callable[..., Record]) -> None:
    east = run("final", "a", 0.7, finished_at="2026-03-02T01:30:00+02:00")
    assert newest([run("final", "a", 0.7, finished_at="2026-03-01T10:00:00Z"), east]) == "2026-03-01 23:30 UTC"
    assert "none yet" in written(tmp_path, [], chapter()).read_text()


def test_an_experiment_that_was_never_run_shows_its_rows(tmp_path: Path) -> None:
    page = Page(written(tmp_path, [], chapter()).read_text())
    assert {row["number"] for row in page.rows} == {None}
    assert "0.8367" in {cell["text"] for row in page.labelled("All components") for cell in row["cells"]}
    assert "nothing run yet" in page.texts["small"]


def test_records_keep_all_but_the_digits_that_no_screen_shows(page: Page) -> None:
    run = next(run for run in page.data["runs"].values() if "curves" in run)
    assert run["curves"]["val/auc"] == [[0, 8, 16], [0.5, 0.5123, None]]
    assert run["curves"]["train/loss"] == [[1, 2], [2, 1.235]]
    assert run["git"]["commit"] == "3f9a1c2e7d0b45689a7c1234567890abcdef0123" and run["versions"] and run["hardware"]
    assert "stale" not in run


@pytest.mark.parametrize(
    ("value", "short"), [(0.123456, 0.1235), (1234567.0, 1235000.0), (2.0, 2), (None, None), (True, True), (7, 7)]
)
def test_numbers_are_rounded_to_significant_digits(value: Any, short: Any) -> None:
    assert rounded({"x": [value]}, 4) == {"x": [short]}
    assert type(rounded(value, 4)) is type(short)


def test_a_configuration_is_never_rounded() -> None:
    record = {"config": {"rate": 0.00020838320204682177}, "metrics": {"auc": {"mean": 0.55772811918}}, "stale": True}
    assert compact(record) == record | {"metrics": {"auc": {"mean": 0.557728}}}


def test_data_cannot_end_its_script() -> None:
    ledger = Ledger(runs={"a": {"label": "</script><!--\u2028"}})
    assert "<" not in ledger.as_json() and "\u2028" not in ledger.as_json()
    assert json.loads(ledger.as_json())["runs"]["a"]["label"] == "</script><!--\u2028"


def test_inline_markdown_becomes_markup_and_all_else_text() -> None:
    assert inline("**0.5** ± `a<b` *in [A]*") == "<b>0.5</b> ± <code>a&lt;b</code> <i>in [A]</i>"
    assert inline("2 * 3 < 7, `**`") == "2 * 3 &lt; 7, <code>**</code>"
    assert tag("td", "x", class_="", data_row=0, colspan=None) == '<td data-row="0">x</td>'


def test_a_figure_travels_as_data_without_what_nobody_sees() -> None:
    kind, _, body = data_uri(FIGURE).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == '<svg width="9pt" height="4pt"><g><b/></g></svg>'


def test_a_part_that_looks_like_a_place_stays_as_it_is() -> None:
    assert document.fill("{{a}}{{b}}", {"a": "{{b}}", "b": "x"}) == "{{b}}x"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_scripts_parse(tmp_path: Path, page: Page) -> None:
    script = tmp_path / "page.js"
    script.write_text(page.texts["script"][-1])
    done = subprocess.run(["node", "--check", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
