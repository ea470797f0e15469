"""Random and popular items as retrieval systems."""

from __future__ import annotations

import numpy as np
import pytest

from tastelab.config import RunConfig, replace_at
from tastelab.data.clicks import reported_clicks
from tastelab.data.sequences import Sequences
from tastelab.retrieval.baselines import popular_lists, random_lists, score_plain
from tastelab.retrieval.merge import Excluded


@pytest.mark.parametrize("num_items", [50, 5_000])
def test_random_lists_hold_distinct_items_drawn_evenly(num_items: int) -> None:
    lists = random_lists(2_000, num_items, 20, (0, 0))
    assert all(len(set(row)) == 20 for row in lists.tolist())
    counts = np.bincount(lists.ravel(), minlength=num_items)
    expected = lists.size / num_items
    assert abs((counts - expected) ** 2 / expected - 1).mean() < 2
    assert ((counts - expected) ** 2 / expected).mean() == pytest.approx(1 - 20 / num_items, rel=0.4)
    assert lists.tolist() == random_lists(2_000, num_items, 20, (0, 0)).tolist()
    assert lists.tolist() != random_lists(2_000, num_items, 20, (1, 0)).tolist()


@pytest.mark.parametrize("num_items", [50, 5_000])
def test_random_lists_leave_out_what_is_excluded(num_items: int) -> None:
    gone = np.arange(10)
    lists = random_lists(300, num_items, 20, (0,), Excluded(np.tile(gone, 300), np.arange(0, 3_001, 10)))
    assert lists.min() >= 10
    assert all(len(set(row)) == 20 for row in lists.tolist())


def test_the_most_clicked_come_first_and_ties_by_row() -> None:
    shares = np.array([0.1, 0.3, 0.0, 0.3, 0.2, 0.1])
    assert popular_lists(2, shares, 4).tolist() == [[1, 3, 4, 0]] * 2
    assert popular_lists(2, shares, 3, Excluded([3, 4], [0, 2, 2])).tolist() == [[1, 0, 5], [1, 3, 4]]
    assert popular_lists(1, shares, 5, Excluded([3, 4], [0, 2])).tolist() == [[1, 0, 5, 2, -1]]


@pytest.mark.parametrize("exclude", [False, True])
def test_popularity_hits_what_is_popular(sequences: Sequences, config: RunConfig, exclude: bool) -> None:
    rows = reported_clicks(sequences, "dev")
    shares = np.random.default_rng(0).dirichlet(np.ones(70))
    config = replace_at(config, {"retrieval.exclude_seen": exclude})
    found = score_plain("popularity", sequences, rows, config, shares, keep=True)
    expected = []
    for row in rows.tolist():
        user = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
        seen = sequences.items[sequences.offsets[user] : row].tolist() if exclude else []
        expected.append([item for item in np.argsort(-shares).tolist() if item not in seen][:60])
    assert found.retrieved is not None
    assert found.retrieved.lists_NK.tolist() == expected
    hits = [sequences.items[row] in order[:10] for row, order in zip(rows, expected, strict=True)]
    assert found.metrics["hr@10"]["mean"] == pytest.approx(np.mean(hits))
    assert exclude or found.metrics["coverage"]["mean"] == pytest.approx(10 / 70)


def test_random_hits_as_often_as_chance(sequences: Sequences, config: RunConfig) -> None:
    rows, shares = reported_clicks(sequences, "dev"), np.full(70, 1 / 70)
    means = [
        score_plain("random", sequences, rows, config, shares, seed).metrics["hr@10"]["mean"] for seed in range(30)
    ]
    assert np.mean(means) == pytest.approx(10 / 70, abs=0.03)
    assert len(set(means)) > 1


def test_bad_input_is_one_sentence(sequences: Sequences, config: RunConfig) -> None:
    rows = reported_clicks(sequences, "dev")
    with pytest.raises(ValueError, match="Unknown baseline 'newest': choose one of random, popularity"):
        score_plain("newest", sequences, rows, config, np.full(70, 1 / 70))
    with pytest.raises(ValueError, match="k is 60 and the catalogue has 20 items"):
        score_plain("random", sequences, rows, config, np.full(20, 1 / 20))
