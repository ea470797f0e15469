"""The worst impressions: which they are, what is said of them, and a page that no text of the data can break."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tastelab.cli import main
from tastelab.data.order import fitting_and_validation
from tastelab.data.tables import PreparedData
from tastelab.serving.failures import Candidate, Failure, Failures, Item, in_order, worst, worst_impressions
from tastelab.serving.failures_page import RECENT, TOP, article, check_place, render
from tastelab.serving.offline import Ready, Request, evaluate_slices
from tastelab.training.job import Job

HOSTILE = "<script>alert('x')</script> & \"quoted\" </article>"
HEBREW = "מה ההבדל בין \u202eלאגר"


@pytest.fixture(scope="module")
def request_(tiny_data: PreparedData, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Request:
    home = tmp_path_factory.mktemp("home")
    return Request(str(tiny_data.path), home, encoder=str(tiny_bert), max_history=4, precision="fp32")


def test_the_worst_are_the_lowest_by_row_and_read_as_logged(request_: Request, tiny_data: PreparedData) -> None:
    found = worst_impressions(request_, 7, "mrr")
    measured, _ = evaluate_slices(request_)
    mrr = measured.values["mrr"]
    scored = [row for row in range(len(mrr)) if np.isfinite(mrr[row])]
    assert [one.row for one in found.worst] == sorted(scored, key=lambda row: (mrr[row], row))[:7]
    assert len(found.value_N) == len(scored)
    assert (found.data, found.fingerprint, found.split) == ("tiny", tiny_data.fingerprint, "dev")
    titles = tiny_data.items(["title"])["title"].to_pylist()
    logged = tiny_data.impressions("dev").to_pylist()
    for one in found.worst:
        impression = logged[one.row]
        clicked = [c for c, label in zip(impression["candidates"], impression["labels"], strict=True) if label]
        assert one.time == impression["time"]
        assert one.num_dropped == max(0, len(impression["history"]) - 4)
        signs = (impression["feedback"] or [1] * len(impression["history"]))[-4:]
        assert [disliked for _, disliked in one.history] == [sign == -1 for sign in signs]
        shown = [item.title for item, _ in one.history]
        assert all(a == titles[b] or not titles[b] for a, b in zip(shown, impression["history"][-4:], strict=True))
        scores = [candidate.score for candidate in one.candidates]
        assert scores == sorted(scores, reverse=True)
        assert sum(candidate.clicked for candidate in one.candidates) == len(clicked)
        ranks = [int(candidate.rank) for candidate in one.candidates if candidate.clicked and "–" not in candidate.rank]
        if len(ranks) == len(clicked):
            assert one.metrics["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_a_slice_holds_its_impressions_alone(request_: Request) -> None:
    _, cut = evaluate_slices(request_)
    parts = {part["slice"]: part["n"] for part in cut["history"]}
    found = worst_impressions(request_, 99, "auc", "history=1-4")
    assert len(found.worst) == len(found.value_N) == parts["1–4"] > 0
    assert {one.slices["history"] for one in found.worst} == {"1–4"}
    assert found.slice == "history=1-4"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"by": "recall"}, "Unknown metric 'recall': choose one of auc, mrr, ndcg@5, ndcg@10."),
        ({"count": 0}, "worst is 0: show at least 1 impression."),
        ({"chosen": "cold"}, "'cold' names no slice: write dimension=slice, such as items=cold."),
        ({"chosen": "age=old"}, "The data have no slices by 'age': choose among items, users, history, "),
        ({"chosen": "items=warm"}, "items has no slice 'warm': choose among cold, seen."),
        ({"chosen": "users=cold"}, "No impression of users=cold has auc: choose another slice, split or metric."),
    ],
)
def test_mistakes_are_one_sentence(request_: Request, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        worst_impressions(request_, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)


def test_lowest_values_come_first_and_nothing_is_no_value() -> None:
    values = np.array([0.5, np.nan, 0.1, 0.5, 0.1, np.nan])
    assert worst(values, 3).tolist() == [2, 4, 0]
    assert worst(values, 9).tolist() == [2, 4, 0, 3]


def test_equal_scores_share_their_places() -> None:
    items = [Item(letter, "") for letter in "abcde"]
    ranked = in_order(items, np.array([0.1, 0.7, 0.1, 0.9, 0.1]), [0, 0, 1, 0, 0])
    assert [(c.item.title, c.rank, c.clicked) for c in ranked] == [
        ("d", "1", False),
        ("b", "2", False),
        ("a", "3–5", False),
        ("c", "3–5", True),
        ("e", "3–5", False),
    ]


def failure(history: int = 2, candidates: int = 3, clicked: int = 2, title: str = HOSTILE) -> Failure:
    ranked = [
        Candidate(Item(f"{title} {i}", HEBREW), 1.0 - i / 100, i == clicked, str(i + 1)) for i in range(candidates)
    ]
    seen = tuple((Item(f"{title} h{i}", "<b>"), i == 0) for i in range(history))
    metrics = {"auc": 0.0, "mrr": 0.25, "ndcg@5": 0.5, "ndcg@10": float("nan")}
    return Failure(
        7, datetime(2020, 1, 2, 3, 4), metrics, seen, 3, tuple(ranked), {"community": HOSTILE, "items": "cold"}
    )


class Reader(HTMLParser):
    """Collects tags, texts and addresses of a page, and checks that every element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "line"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def page_of(*worst_ones: Failure) -> str:
    values = np.array([0.0, 0.5, 1.0])
    return render(Failures(HOSTILE, HOSTILE, "abc", "dev", ("title",), HOSTILE, "auc", values, worst_ones))


