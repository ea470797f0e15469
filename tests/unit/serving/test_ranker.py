"""Serving: scores, what feedback costs, inputs, and checkpoints that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import tastelab
from tastelab.config import Architecture
from tastelab.data.tokens import join_features, separate_rows
from tastelab.modeling.items import Items
from tastelab.serving.ranker import Ranked, TasteRanker, load

LIKED = ["cat and dog", "quantum error codes", "beer"]
DISLIKED = ["wine", "a cat"]
CANDIDATES = ["zebra", "beer brewing at home", "surface codes", "dogs and cats"]


@pytest.fixture
def ranker(checkpoint: Path, tiny_bert: Path) -> TasteRanker:
    return load(checkpoint, str(tiny_bert))


@pytest.fixture
def calls(ranker: TasteRanker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of the encoder got."""
    seen: list[int] = []
    represent = ranker.trained.ranker.represent

    def counted(ids_U: Tensor, *rest: Tensor) -> Items:
        seen.append(len(ids_U))
        return represent(ids_U, *rest)

    monkeypatch.setattr(ranker.trained.ranker, "represent", counted)
    return seen


def vector(ranker: TasteRanker, text: str) -> Tensor:
    """Encode one text alone, without the cache."""
    rows = ranker.trained.tokenizer(text, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        found = ranker.trained.ranker.represent(torch.tensor([-1]), rows["input_ids"], rows["attention_mask"].bool())
    return found.vectors_UD[0]


def mean_score(ranker: TasteRanker, history: list[str], candidate: str) -> float:
    mean_D = torch.stack([vector(ranker, text) for text in history]).mean(dim=0)
    return float(torch.cosine_similarity(mean_D, vector(ranker, candidate), dim=0))


def by_text(ranked: list[Ranked]) -> dict[str, float]:
    return {place.text: place.score for place in ranked}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_scores_are_likes_less_weighted_dislikes(ranker: TasteRanker, gamma: float) -> None:
    ranked = ranker.rank(LIKED, CANDIDATES, DISLIKED, gamma)
    expected = {c: mean_score(ranker, LIKED, c) - gamma * mean_score(ranker, DISLIKED, c) for c in CANDIDATES}
    assert by_text(ranked) == pytest.approx(expected, abs=2e-6)
    assert [place.text for place in ranked] == sorted(CANDIDATES, key=lambda c: -expected[c])
    assert [place.position for place in ranked] == [1, 2, 3, 4]
    assert all(CANDIDATES[place.index] == place.text for place in ranked)


def test_without_dislikes_it_is_the_plain_score(ranker: TasteRanker) -> None:
    plain = by_text(ranker.rank(LIKED, CANDIDATES))
    assert plain == pytest.approx({c: mean_score(ranker, LIKED, c) for c in CANDIDATES}, abs=2e-6)
    assert plain == by_text(ranker.rank(LIKED, CANDIDATES, gamma=3.0))


def test_the_public_name_loads_the_same_ranker(checkpoint: Path, tiny_bert: Path, ranker: TasteRanker) -> None:
    assert tastelab.load(checkpoint, encoder=str(tiny_bert)).rank(LIKED, CANDIDATES) == ranker.rank(LIKED, CANDIDATES)


def test_one_more_like_or_dislike_encodes_nothing_again(ranker: TasteRanker, calls: list[int]) -> None:
    first = ranker.rank(["cat and dog"], CANDIDATES)
    assert calls == [5]
    ranker.rank(["cat and dog", CANDIDATES[0]], CANDIDATES)
    ranker.rank(["cat and dog"], CANDIDATES, disliked=[CANDIDATES[1]])
    assert ranker.rank(["cat and dog"], CANDIDATES) == first
    assert calls == [5]
    ranker.rank(["cat and dog", "something new"], CANDIDATES)
    assert calls == [5, 1]


def test_a_text_given_twice_is_encoded_once(ranker: TasteRanker, calls: list[int]) -> None:
    ranker.rank(["beer"], ["beer", "beer", "zebra"])
    assert calls == [2]


def test_the_cache_is_bounded_and_drops_what_was_used_longest_ago(checkpoint: Path, tiny_bert: Path) -> None:
    small = load(checkpoint, str(tiny_bert), cache_mb=8_192 / 2**20)
    assert small.rank(LIKED, CANDIDATES) == load(checkpoint, str(tiny_bert)).rank(LIKED, CANDIDATES)
    assert len(small.items) == 2
    small.items.fetch(["a", "b"], {"a"})
    small.items.fetch(["a"], {"a"})
    small.items.fetch(["c"], set())
    assert [text for text, _ in small.items._items] == ["a", "c"]
    with pytest.raises(ValueError, match="cache_mb is -1: choose the memory for items in MiB, 0 to keep none"):
        load(checkpoint, str(tiny_bert), cache_mb=-1)


def test_only_the_most_recent_likes_count(ranker: TasteRanker) -> None:
    assert ranker.max_history == 3
    assert ranker.rank(["old", "older", *LIKED], CANDIDATES) == ranker.rank(LIKED, CANDIDATES)


def test_without_likes_the_learned_empty_history_scores(ranker: TasteRanker) -> None:
    empty_D = ranker.trained.ranker.get_parameter("pooling.empty_D").detach()
    empty_D = empty_D / max(1.0, float(empty_D.norm()))
    expected = {c: float(empty_D @ vector(ranker, c)) for c in CANDIDATES}
    assert by_text(ranker.rank([], CANDIDATES)) == pytest.approx(expected, abs=2e-6)


def test_ties_keep_the_order_and_no_candidates_are_no_ranking(ranker: TasteRanker) -> None:
    ranker.trained.ranker.get_parameter("pooling.empty_D").data.zero_()
    assert [(place.text, place.score) for place in ranker.rank([], CANDIDATES)] == [(c, 0.0) for c in CANDIDATES]
    assert ranker.rank(LIKED, []) == []


@dataclass
class Page:
    title: str
    abstract: str
    url: str


def test_features_are_joined_as_in_training(ranker: TasteRanker) -> None:
    pages = [Page("beer", "how to brew", "x"), Page("codes", "", "y"), Page("", "on wine", "z")]
    table = pa.table({"title": [p.title for p in pages], "abstract": [p.abstract for p in pages]})
    expected = join_features(table, ("title", "abstract"), " [SEP] ").to_pylist()
    as_mappings = [{"title": p.title, "abstract": p.abstract} for p in pages]
    for items in (pages, as_mappings):
        ranked = ranker.rank(["beer"], items)
        assert sorted(place.text for place in ranked) == sorted(expected)
    assert by_text(ranker.rank(["beer"], pages)) == by_text(ranker.rank(["beer"], expected))


def test_a_missing_feature_is_left_out(ranker: TasteRanker) -> None:
    assert [place.text for place in ranker.rank(["beer"], [{"title": "codes", "abstract": None}])] == ["codes"]


@pytest.mark.parametrize("item", [{"category": "sports"}, 3, object()])
def test_an_item_without_a_feature_is_refused(ranker: TasteRanker, item: object) -> None:
    with pytest.raises(
        ValueError, match=r"candidates has none of the features that the model reads \(title, abstract\)"
    ):
        ranker.rank(LIKED, [item])


def test_a_bare_text_in_place_of_a_list_is_refused(ranker: TasteRanker) -> None:
    with pytest.raises(ValueError, match="liked is one item: pass a list"):
        ranker.rank("beer", CANDIDATES)


def test_a_negative_gamma_is_refused(ranker: TasteRanker) -> None:
    with pytest.raises(ValueError, match="gamma is -1"):
        ranker.rank(LIKED, CANDIDATES, DISLIKED, gamma=-1)


def test_another_encoder_is_refused(checkpoint: Path, tiny_bert: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_bert, tmp_path / "tiny-bert"))
    weights = load_file(other / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="pass the encoder it was trained with"):
        load(checkpoint, str(other))


