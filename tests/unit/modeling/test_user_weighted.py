"""The weighted tower against a loop over clicks, and what it reads.

Shape letters: S slots, N queries, D width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, normalize

from tastelab.modeling.histories import Histories
from tastelab.modeling.user_mean import MeanTower
from tastelab.modeling.user_parts import ClickWeights
from tastelab.modeling.user_weighted import WeightedTower, WeightedUsers
from tastelab.schema import UNKNOWN_TIME

HistoriesOf = Callable[..., Histories]
D, E = 6, 4
QUERIES = [(0, 3), (1, 5), (1, 2)]


def tower_of(category_width: int = E, has_times: bool = True, has_dwell: bool = True) -> WeightedTower:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        tower = WeightedUsers(5).build(D, category_width, has_times, has_dwell, 5)
        for parameter in tower.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
    assert isinstance(tower, WeightedTower)
    return tower


def slow_weights(weights: ClickWeights, histories: Histories, query: int) -> Tensor:
    """`p_t` of one query, click after click; one matrix on all features joined."""
    row, end = int(histories.row_N[query]), int(histories.end_N[query])
    assert histories.categories_BSE is not None and histories.times_BS is not None and histories.time_N is not None
    assert histories.dwell_BS is not None and weights.gaps is not None
    matrix = torch.cat([weights.clicks.weight, weights.gaps.weight], dim=1)
    logits = []
    for slot in range(end):
        dwell, clicked = float(histories.dwell_BS[row, slot]), int(histories.times_BS[row, slot])
        features = [*(math.sqrt(D) * histories.vectors_BSD[row, slot]), *histories.categories_BSE[row, slot]]
        features += [0.0, 0.0] if math.isnan(dwell) else [math.log(1 + dwell), 1.0]
        hours = (int(histories.time_N[query]) - clicked) / 3600
        features += [0.0, 0.0] if clicked == UNKNOWN_TIME else [math.log(1 + hours), 1.0]
        logits.append(weights.out.weight[0] @ gelu(matrix @ torch.tensor(features) + weights.clicks.bias))
    return torch.stack(logits).softmax(dim=0)


def test_weights_and_users_are_those_of_a_loop(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([3, 5], QUERIES)
    found_NS, users = tower.weights(histories, histories.seen_NS()), tower(histories).vectors_NKD[:, 0]
    for query, (row, end) in enumerate(QUERIES):
        p = slow_weights(tower.weights, histories, query)
        torch.testing.assert_close(found_NS[query, :end], p)
        assert (found_NS[query, end:] == 0).all() and p.max() > 1.2 / end
        x = (p[:, None] * histories.vectors_BSD[row, :end]).sum(dim=0)
        hidden = gelu(tower.mlp.hidden.weight @ (math.sqrt(D) * x) + tower.mlp.hidden.bias)
        torch.testing.assert_close(users[query], normalize(x + tower.mlp.out(hidden), dim=-1))


def test_it_starts_as_the_mean(histories_of: HistoriesOf) -> None:
    histories = histories_of([3, 5], QUERIES)
    tower = WeightedUsers().build(D, E, True, True, 5)
    torch.testing.assert_close(tower(histories).vectors_NKD, MeanTower(D)(histories).vectors_NKD)


def test_what_the_data_do_not_have_has_no_input() -> None:
    assert tower_of().weights.clicks.in_features == D + E + 2
    bare = tower_of(0, has_times=False, has_dwell=False).weights
    assert bare.clicks.in_features == D and bare.gaps is None
    assert tower_of(0, has_dwell=False).weights.clicks.in_features == D


@pytest.mark.parametrize("field", ["times_BS", "dwell_BS", "categories_BSE", "time_N", "vectors_BSD"])
def test_each_feature_moves_the_weights(field: str, histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([3, 5], QUERIES)
    value = getattr(histories, field)
    further = dataclasses.replace(histories, **{field: value + (90_000 if value.dtype == torch.int64 else 7.0)})
    seen_NS = histories.seen_NS()
    assert not torch.allclose(tower.weights(further, seen_NS), tower.weights(histories, seen_NS), atol=1e-3)


def test_unknown_times_and_dwell_are_as_if_there_were_none_at_serving(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([3, 5], QUERIES)
    assert histories.times_BS is not None and histories.dwell_BS is not None
    absent = dataclasses.replace(histories, times_BS=None, time_N=None, dwell_BS=None)
    unknown = dataclasses.replace(
        histories,
        times_BS=torch.full_like(histories.times_BS, UNKNOWN_TIME),
        dwell_BS=torch.full_like(histories.dwell_BS, torch.inf),
    )
    torch.testing.assert_close(tower(absent).vectors_NKD, tower(unknown).vectors_NKD)


def test_a_width_inside_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_width is 0: choose 1 or more"):
        WeightedUsers(0)
