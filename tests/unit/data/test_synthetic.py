from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from tastelab.data import synthetic, synthetic_text
from tastelab.data.synthetic import SIZES, named_spec, prepare
from tastelab.data.synthetic_world import World, WorldSize, WorldSpec
from tastelab.data.tables import PreparedData

TINY = WorldSize(num_items=300, num_users=100, num_train=120, num_dev=40)
SCORED = ["history", "candidates", "labels"]
Score = Callable[[list[int], list[int]], np.ndarray]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(tmp_path_factory.mktemp("synthetic") / "default", "default")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(tmp_path_factory.mktemp("synthetic") / "smoke", "smoke")


def rows(data: PreparedData, split: str) -> list[tuple[list[int], list[int], list[int]]]:
    table = data.impressions(split, SCORED)
    return list(zip(*(table[name].to_pylist() for name in SCORED), strict=True))


def mean_auc(data: PreparedData, splits: tuple[str, ...], score: Score) -> float:
    """Average the AUC (pairs won, ties ½) over the impressions with both classes."""
    values = []
    for history, candidates, labels in (row for split in splits for row in rows(data, split)):
        scores, clicked = score(history, candidates), np.array(labels) == 1
        if 0 < clicked.sum() < len(clicked):
            values.append(np.sign(scores[clicked][:, None] - scores[~clicked]).mean() / 2 + 0.5)
    return float(np.mean(values))


def trivial_aucs(data: PreparedData) -> dict[str, float]:
    clicks = np.zeros(data.num_items)
    for _, candidates, labels in rows(data, "train"):
        clicks[np.array(candidates)[np.array(labels) == 1]] += 1
    created = data.items(["created"])["created"].to_numpy().astype(np.int64)
    rankers: dict[str, Score] = {
        "popularity": lambda _, candidates: clicks[candidates],
        "newest": lambda _, candidates: created[candidates],
        "slot": lambda _, candidates: -np.arange(len(candidates)),
    }
    return {name: mean_auc(data, ("dev",), score) for name, score in rankers.items()}


def profile_score(vectors: np.ndarray) -> Score:
    """Score candidates by their cosine with the mean of the last 50 clicks; ties where there are none."""
    return lambda history, candidates: vectors[candidates] @ vectors[history[-50:]].sum(axis=0)


def test_the_seed_alone_decides_the_tables(tmp_path: Path) -> None:
    first, again = (prepare(tmp_path / name, WorldSpec(TINY), seed=3) for name in ("first", "again"))
    other = prepare(tmp_path / "other", WorldSpec(TINY), seed=4)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.impressions("train").equals(again.impressions("train"))


def test_the_chunk_size_does_not_change_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepare(tmp_path / "whole", WorldSpec(TINY))
    monkeypatch.setattr(synthetic, "CHUNK", 7)
    assert prepare(tmp_path / "pieces", WorldSpec(TINY)).fingerprint == whole.fingerprint


def test_sizes_are_exact_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    data = prepare(tmp_path / "world", WorldSpec(TINY), progress=lambda done, total: told.append((done, total)))
    assert (data.num_items, data.num_impressions("train"), data.num_impressions("dev")) == (300, 120, 40)
    assert told[-1] == (160, 160) and told == sorted(told)
    assert data.name == "synthetic-custom"


def test_the_largest_size_is_that_of_mind_large() -> None:
    assert SIZES["large"].num_items == 161_000
    assert SIZES["large"].num_train == 2_200_000