def test_an_encoder_known_by_name_only_is_asked_for(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="'tiny-bert' is neither a folder"):
        load(checkpoint)


def test_folders_that_are_no_checkpoint_are_refused(checkpoint: Path, tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no checkpoint, it has no config\.json"):
        load(tmp_path)
    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(ValueError, match="is damaged"):
        load(broken, str(tiny_bert))
    (broken / "config.json").write_text(json.dumps({"step": 1}))
    with pytest.raises(ValueError, match="does not describe a run"):
        load(broken, str(tiny_bert))


def test_a_checkpoint_that_retrieves_is_sent_to_the_command_that_does(checkpoint: Path, tmp_path: Path) -> None:
    about = json.loads((checkpoint / "config.json").read_text())
    about["config"]["retrieval"] = {"metric": "hr@50"}
    other = Path(shutil.copytree(checkpoint, tmp_path / "retriever"))
    (other / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="was trained to retrieve, not to rank: use `tastelab retrieve`"):
        load(other)


SHOWN = [
    {"title": "beer", "abstract": "how to brew"},
    {"title": "", "abstract": "on wine"},
    {"title": "codes"},
    {"title": "", "abstract": None},
]


@pytest.fixture(scope="module")
def by_features(save_ranker: Callable[..., Path], tiny_bert: Path) -> TasteRanker:
    """A ranker that reads each feature by itself."""
    architecture = {"model.architecture": Architecture.named("feature_bi_encoder")}
    return load(save_ranker(architecture), str(tiny_bert))


@torch.inference_mode()
def item_vector(ranker: TasteRanker, *features: str) -> Tensor:
    """Represent one item, each feature tokenised by itself, without the cache."""
    tokens_1T = torch.tensor(separate_rows([features], ranker.trained.tokenizer, 16))
    mask_1T = torch.ones_like(tokens_1T, dtype=torch.bool)
    found = ranker.trained.ranker.represent(torch.tensor([-1]), tokens_1T, mask_1T).vectors_UD
    assert found is not None
    return found[0]


def test_each_feature_is_read_by_itself_where_the_model_does(by_features: TasteRanker) -> None:
    ranked = by_features.rank([SHOWN[1], "salt"], SHOWN)
    likes_2D = torch.stack([item_vector(by_features, "", "on wine"), item_vector(by_features, "salt", "")])
    shown_CD = torch.stack(
        [item_vector(by_features, item["title"] or "", item.get("abstract") or "") for item in SHOWN]
    )
    expected_C = torch.nn.functional.normalize(likes_2D.mean(dim=0), dim=0) @ shown_CD.T
    assert {place.index: place.score for place in ranked} == pytest.approx(
        dict(enumerate(expected_C.tolist())), abs=2e-6
    )
    shown = {place.index: place.text for place in ranked}
    assert shown == {0: "beer [SEP] how to brew", 1: "on wine", 2: "codes", 3: ""}


def test_a_text_is_the_first_feature_where_features_are_read_apart(by_features: TasteRanker) -> None:
    as_text, as_item = (
        by_features.rank(["salt"], ["codes"]),
        by_features.rank([{"title": "salt"}], [{"title": "codes"}]),
    )
    assert as_text == as_item
    assert as_text[0].score == pytest.approx(
        float(item_vector(by_features, "salt") @ item_vector(by_features, "codes"))
    )
    other = by_features.rank([{"title": "salt"}], [{"abstract": "codes"}])
    assert other[0].score == pytest.approx(as_text[0].score, abs=1e-6), "one feature is its own vector"
    assert (("", "codes"), True) in by_features.items._items


def test_features_read_apart_are_encoded_once(by_features: TasteRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    by_features.rank(["new"], SHOWN)
    monkeypatch.setattr(by_features.trained.ranker, "represent", None)
    assert len(by_features.rank([SHOWN[0]], ["new", *SHOWN])) == 5


def test_gamma_is_the_trained_one_where_the_data_had_dislikes(
    save_ranker: Callable[..., Path], tiny_bert: Path, ranker: TasteRanker
) -> None:
    trained = load(save_ranker({"model.gamma": 0.7}, has_feedback=True), str(tiny_bert))
    assert trained.gamma == trained.trained.ranker.gamma != 0.7, "it has moved"
    assert trained.rank(LIKED, CANDIDATES, DISLIKED) == trained.rank(LIKED, CANDIDATES, DISLIKED, trained.gamma)
    assert trained.rank(LIKED, CANDIDATES, DISLIKED) != trained.rank(LIKED, CANDIDATES, DISLIKED, 0.7)
    assert load(save_ranker({"model.gamma": 0.7}), str(tiny_bert)).gamma == 0.7
    assert ranker.gamma == 0.5
    assert ranker.rank(LIKED, CANDIDATES, DISLIKED) == ranker.rank(LIKED, CANDIDATES, DISLIKED, 0.5)


def test_what_a_study_took_away_is_not_taken_from_a_feed(
    save_ranker: Callable[..., Path], tiny_bert: Path, ranker: TasteRanker
) -> None:
    studied = load(save_ranker({"data.missing": 1.0, "data.title_words": 1}), str(tiny_bert))
    assert studied.rank(LIKED, CANDIDATES) == ranker.rank(LIKED, CANDIDATES)
