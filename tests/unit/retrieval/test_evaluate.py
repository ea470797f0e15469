"""Towers measured on clicks: against a slow loop, in two parts, with and without what was seen."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from tastelab.config import RunConfig, replace_at
from tastelab.data.clicks import reported_clicks
from tastelab.data.sequences import Sequences
from tastelab.modeling.candidates import CandidateModel
from tastelab.retrieval import evaluate
from tastelab.retrieval.evaluate import all_items, evaluate_retrieval
from tastelab.retrieval.measure import RetrievalEvaluation, last_examples, sampled_users

CPU = torch.device("cpu")
Make = Callable[..., CandidateModel]


@pytest.fixture
def shares(sequences: Sequences) -> np.ndarray:
    counts = np.bincount(sequences.items[sequences.splits == 0], minlength=70)
    return counts / counts.sum()


def examples_of_a_loop(model: CandidateModel, sequences: Sequences, rows: np.ndarray, seen: bool) -> list[Any]:
    """User, target, and the score of every item that may be retrieved: the mean of four clicks against each."""
    vectors = model.eval().items(torch.arange(70)).vectors_ED.detach()
    found = []
    for row in rows.tolist():
        user = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
        history = sequences.items[sequences.offsets[user] : row].tolist()
        scores = (vectors @ normalize(vectors[history[-4:]].mean(dim=0), dim=0)).tolist()
        may = {item: score for item, score in enumerate(scores) if seen or item not in history}
        found.append((user, int(sequences.items[row]), may))
    return found


@pytest.mark.parametrize("exclude", [False, True])
def test_every_metric_is_that_of_a_slow_loop(
    make_towers: Make, sequences: Sequences, config: RunConfig, shares: np.ndarray, exclude: bool
) -> None:
    model, rows = make_towers(), reported_clicks(sequences, "dev")
    config = replace_at(config, {"retrieval.exclude_seen": exclude, "retrieval.diversity_users": 25})
    found = evaluate_retrieval(model, sequences, rows, config, shares, CPU, keep=True)
    examples = examples_of_a_loop(model, sequences, rows, seen=not exclude)
    assert found.retrieved is not None
    lists = found.retrieved.lists_NK.tolist()
    for order, (_, _, scores) in zip(lists, examples, strict=True):  # by score: some differ by a rounding alone
        assert [scores[item] for item in order] == pytest.approx(sorted(scores.values())[:-61:-1], abs=1e-6)
    expected = [(user, target, order) for order, (user, target, _) in zip(lists, examples, strict=True)]
    for k in (3, 10, 60):
        mean = np.mean([target in order[:k] for _, target, order in expected])
        assert found.metrics[f"hr@{k}"]["mean"] == pytest.approx(mean)
        assert np.nanmean(found.values[f"hr@{k}"]) == pytest.approx(mean)
    last = {user: order[:10] for user, _, order in expected}
    assert found.metrics["diversity"]["mean"] == len({item for order in last.values() for item in order})
    assert found.metrics["coverage"]["mean"] == len({item for _, _, order in expected for item in order[:10]}) / 70
    popularity = np.mean([shares[order[:10]].mean() for _, _, order in expected])
    assert found.metrics["popularity"]["mean"] == pytest.approx(popularity)
    assert found.users.tolist() == sorted(last)
    assert found.counts == {
        "n_total": len(rows),
        "n_users": 25,
        "n_cold_targets": sum(shares[target] == 0 for _, target, _ in expected),
        "n_short_lists": 0,
        "n_diversity_users": 25,
    }
    assert "kl" not in found.metrics


def test_days_of_the_week_part_the_examples(
    make_towers: Make, sequences: Sequences, config: RunConfig, shares: np.ndarray
) -> None:
    rows = reported_clicks(sequences, "dev")
    found = evaluate_retrieval(make_towers(), sequences, rows, config, shares, CPU, keep=True)
    assert found.retrieved is not None
    hit = (found.retrieved.lists_NK[:, :10] == found.retrieved.targets_N[:, None]).any(axis=1)
    weekend = (sequences.times[rows] - 1_704_067_200) // 86_400 % 7 >= 5
    assert 0 < weekend.sum() < len(rows)
    assert found.metrics["hr@10_weekend"]["mean"] == pytest.approx(hit[weekend].mean())
    assert found.metrics["hr@10_weekday"]["mean"] == pytest.approx(hit[~weekend].mean())
    undated = dataclasses.replace(sequences, times=np.full_like(sequences.times, -(2**62)))
    found = evaluate_retrieval(make_towers(), undated, rows, config, shares, CPU)
    assert not any("week" in name for name in found.metrics)


def test_blocks_of_examples_change_nothing(
    make_towers: Make,
    sequences: Sequences,
    config: RunConfig,
    shares: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = reported_clicks(sequences, "dev")
    whole = evaluate_retrieval(make_towers(), sequences, rows, config, shares, CPU)
    monkeypatch.setattr(evaluate, "EXAMPLES_PER_CALL", 7)
    monkeypatch.setattr(evaluate, "ITEMS_PER_CALL", 11)
    assert evaluate_retrieval(make_towers(), sequences, rows, config, shares, CPU).as_json() == whole.as_json()


def test_two_ranks_find_what_one_finds(
    make_towers: Make,
    sequences: Sequences,
    config: RunConfig,
    shares: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads stand for ranks: each gathers what both bring."""
    rows = reported_clicks(sequences, "dev")
    alone = evaluate_retrieval(make_towers(), sequences, rows, config, shares, CPU)
    place, barrier = threading.local(), threading.Barrier(2)
    brought: list[Any] = [None, None]

    def gather(value: Any) -> list[Any]:
        barrier.wait(20)
        brought[place.rank] = value
        barrier.wait(20)
        return list(brought)

    for name, stand_in in {"world_size": lambda: 2, "rank": lambda: place.rank, "gather_objects": gather}.items():
        monkeypatch.setattr(evaluate, name, stand_in)
    monkeypatch.setattr(evaluate, "gather_ragged", gather)
    found: dict[int, RetrievalEvaluation] = {}
    models = [make_towers(), make_towers()]

    def on(rank: int) -> None:
        place.rank = rank
        found[rank] = evaluate_retrieval(models[rank], sequences, rows, config, shares, CPU)

    threads = [threading.Thread(target=on, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0].as_json() == found[1].as_json() == alone.as_json()


def test_training_goes_on_as_before(
    make_towers: Make, sequences: Sequences, config: RunConfig, shares: np.ndarray
) -> None:
    for training in (True, False):
        model = make_towers().train(training)
        evaluate_retrieval(model, sequences, reported_clicks(sequences, "dev"), config, shares, CPU)
        assert model.training is training
        assert not any(parameter.grad is not None for parameter in model.parameters())


def test_vectors_of_all_items_come_by_row(make_towers: Make) -> None:
    model = make_towers().eval()
    items = all_items(model, 70, CPU)
    assert torch.allclose(items.vectors_ED[12:13], model.items(torch.tensor([12])).vectors_ED)
    assert not items.vectors_ED.requires_grad


def test_users_for_diversity_are_the_same_for_every_system() -> None:
    users = np.repeat(np.arange(0, 300, 3), 2)
    assert sampled_users(users, 1_000).tolist() == list(range(0, 300, 3))
    drawn = sampled_users(users, 10)
    assert len(set(drawn.tolist())) == 10
    assert drawn.tolist() == sampled_users(users[::-1].copy(), 10).tolist()


def test_the_last_example_of_a_user_counts() -> None:
    assert last_examples(np.array([1, 1, 4, 4, 4, 6]), np.array([1, 4])).tolist() == [1, 4]


def test_bad_input_is_one_sentence(
    make_towers: Make, sequences: Sequences, config: RunConfig, shares: np.ndarray
) -> None:
    rows, model = reported_clicks(sequences, "dev"), make_towers()
    larger = replace_at(config, {"retrieval.ks": (10, 200)})
    with pytest.raises(ValueError, match="k is 200 and the catalogue has 70 items"):
        evaluate_retrieval(model, sequences, rows, larger, shares, CPU)
    with pytest.raises(ValueError, match="There are no clicks to retrieve"):
        evaluate_retrieval(model, sequences, rows[:0], config, shares, CPU)
    with pytest.raises(ValueError, match=r"The cut-offs of HR@k are \(0, 5\)"):
        evaluate_retrieval(model, sequences, rows, replace_at(config, {"retrieval.ks": (0, 5)}), shares, CPU)
    with torch.no_grad():
        next(p for p in model.item_tower.parameters() if p.ndim == 2).fill_(torch.nan)
    with pytest.raises(ValueError, match="item vectors are NaN or infinite"):
        evaluate_retrieval(model, sequences, rows, config, shares, CPU)