@pytest.mark.parametrize(("size", "name"), [("smoke", "synthetic-smoke"), ("default", "synthetic")])
def test_a_named_size_names_its_data(size: str, name: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(size).name == name


def test_texts_hold_many_word_types_and_few_equal_titles(default: PreparedData) -> None:
    items = default.items(["title", "abstract"])
    titles, abstracts = items["title"].to_pylist(), items["abstract"].to_pylist()
    types = {word for text in (*titles, *abstracts) for word in re.findall(r"[a-z']+", text.lower())}
    assert len(types) >= 5_000
    assert len(set(titles)) > 0.99 * len(titles)
    lengths = [len(title.split()) for title in titles]
    assert min(lengths) >= 6 and max(lengths) <= 10


def test_there_are_enough_topics_and_communities(default: PreparedData) -> None:
    items = default.items(["category", "subcategory"])
    assert len(set(items["category"].to_pylist())) >= 4
    assert len(set(items["subcategory"].to_pylist())) >= 20


def test_best_auc_is_that_of_the_true_click_probabilities(default: PreparedData) -> None:
    world = World(named_spec("default"), seed=0)
    table = default.impressions("dev")
    users = np.array([int(user[1:]) for user in table["user_id"].to_pylist()])
    times = table["time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    oracle = []
    for user, time, candidates, labels in zip(
        users, times, table["candidates"].to_pylist(), table["labels"].to_pylist(), strict=True
    ):
        if sum(labels) < len(labels):
            logits = world.latent_NR[candidates] @ world.taste(np.array([user]), np.array([time]))[0]
            oracle.append(roc_auc_score(labels, logits))
    assert default.meta["known"]["best_auc"]["dev"] == pytest.approx(np.mean(oracle), abs=1e-9)
    assert min(default.meta["known"]["best_auc"].values()) >= 0.80


def test_clicks_have_the_probabilities_that_the_world_states() -> None:
    world = World(WorldSpec(TINY), seed=1)
    users, rounds = (part.ravel() for part in np.meshgrid(np.arange(100), np.arange(200)))
    shown = world.sessions(users, rounds)
    any_click = 1 - np.prod(1 - shown.probabilities_PC, axis=1, keepdims=True)
    expected = shown.probabilities_PC / any_click  # given that the session has a click
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)):
        chosen = (expected > low) & (expected <= high)
        error = np.sqrt(np.sum(expected[chosen] * (1 - expected[chosen]))) / chosen.sum()
        assert shown.clicks_PC[chosen].mean() == pytest.approx(expected[chosen].mean(), abs=4 * error)
    assert shown.clicks_PC.any(axis=1).all()


def test_exposure_is_even_over_the_items_that_exist_and_never_repeats() -> None:
    world = World(WorldSpec(TINY), seed=1)
    users, rounds = (part.ravel() for part in np.meshgrid(np.arange(100), np.arange(200)))
    shown = world.sessions(users, rounds)
    late = shown.times_P >= world.created_N[-1]
    counts = np.bincount(shown.candidates_PC[late][shown.candidates_PC[late] >= 0], minlength=300)
    assert counts.min() > 0.75 * counts.mean() and counts.max() < 1.25 * counts.mean()
    ordered = np.sort(shown.candidates_PC, axis=1)
    assert not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()
    assert (world.created_N[shown.candidates_PC] <= shown.times_P[:, None])[shown.candidates_PC >= 0].all()


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_the_matrix_of_affinities_has_the_known_rank(axes: int) -> None:
    world = World(WorldSpec(TINY, axes=axes), seed=0)
    users = np.arange(100)
    affinities = world.taste(users, world.times(users, np.full(100, 17))) @ world.latent_NR.T
    assert np.linalg.matrix_rank(affinities) == world.spec.rank == axes + 2


def test_tastes_drift_with_time() -> None:
    world = World(WorldSpec(TINY, drift=0.1), seed=0)
    users = np.arange(100)
    early, soon, late = (world.taste(users, np.full(100, world.created_N[-1] + days * 86_400)) for days in (0, 1, 8))
    cosines = [(early * other).sum(axis=1).mean() / world.spec.taste_scale**2 for other in (soon, late)]
    assert 1 > cosines[0] > 0.98 > 0.85 > cosines[1]


