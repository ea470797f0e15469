"""The page as a whole: what it is, how much was run, what failed, the contents, and every experiment in turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from tastelab.results.page.chapters import Chapter, render_chapter
from tastelab.results.page.ledger import Ledger
from tastelab.results.page.markup import tag, text
from tastelab.results.store import Record, RecordStore
from tastelab.results.tables import write_text

NAME = "index.html"
SCRIPTS = ("page.js", "charts.js", "panel.js")
MAX_ERROR = 200  # characters
LEDE = (
    "What every experiment of this laboratory found, as tables and figures. All of it is made from the records of "
    "runs; nothing is typed by hand. Select a cell to see its runs: configuration, commit, data and curves."
)


def write_page(chapters: Sequence[Chapter], reports: Path) -> Path:
    """Write `reports/index.html` from the records and figures under `reports`; return its path.

    Args:
        chapters: What the experiments declare, in the order of the page.
        reports: The reports folder; its figures are up to date.
    """
    records = RecordStore(reports).load()
    by_experiment = {c.name: [r for r in records if r["experiment"] == c.name] for c in chapters}
    ledger = Ledger()
    rendered = [render_chapter(chapter, by_experiment[chapter.name], reports, ledger) for chapter in chapters]
    parts = {
        "style": _asset("page.css"),
        "masthead": masthead([record for found in by_experiment.values() for record in found]),
        "contents": tag("ul", *(_entry(chapter, by_experiment[chapter.name]) for chapter in chapters)),
        "chapters": "\n".join(rendered) or tag("p", "No experiment was found."),
        "data": ledger.as_json(),
        "script": "\n".join(map(_asset, SCRIPTS)),
    }
    return write_text(reports / NAME, fill(_asset("page.html"), parts))


def fill(template: str, parts: dict[str, str]) -> str:
    """Put each part in the place of its `{{name}}`, all at once, so that no part is read as a place."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def masthead(records: Sequence[Record]) -> str:
    """Say what this is, how many runs there are, when the newest was made, and name what failed."""
    fresh = [record for record in records if not record.get("stale")]
    failed = [record for record in fresh if record["status"] == "failed"]
    facts = {
        "trained runs": _count(fresh, "final"),
        "baselines": _count(fresh, "baseline"),
        "search trials": _count(fresh, "search"),
        **({"probes": probes} if (probes := _count(fresh, "probe")) else {}),
        "failed": len(failed),
        "newest record": newest(records),
    }
    shown = [tag("div", tag("dt", name), tag("dd", text(value))) for name, value in facts.items()]
    listed = tag("ul", *(tag("li", _failure(record)) for record in failed))
    failures = tag("div", "Failed:", listed, class_="failures") if failed else ""
    head = [tag("h1", "tastelab · results"), tag("p", LEDE, class_="lede"), tag("dl", *shown, class_="facts")]
    return "\n".join([*head, failures])


def newest(records: Sequence[Record]) -> str:
    """Return when the newest record was made, to the minute, in UTC: never the time at which the page is made."""
    times = [datetime.fromisoformat(record["finished_at"]) for record in records if record.get("finished_at")]
    return f"{max(times).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if times else "none yet"


def _count(records: Sequence[Record], role: str) -> int:
    return len({r["run_id"] for r in records if r["role"] == role and r["status"] in ("finished", "pruned")})


def _failure(record: Record) -> str:
    where = [record["experiment"], record.get("data", {}).get("name"), f"size {record['size']}", record.get("label")]
    where += [f"seed {record['seed']}"] if record.get("seed") is not None else []
    error = " ".join(str(record.get("error") or "no message").split())
    message = error if len(error) <= MAX_ERROR else f"{error[: MAX_ERROR - 1]}…"
    return f"{text(' · '.join(str(part) for part in where if part))}: {tag('code', text(message))}"


def _entry(chapter: Chapter, records: Sequence[Record]) -> str:
    """Link a chapter from the contents, with how far it is."""
    done = _count(records, "final") + _count(records, "baseline")
    num_failed = sum(record["status"] == "failed" for record in records)
    state = ["1 run" if done == 1 else f"{done} runs"] if records else ["nothing run yet"]
    state += [f"{num_failed} failed"] if num_failed else []
    shown = tag("small", " · ".join(state))
    return tag("li", tag("a", tag("span", text(chapter.title)), shown, href=f"#{chapter.name}"))


def _asset(name: str) -> str:
    return files("tastelab.results.page").joinpath("assets", name).read_text(encoding="utf-8").rstrip("\n")
