from __future__ import annotations

import numpy as np
import torch

from tastelab.data.order import Share
from tastelab.data.population import Response
from tastelab.data.population_log import (
    Clicks,
    PopulationLog,
    examples,
    histories,
    serving_batch,
    steps,
    training_batch,
)
from tastelab.schema import UNKNOWN_TIME


def response(clicks: list[list[int]], day: int) -> Response:
    clicks_PS = np.array(clicks, bool)
    times_PS = 1_000 * day + np.arange(clicks_PS.size).reshape(clicks_PS.shape)
    dwell_PS = np.where(clicks_PS, times_PS / 10, np.nan).astype(np.float32)
    return Response(clicks_PS, dwell_PS, times_PS, clicks_PS * 0.5)


def log() -> PopulationLog:
    """User 0 clicks 4, 1, 4; user 1 nothing; user 2 clicks 3."""
    found = PopulationLog(num_users=3, num_items=6)
    found.add(np.array([2, 0]), np.array([[3, 5], [4, 1]]), response([[1, 0], [1, 1]], day=1))
    found.add(np.array([0, 1]), np.array([[5, 4], [0, 1]]), response([[0, 1], [0, 0]], day=2))
    return found


def test_clicks_lie_user_after_user_in_the_order_of_time() -> None:
    clicks = log().clicks()
    assert clicks.users_C.tolist() == [0, 0, 0, 2]
    assert clicks.items_C.tolist() == [4, 1, 4, 3]
    assert clicks.times_C.tolist() == [1_002, 1_003, 2_001, 1_000]
    np.testing.assert_allclose(clicks.dwell_C, clicks.times_C / 10, rtol=1e-6)
    assert clicks.offsets_V.tolist() == [0, 3, 3, 4]
    assert clicks.rows_with_history().tolist() == [1, 2]


def test_what_was_shown_and_clicked_is_counted() -> None:
    found = log()
    assert found.shown_N.tolist() == [1, 2, 0, 1, 2, 2]
    assert found.clicked_N.tolist() == [0, 1, 0, 1, 2, 0]
    np.testing.assert_allclose(found.click_shares(), [0, 0.25, 0, 0.25, 0.5, 0])
    assert found.clicked_pairs(np.array([0, 1])).nonzero()[1].tolist() == [1, 4]


def test_an_empty_log_has_no_click_and_gives_empty_histories() -> None:
    empty = PopulationLog(2, 6)
    assert not len(empty.clicks().rows_with_history())
    assert empty.click_shares().sum() == 0
    batch = serving_batch(empty.clicks(), np.array([0, 1]), max_history=4)
    assert not batch.click_mask_BS.any()
    assert batch.item_ids_U.tolist() == [0]


def test_windows_end_where_they_are_asked_to() -> None:
    clicks = log().clicks()
    now = histories(clicks, np.array([0, 1, 2]), max_history=2)
    assert now.items_BH.tolist() == [[1, 4], [0, 0], [3, 0]]
    assert now.mask_BH.tolist() == [[True, True], [False, False], [True, False]]
    assert now.times_BH.tolist() == [[1_003, 2_001], [UNKNOWN_TIME, UNKNOWN_TIME], [1_000, UNKNOWN_TIME]]
    assert np.isnan(now.dwell_BH).tolist() == [[False, False], [True, True], [False, True]]
    before = examples(clicks, np.array([1, 2, -1]), max_history=1)
    assert before.items_BH.tolist() == [[4, 1], [1, 4], [0, 0]]
    assert before.mask_BH.sum(axis=1).tolist() == [2, 2, 0]


def test_a_training_batch_predicts_the_last_click_of_each_window() -> None:
    batch = training_batch(log().clicks(), np.array([2, -1, 1]), max_history=5, epoch=3, step=7)
    assert batch.item_ids_U[batch.clicks_BS][batch.click_mask_BS].tolist() == [4, 1, 4, 4, 1]
    assert batch.target_mask_BS.tolist() == [[False, False, True], [False] * 3, [False, True, False]]
    assert (batch.rows_B.tolist(), batch.users_B.tolist()) == ([2, -1, 1], [0, -1, 0])
    assert (batch.epoch, batch.step) == (3, 7)
    assert batch.dwell_BS is not None
    assert torch.isnan(batch.dwell_BS).tolist() == [[False] * 3, [True] * 3, [False, False, True]]


def many_clicks() -> Clicks:
    users = np.repeat(np.arange(5), [1, 4, 0, 7, 3])
    offsets = np.array([0, 1, 5, 5, 12, 15])
    return Clicks(users, np.arange(15) % 6, np.arange(15), np.ones(15, np.float32), offsets)


def test_every_click_with_a_past_is_trained_once_a_pass() -> None:
    clicks = many_clicks()
    seen = [b.rows_B for micro in steps(clicks, Share(4), max_history=3, seed=1, epoch=0) for b in micro]
    rows = torch.cat(seen).tolist()
    assert sorted(row for row in rows if row >= 0) == clicks.rows_with_history().tolist()
    assert rows.count(-1) == 1  # 11 examples in 3 steps of 4
    other = [b.rows_B for micro in steps(clicks, Share(4), max_history=3, seed=1, epoch=1) for b in micro]
    assert torch.cat(other).tolist() != rows


def test_two_workers_with_micro_steps_see_the_global_batches_of_one() -> None:
    clicks = many_clicks()

    def rows(share: Share) -> list[list[list[int]]]:
        return [[b.rows_B.tolist() for b in micro] for micro in steps(clicks, share, 3, seed=1, epoch=0)]

    whole = [micro[0] for micro in rows(Share(4))]
    first, second = rows(Share(4, 2, 0, 2)), rows(Share(4, 2, 1, 2))
    joined = [
        [row for pair in zip(a, b, strict=True) for part in pair for row in part]
        for a, b in zip(first, second, strict=True)
    ]
    assert joined == whole