def test_a_history_holds_the_clicks_of_earlier_impressions(default: PreparedData) -> None:
    seen: dict[str, tuple[list[int], list[int]]] = {}
    continued = 0
    for split in ("train", "dev"):
        users = default.impressions(split, ["user_id"])["user_id"].to_pylist()
        for user, (history, candidates, labels) in zip(users, rows(default, split), strict=True):
            if user in seen:
                before, clicked = seen[user]
                assert history == before + clicked  # nothing else, oldest first: this impression's clicks are not in it
                continued += 1
            seen[user] = history, [item for item, label in zip(candidates, labels, strict=True) if label]
    assert continued > 1_000


def test_histories_hold_only_items_older_than_the_impression(default: PreparedData) -> None:
    created = default.items(["created"])["created"].to_numpy()
    table = default.impressions("dev")
    for time, history in zip(table["time"].to_numpy(), table["history"].to_pylist(), strict=True):
        assert (created[history] < time).all()


def test_impressions_look_like_a_log(default: PreparedData) -> None:
    train, dev = default.impressions("train"), default.impressions("dev")
    times = np.concatenate([train["time"].to_numpy(), dev["time"].to_numpy()])
    assert (np.diff(times.astype(np.int64)) >= 0).all()
    lengths = [len(history) for history in train["history"].to_pylist()]
    assert 11 <= np.mean(lengths) <= 16 and 0 < np.mean(np.array(lengths) == 0) < 0.1
    positives = np.array([sum(labels) for labels in train["labels"].to_pylist()])
    assert positives.min() >= 1 and np.mean(positives <= 2) > 0.9


def test_trivial_rankers_know_nothing(default: PreparedData) -> None:
    for name, auc in trivial_aucs(default).items():
        assert auc == pytest.approx(0.5, abs=0.05), name


@pytest.mark.parametrize(
    ("ranker", "option"), [("popularity", "popularity_bias"), ("newest", "recency_bias"), ("slot", "position_bias")]
)
def test_a_bias_moves_its_trivial_ranker(ranker: str, option: str, tmp_path: Path) -> None:
    biased, plain = (
        trivial_aucs(prepare(tmp_path / str(bias), named_spec("smoke", **{option: bias}), seed=1))[ranker]
        for bias in (2.0, 0.0)
    )
    assert biased > max(0.6, plain + 0.1)


def test_a_frozen_encoder_reads_some_taste_and_word_counts_less(smoke: PreparedData, minilm: Path) -> None:
    titles = smoke.items(["title"])["title"].to_pylist()
    frozen = mean_auc(smoke, smoke.splits, profile_score(encode(minilm, titles)))
    tfidf = mean_auc(smoke, smoke.splits, profile_score(TfidfVectorizer().fit_transform(titles).toarray()))
    assert 0.58 <= frozen <= 0.70
    assert tfidf <= frozen - 0.03


def encode(folder: Path, titles: list[str]) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    batch = AutoTokenizer.from_pretrained(folder)(titles, padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens_UTD = AutoModel.from_pretrained(folder)(**batch).last_hidden_state
    mask_UT1 = batch["attention_mask"][:, :, None]
    return torch.nn.functional.normalize((tokens_UTD * mask_UT1).sum(1) / mask_UT1.sum(1), dim=1).numpy()


def test_articles_and_plurals_are_right() -> None:
    assert doctest.testmod(synthetic_text).failed == 0
    assert synthetic_text.with_articles("a easy step and a one-click heirloom: A unusual hour") == (
        "an easy step and a one-click heirloom: An unusual hour"
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: named_spec("huge"), "no synthetic world of size 'huge': choose one of smoke, default, small, large"),
        (lambda: named_spec("smoke", axes=5), "2 to 4 style axes, not 5"),
        (lambda: WorldSpec(WorldSize(50, 10, 10, 10)), "at least 200 items, not 50"),
        (lambda: WorldSpec(WorldSize(500, 0, 10, 10)), "at least one user and one impression"),
    ],
)
def test_impossible_worlds_are_refused(make: Callable[[], WorldSpec], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
