"""`tastelab index` and `tastelab retrieve`: towers over a small catalogue stand for a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tastelab.cli import main
from tastelab.config import (
    DataConfig,
    EncoderConfig,
    ItemTowerConfig,
    ModelConfig,
    RetrievalConfig,
    RunConfig,
    UserTower,
    replace_at,
)
from tastelab.data.tables import PreparedData
from tastelab.modeling.candidates import CandidateModel, CandidateResources, build_candidate_model
from tastelab.retrieval.index import Source
from tastelab.schema import Catalogue
from tastelab.serving.candidates import Candidates, open_candidates
from tastelab.serving.retriever import EMPTY, OUTSIDE, Retriever
from tastelab.serving.show_retrieved import as_lines
from tastelab.training import candidate_checkpoint

CPU = torch.device("cpu")
MULTI = UserTower.named("multi_clrec", num_intents=6)
Make = Callable[..., Candidates]


def towers(config: RunConfig, num_items: int, encoder: str) -> CandidateModel:
    """Build towers over random texts, as no test looks at what the catalogue's texts say."""
    assert config.retrieval is not None
    generator = torch.Generator().manual_seed(0)
    text_NF = torch.nn.functional.normalize(torch.randn((num_items, 32), generator=generator), dim=1)
    catalogue = Catalogue(
        num_items=num_items,
        known_N=torch.ones(num_items, dtype=torch.bool),
        category_N=torch.arange(num_items) % 5,
        num_categories=5,
        source_N=torch.full((num_items,), -1),
        num_sources=0,
        tags_NM=torch.empty((num_items, 0), dtype=torch.int32),
        num_tags=0,
        text_NF=text_NF if config.retrieval.items.text == "frozen" else None,
        tokens_NT=torch.randint(5, 30, (num_items, 6), generator=generator, dtype=torch.int32),
        lengths_N=torch.full((num_items,), 6),
    )
    resources = CandidateResources(catalogue, encoder, max_history=config.data.max_history)
    model = build_candidate_model(config.model, config.retrieval, resources, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def make(tiny_data: PreparedData, tiny_bert: Path) -> Make:
    """Function that gives the candidates of a configuration, changed by dotted paths of `retrieval`."""

    def build(**changes: Any) -> Candidates:
        config = RunConfig(
            data=DataConfig("tiny", max_history=3, max_tokens=16),
            model=ModelConfig(encoder=EncoderConfig(str(tiny_bert))),
            retrieval=RetrievalConfig(items=ItemTowerConfig(width=8), user=UserTower.named("mean"), num_vectors=3),
        )
        config = replace_at(config, {f"retrieval.{name.replace('__', '.')}": value for name, value in changes.items()})
        model = towers(config, tiny_data.num_items, str(tiny_bert))
        return Candidates(model, config, tiny_data, Source("run", "weights", "data"), str(tiny_bert), CPU)

    return build


@pytest.fixture
def titles(tiny_data: PreparedData) -> list[str]:
    return list(tiny_data.items(["title"])["title"].to_pylist())


def expected(candidates: Candidates, rows: list[int]) -> list[int]:
    """Rank all items by the mean of some clicks."""
    vectors = candidates.items.vectors_ED
    return list((vectors @ vectors[rows].mean(dim=0)).argsort(descending=True).tolist())


def test_ids_and_titles_name_the_same_items(make: Make, titles: list[str]) -> None:
    candidates = make()
    retriever = Retriever(candidates)
    unique = next(row for row, title in enumerate(titles) if title and titles.count(title) == 1)
    by_id, by_title = retriever.retrieve(["N3", f"N{unique}"], 10), retriever.retrieve(["N3", titles[unique]], 10)
    assert by_id.items == by_title.items
    assert [item.item_id for item in by_id.items] == [f"N{row}" for row in expected(candidates, [3, unique])[:10]]
    assert [item.position for item in by_id.items] == list(range(1, 11))
    assert by_id.notes == []
    assert [click.title for click in by_id.clicks] == [titles[3], titles[unique]]


def test_the_first_of_items_of_one_title_is_meant(make: Make, titles: list[str]) -> None:
    twice = next(title for title in titles if title and titles.count(title) > 1)
    (click,) = Retriever(make()).read([twice])
    assert click.row == titles.index(twice)


def test_only_the_latest_clicks_count(make: Make) -> None:
    retriever = Retriever(make())
    long, short = retriever.retrieve(["N9", "N1", "N2", "", "N5"], 5), retriever.retrieve(["N1", "N2", "N5"], 5)
    assert long.items == short.items
    assert long.notes == ["The latest 3 of 4 clicks count, as in training."]


def test_what_was_clicked_can_be_left_out(make: Make) -> None:
    candidates = make()
    history = ["N9", "N1", "N2", "N5"]
    found = Retriever(candidates).retrieve(history, 8, exclude_seen=True)
    order = [f"N{row}" for row in expected(candidates, [1, 2, 5]) if f"N{row}" not in history]
    assert [item.item_id for item in found.items] == order[:8]


def test_a_user_without_clicks_gets_a_note_and_items(make: Make) -> None:
    candidates = make()
    answer = Retriever(candidates).retrieve([], 5, per_vector=True)
    assert answer.notes == [EMPTY]
    assert len(answer.items) == 5
    assert answer.clicks == []
    (no_click,) = candidates.model.user_tower.parameters()  # all that a tower of means learns
    order = (candidates.items.vectors_ED @ no_click).argsort(descending=True)[:5].tolist()
    assert [item.item_id for item in answer.items] == [f"N{row}" for row in order]


def test_each_vector_retrieves_and_the_best_score_counts(make: Make) -> None:
    answer = Retriever(make(user=MULTI)).retrieve(["N1", "N7", "N12"], 9, per_vector=True)
    assert len(answer.vectors) == 3
    best: dict[str, float] = {}
    for found in answer.vectors:
        assert len(found) == 9
        for item in found:
            best[item.item_id] = max(best.get(item.item_id, -2.0), item.score)
    merged = sorted(best, key=lambda item: -best[item])[:9]
    assert [item.item_id for item in answer.items] == merged
    assert len({tuple(item.item_id for item in found) for found in answer.vectors}) > 1
    assert Retriever(make(user=MULTI)).retrieve(["N1"], 3).vectors == []


@pytest.mark.parametrize("text", ["frozen", "trained"])
def test_an_item_from_outside_is_known_by_its_text(make: Make, text: str) -> None:
    candidates = make(items__text=text)
    retriever = Retriever(candidates)
    answer = retriever.retrieve(["N1", "a zebra in no table"], 5)
    assert answer.clicks[1].row == OUTSIDE
    assert answer.clicks[1].title == "a zebra in no table"
    assert answer.notes == [
        "'a zebra in no table' is no id and no title of the data: it is taken for the text of an item from outside."
    ]
    assert retriever.retrieve(["a zebra", "N1", "a gnu"], 5).notes == [
        "2 of the clicks are no id and no title of the data, the first is 'a zebra': they are taken for texts of items "
        "from outside."
    ]
    assert answer.items != retriever.retrieve(["N1", "quite another text"], 5).items
    assert answer.items != retriever.retrieve(["N1"], 5).items


def test_without_text_a_line_must_be_an_item(make: Make) -> None:
    with pytest.raises(
        ValueError, match="'no such' is no item id and no title of 'tiny', and the checkpoint's item tower"
    ):
        Retriever(make(items__text="none")).retrieve(["N1", "no such"], 5)


def test_k_larger_than_the_catalogue_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="k is 61 and the catalogue has 60 items"):
        Retriever(make()).retrieve(["N1"], 61)


