"""The SASRec tower: prefixes of one pass against passes of their own, order, positions, refusals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import normalize

from tastelab.modeling.histories import Histories
from tastelab.modeling.sasrec import visible_slots
from tastelab.modeling.user_sasrec import SASRecTower, SASRecUsers

HistoriesOf = Callable[..., Histories]
D = 6


def tower_of(max_history: int = 6, num_layers: int = 2) -> SASRecTower:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tower = SASRecUsers(num_layers, 2).build(D, 0, False, False, max_history)
        for parameter in tower.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
    assert isinstance(tower, SASRecTower)
    return tower


@pytest.mark.parametrize("num_layers", [1, 3])
def test_states_are_those_of_layers_applied_to_the_prefix_alone(num_layers: int, histories_of: HistoriesOf) -> None:
    tower, queries = tower_of(num_layers=num_layers), [(0, 1), (0, 2), (1, 5), (1, 3), (1, 1)]
    histories = histories_of([2, 5], queries)
    found = tower(histories).vectors_NKD[:, 0]
    for place, (row, end) in enumerate(queries):
        states = math.sqrt(D) * histories.vectors_BSD[row : row + 1, :end] + tower.positions_PD[:end]
        for layer in tower.layers:
            states = layer(states, states, visible_slots(torch.ones(1, end, dtype=torch.bool)))
        torch.testing.assert_close(found[place], normalize(states[0, -1], dim=-1))


def test_it_starts_as_the_newest_click(histories_of: HistoriesOf) -> None:
    histories = histories_of([2, 5], [(0, 2), (1, 3)])
    users = SASRecUsers(num_heads=2).build(D, 0, False, False, 5)(histories).vectors_NKD[:, 0]
    torch.testing.assert_close(users, torch.stack([histories.vectors_BSD[0, 1], histories.vectors_BSD[1, 2]]))


def test_order_matters_and_what_comes_after_does_not(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([5], [(0, 3)])
    swapped, later = histories.vectors_BSD.clone(), histories.vectors_BSD.clone()
    swapped[0, :2] = swapped[0, :2].flip(0)
    later[0, 3:] = -later[0, 3:]
    users = tower(histories).vectors_NKD
    assert not torch.allclose(tower(dataclasses.replace(histories, vectors_BSD=swapped)).vectors_NKD, users, atol=1e-3)
    torch.testing.assert_close(tower(dataclasses.replace(histories, vectors_BSD=later)).vectors_NKD, users)


def test_a_window_may_hold_its_last_target_beyond_the_positions(histories_of: HistoriesOf) -> None:
    histories = histories_of([5, 3], [(0, 4), (1, 2)])
    found = tower_of(max_history=4)(histories).vectors_NKD
    cut = Histories(histories.vectors_BSD[:, :4], histories.mask_BS[:, :4], histories.row_N, histories.end_N)
    torch.testing.assert_close(found, tower_of(max_history=4)(cut).vectors_NKD)


def test_a_query_of_more_clicks_than_positions_is_refused(histories_of: HistoriesOf) -> None:
    with pytest.raises(ValueError, match="A query sees 5 clicks, and the sasrec tower was built for 4: cut histories"):
        tower_of(max_history=4)(histories_of([5, 3]))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_layers": 0}, "num_layers is 0: choose 1 or more"),
        ({"num_heads": 0}, "num_heads is 0: choose 1 or more"),
        ({"dropout": 1.0}, "dropout is 1.0: choose a number from 0 to below 1"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SASRecUsers(**values)  # type: ignore[arg-type]


def test_heads_must_divide_the_width() -> None:
    config = SASRecUsers(num_heads=4)
    config.check(64, 50)
    with pytest.raises(ValueError, match="4 heads do not divide the width 6"):
        config.check(6, 50)


def test_dropout_is_of_training_alone(histories_of: HistoriesOf) -> None:
    tower, histories = SASRecUsers(num_heads=2, dropout=0.5).build(D, 0, False, False, 5), histories_of([3, 5])
    assert not torch.equal(tower(histories).vectors_NKD, tower(histories).vectors_NKD)
    tower.eval()
    assert torch.equal(tower(histories).vectors_NKD, tower(histories).vectors_NKD)