def test_no_text_of_the_data_becomes_markup() -> None:
    reader = read(page_of(failure()))
    assert [tag for tag, _ in reader.tags].count("script") == 1, "the page's own"
    assert [tag for tag, _ in reader.tags].count("article") == 1
    assert "b" not in [tag for tag, _ in reader.tags]
    assert f"{HOSTILE} 2" in reader.texts
    assert f"{HOSTILE} h0" in reader.texts
    assert HEBREW in reader.texts
    titles = [attributes for _, attributes in reader.tags if attributes.get("class") == "title"]
    assert len(titles) == 5
    assert all(attributes["dir"] == "auto" for attributes in titles)


def test_the_page_needs_nothing_from_outside_and_says_what_it_is() -> None:
    page = page_of(failure())
    reader = read(page)
    addresses = [value for _, a in reader.tags for key, value in a.items() if key in ("src", "href", "action")]
    assert set(addresses) == {"data:,", "#page", "#row-7"}
    assert "url(" not in page
    assert "@import" not in page
    assert "Do not publish" in page
    assert "prefers-color-scheme: dark" in page
    assert "click at 3 of 3 · MRR 0.250 · nDCG@5 0.500 · row 7 · 2020-01-02 03:04" in reader.texts
    assert "disliked" in reader.texts
    assert "The model did not see 3 older ones." in reader.texts


def test_what_is_long_is_folded_and_the_click_is_in_sight() -> None:
    clicked = TOP + 20
    shown = article(1, failure(RECENT + 5, TOP + 40, clicked, "T"), "auc")
    outside = shown
    while "<details>" in outside:
        start, stop = outside.index("<details>"), outside.index("</details>")
        outside = outside[:start] + outside[stop + len("</details>") :]
    in_sight = [text for text in read(outside).texts if text.startswith("T ")]
    history, best = [f"T h{i}" for i in range(5, RECENT + 5)], [f"T {i}" for i in range(TOP)]
    assert in_sight == [*history, *best, f"T {clicked}"]
    everything = [text for text in read(shown).texts if text.startswith("T ")]
    assert everything == [*(f"T h{i}" for i in range(RECENT + 5)), *(f"T {i}" for i in range(TOP + 40))]
    assert "20 more" in read(shown).texts


def test_an_empty_history_and_equal_scores_are_shown() -> None:
    flat = replace(failure(history=0), candidates=in_order([Item("a", ""), Item("b", "")], np.zeros(2), [1, 0]))
    shown = read(article(1, flat, "auc"))
    assert any(text.startswith("Empty:") for text in shown.texts)
    assert [a["style"] for _, a in shown.tags if "style" in a] == ["width:0%"] * 2
    assert any(text.startswith("click at 1–2 of 2") for text in shown.texts)


def test_the_command_writes_a_page_that_git_ignores(request_: Request, tmp_path: Path) -> None:
    output = tmp_path / "failures.html"
    words = ["failures", "--data", request_.data, "--encoder", request_.encoder, "--home", request_.home, "--worst", 2]
    result = CliRunner().invoke(main, [*map(str, words), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "2 impressions" in result.output
    assert output.read_text(encoding="utf-8").count("<article") == 2
    ignored = (Path(__file__).parents[3] / ".gitignore").read_text().split()
    assert any(fnmatch(output.name, pattern) for pattern in ignored)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder: make it, or name another place with --output"):
        check_place(tmp_path / "absent" / "page.html")
    with pytest.raises(ValueError, match="is a folder: name a file with --output"):
        check_place(tmp_path)


def test_a_model_has_seen_what_it_was_fitted_to(job: Job, tiny_data: PreparedData) -> None:
    def seen(fingerprint: str, epochs: int) -> list[int]:
        config = replace(job.config, optim=replace(job.config.optim, epochs=epochs))
        trained = SimpleNamespace(about={"data": {"fingerprint": fingerprint}}, config=config)
        ready = Ready(None, tiny_data, None, 5, torch.device("cpu"), None, trained)  # type: ignore[arg-type]
        return ready.seen_rows().tolist()

    fitting = fitting_and_validation(tiny_data, job.config.data)[0].tolist()
    assert seen(tiny_data.fingerprint, 1) == fitting
    assert seen(tiny_data.fingerprint, 0) == seen("another", 1) == []