# The command line.


@pytest.fixture
def checkpoint(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights; what would read them gives towers with intents."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    found = make(user=MULTI, items__text="none")
    about = {"run_id": "run-7", "encoder": {"name": found.encoder}}

    def stand_in(*_: Any) -> tuple[CandidateModel, RunConfig, dict[str, Any]]:
        return found.model, found.config, about

    monkeypatch.setattr(candidate_checkpoint, "load_candidates", stand_in)
    return tmp_path / "checkpoint"


@pytest.fixture
def call(checkpoint: Path, tiny_data: PreparedData) -> Callable[..., Result]:
    def run(command: str, *options: str, text: str | bytes | None = None) -> Result:
        words = [command, "--checkpoint", str(checkpoint), "--data", str(tiny_data.path), *options]
        return CliRunner().invoke(main, words, input=text)

    return run


@pytest.mark.parametrize("kind", ["auto", "ivf", "hnsw"])
def test_an_index_retrieves_what_comparing_all_does(call: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    built = call("index", "--out", str(tmp_path / "index"), "--kind", kind)
    assert built.exit_code == 0, built.output
    assert f"60 items of width 8, {kind.replace('auto', 'exact')}" in built.stdout
    history, options = "N1\nN7\nN12\n", ["--user-history", "-", "-k", "6", "--per-vector", "--json"]
    answers = [
        json.loads(call("retrieve", *options, *more, text=history).stdout)
        for more in ([], ["--index", str(tmp_path / "index")])
    ]
    for name in ("clicks", "notes"):
        assert answers[0][name] == answers[1][name]
    for exact, indexed in zip(
        [answers[0]["items"], *answers[0]["vectors"]], [answers[1]["items"], *answers[1]["vectors"]], strict=True
    ):
        assert [item["item_id"] for item in exact] == [item["item_id"] for item in indexed]
        assert np.allclose([item["score"] for item in exact], [item["score"] for item in indexed], atol=1e-5)


def test_an_index_of_another_checkpoint_is_refused(
    call: Callable[..., Result], checkpoint: Path, tmp_path: Path
) -> None:
    assert call("index", "--out", str(tmp_path / "index")).exit_code == 0
    (checkpoint / "model.safetensors").write_bytes(b"trained again")
    result = call("retrieve", "--user-history", "-", "--index", str(tmp_path / "index"), text="N1")
    assert result.exit_code == 2
    assert "build it again with `tastelab index`" in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_a_table_shows_the_latest_clicks_then_the_items(
    call: Callable[..., Result], tmp_path: Path, titles: list[str]
) -> None:
    (tmp_path / "history.txt").write_text("N1\n\nN2\n")
    lines = call(
        "retrieve", "--user-history", str(tmp_path / "history.txt"), "-k", "4", "--per-vector"
    ).stdout.splitlines()
    assert lines[:3] == ["The user's latest 2 clicks", f"      {titles[1]}", f"      {titles[2]}"]
    headings = [line for line in lines if line.startswith("Top items")]
    assert headings == ["Top items", *(f"Top items retrieved by vector {v}" for v in (1, 2, 3))]
    first = lines.index("Top items")
    assert lines[first + 1].split() == ["rank", "score", "item"]
    assert [line.split()[0] for line in lines[first + 2 : first + 6]] == ["1", "2", "3", "4"]
    assert lines[first + 6] == ""


def test_the_newest_eight_clicks_are_shown(make: Make) -> None:
    candidates = make()
    config = replace_at(candidates.config, {"data.max_history": 20})
    retriever = Retriever(Candidates(**{**vars(candidates), "config": config}))
    shown = as_lines(retriever.retrieve([f"N{row}" for row in range(11)], 2)).splitlines()
    assert shown[0] == "The user's latest 8 clicks"
    assert shown[1:9] == [f"      {retriever.titles[row] or retriever.ids[row]}" for row in range(3, 11)]


@pytest.mark.parametrize(
    ("text", "extra", "sentence"),
    [
        ("no such item", [], "is no item id and no title of 'tiny'"),
        (b"\xff\xfe\xfa", [], "The history is not UTF-8 text"),
        ("N1", ["-k", "61"], "k is 61 and the catalogue has 60 items"),
        ("N1", ["-k", "0"], "k is 0 and the catalogue has 60 items"),
        ("N1", ["--index", "nowhere"], "nowhere is no index"),
    ],
)
def test_mistakes_are_one_sentence(
    call: Callable[..., Result], text: str | bytes, extra: list[str], sentence: str
) -> None:
    result = call("retrieve", "--user-history", "-", *extra, text=text)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_an_empty_history_is_no_mistake(call: Callable[..., Result]) -> None:
    result = call("retrieve", "--user-history", "-", text="")
    assert result.exit_code == 0
    assert EMPTY in result.stdout


def test_a_folder_of_something_else_is_not_overwritten(call: Callable[..., Result], tmp_path: Path) -> None:
    result = call("index", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "is no index: choose another folder" in " ".join(result.stderr.split())


@pytest.mark.parametrize("said", ["{not json", "[]", '{"step": 1}', '{"config": {"retrieval": {"metric": "kl"}}}'])
def test_a_checkpoint_that_describes_no_run_is_refused(tmp_path: Path, tiny_data: PreparedData, said: str) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(said)
    with pytest.raises(
        ValueError, match=r"config\.json does not describe a run: pass a checkpoint that tastelab wrote"
    ):
        open_candidates(tmp_path, str(tiny_data.path), tmp_path)


def test_a_folder_without_weights_is_no_checkpoint(tmp_path: Path, tiny_data: PreparedData) -> None:
    with pytest.raises(ValueError, match=r"is no checkpoint, it has no model\.safetensors"):
        open_candidates(tmp_path, str(tiny_data.path), tmp_path)
