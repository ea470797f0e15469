"""Candidates of a training impression: what is drawn, and that nothing but (seed, epoch, impression) decides it."""

from __future__ import annotations

import numpy as np
import pytest

from tastelab.config import Sampler
from tastelab.data.sampling import Draw, ImpressionSampler, slot_keys

Impressions = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def impressions() -> Impressions:
    """Rows, items, labels and offsets of 50 ragged impressions, some without slots, positives or negatives."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 15, 50)
    labels = rng.random(sizes.sum()) < 0.25
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    labels[offsets[7] : offsets[8]] = True
    return 100 + rng.permutation(50), rng.permutation(sizes.sum()), labels.astype(np.int8), offsets


def slow_draw(sampler: ImpressionSampler, impressions: Impressions, seed: int, epoch: int, most: int) -> Draw:
    """One impression and one slot after the other, from the description: the smallest keys win."""
    rows, items, labels, offsets = impressions
    shape = (len(rows), sampler.num_candidates)
    draw = Draw(np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.bool_))
    for b, row in enumerate(rows):
        slots = range(offsets[b + 1] - offsets[b])
        keys = {slot: int(slot_keys(seed, epoch, np.array([row]), np.array([slot]))[0]) for slot in slots}
        drawn = sorted(slots, key=keys.__getitem__)
        clicked = [slot for slot in drawn if labels[offsets[b] + slot] == 1]
        others = [slot for slot in drawn if labels[offsets[b] + slot] != 1]
        for c, slot in enumerate([*clicked[:most], *others][: sampler.num_candidates]):
            draw.items_BC[b, c] = items[offsets[b] + slot]
            draw.labels_BC[b, c] = labels[offsets[b] + slot]
            draw.mask_BC[b, c] = True
    return draw


@pytest.mark.parametrize(("num_candidates", "most"), [(2, 1), (4, 2), (6, 5), (40, 2)])
def test_a_draw_is_what_a_slow_loop_draws(impressions: Impressions, num_candidates: int, most: int) -> None:
    sampler = ImpressionSampler(num_candidates, most)
    draw = sampler.draw(*impressions, seed=3, epoch=1)
    expected = slow_draw(sampler, impressions, 3, 1, most)
    assert np.array_equal(draw.items_BC, expected.items_BC)
    assert np.array_equal(draw.labels_BC, expected.labels_BC)
    assert np.array_equal(draw.mask_BC, expected.mask_BC)


def test_a_loss_of_one_positive_draws_one(impressions: Impressions) -> None:
    sampler = ImpressionSampler(6, 3)
    draw = sampler.draw(*impressions, seed=0, epoch=0, max_positives=1)
    assert draw.labels_BC.sum(axis=1).max() == 1
    assert np.array_equal(draw.items_BC, slow_draw(sampler, impressions, 0, 0, 1).items_BC)
    assert sampler.draw(*impressions, seed=0, epoch=0).labels_BC.sum(axis=1).max() == 3


def test_a_draw_does_not_depend_on_the_batch(impressions: Impressions) -> None:
    rows, items, labels, offsets = impressions
    whole = ImpressionSampler(5).draw(*impressions, seed=1, epoch=2)
    for chosen in ([4], [49, 0, 4, 31], list(range(49, -1, -1))):
        slots = [np.arange(offsets[b], offsets[b + 1]) for b in chosen]
        flat, sizes = np.concatenate(slots), [len(s) for s in slots]
        part_offsets = np.concatenate([[0], np.cumsum(sizes)])
        part = ImpressionSampler(5).draw(rows[chosen], items[flat], labels[flat], part_offsets, seed=1, epoch=2)
        assert np.array_equal(part.items_BC, whole.items_BC[chosen])
        assert np.array_equal(part.mask_BC, whole.mask_BC[chosen])


@pytest.mark.parametrize("other", [{"seed": 2, "epoch": 0}, {"seed": 1, "epoch": 1}])
def test_seed_and_epoch_change_the_draw(impressions: Impressions, other: dict[str, int]) -> None:
    sampler = ImpressionSampler(4)
    first, again = (sampler.draw(*impressions, seed=1, epoch=0) for _ in range(2))
    assert np.array_equal(first.items_BC, again.items_BC)
    assert (sampler.draw(*impressions, **other).items_BC != first.items_BC).any(axis=1).mean() > 0.3


def test_the_row_changes_the_draw() -> None:
    """One impression under 200 identities: each draws for itself."""
    items, labels = np.tile(np.arange(10), 200), np.tile([1] + [0] * 9, 200)
    offsets = np.arange(0, 2001, 10)
    draw = ImpressionSampler(4).draw(np.arange(200), items, labels, offsets, seed=0, epoch=0)
    assert len({tuple(sorted(negatives)) for negatives in draw.items_BC[:, 1:]}) > 60  # of 84 possible


def test_positives_and_negatives_are_drawn_uniformly_and_once() -> None:
    """4 of 12 negatives, 1 of 3 positives, 20,000 times: five standard deviations of a binomial bound the counts."""
    num = 20_000
    items, labels = np.tile(np.arange(15), num), np.tile([1, 0, 0, 0, 0] * 3, num)
    draw = ImpressionSampler(5, 1).draw(np.arange(num), items, labels, np.arange(0, 15 * num + 1, 15), 7, 0)
    assert draw.mask_BC.all()
    ordered = np.sort(draw.items_BC, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all(), "a slot was drawn twice"
    counts = np.bincount(draw.items_BC.ravel(), minlength=15)
    for share, chosen in ((1 / 3, np.arange(15) % 5 == 0), (4 / 12, np.arange(15) % 5 != 0)):
        deviation = np.sqrt(num * share * (1 - share))
        assert np.abs(counts[chosen] - num * share).max() < 5 * deviation
    together = np.mean((draw.items_BC == 1).any(axis=1) & (draw.items_BC == 2).any(axis=1))
    assert together == pytest.approx(4 / 12 * 3 / 11, abs=0.01), "pairs of negatives are not independent of order"


def test_fewer_slots_than_candidates_are_padded_and_masked() -> None:
    draw = ImpressionSampler(4, 2).draw(
        np.array([0, 1, 2]), np.array([5, 6, 7, 8]), np.array([0, 1, 1, 1]), np.array([0, 2, 2, 4]), 0, 0
    )
    assert draw.mask_BC.tolist() == [[True, True, False, False], [False] * 4, [True, True, False, False]]
    assert draw.items_BC[0].tolist() == [6, 5, 0, 0]
    assert draw.labels_BC.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert sorted(draw.items_BC[2]) == [0, 0, 7, 8]


def test_an_impression_without_a_click_keeps_its_negatives() -> None:
    draw = ImpressionSampler(3, 1).draw(np.array([9]), np.arange(8), np.zeros(8, int), np.array([0, 8]), 0, 0)
    assert draw.mask_BC.all()
    assert not draw.labels_BC.any()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"num_candidates": 1}, "num_candidates is 1: use at least 2"),
        ({"max_positives": 0}, "max_positives is 0: use 1 to 31"),
        ({"num_candidates": 4, "max_positives": 4}, "max_positives is 4: use 1 to 3"),
    ],
)
def test_sizes_without_room_are_refused(parameters: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Sampler.named("impression", **parameters)
