"""What holds for every user tower: padding, prefixes, users without clicks, gradients, seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule

HistoriesOf = Callable[..., Histories]
D, E = 6, 4
TOWERS: dict[str, dict[str, Any]] = {
    "mean": {},
    "weighted": {"hidden_width": 5},
    "sasrec": {"num_heads": 2},
    "multi_interest": {"num_interests": 3},
    "multi_clrec": {"num_intents": 5, "hidden_width": 5},
}
every_tower = pytest.mark.parametrize("name", TOWERS)


def config_of(name: str) -> UserTowerConfig:
    config = UserTower.named(name, **TOWERS[name])
    assert isinstance(config, UserTowerConfig)
    return config


def tower_of(name: str, seed: int = 0, trained: bool = True, max_history: int = 8) -> UserTowerModule:
    """Build a tower; a trained one has left its starting point, where many differences are hidden."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = config_of(name).build(D, E, True, True, max_history)
        for parameter in tower.parameters() if trained else ():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return tower


def outputs(tower: UserTowerModule, histories: Histories) -> list[Tensor]:
    """Everything that a query is told: its vectors, their weights, what meets a positive, what retrieves."""
    users = tower(histories)
    positives_ND = torch.nn.functional.normalize(torch.ones(len(histories.row_N), D), dim=-1)
    weights = [] if users.weights_NK is None else [users.weights_NK]
    return [users.vectors_NKD, *weights, tower.meet(users, positives_ND), tower.serving(users, 2)]


@every_tower
def test_vectors_are_unit_and_as_many_as_announced(name: str, histories_of: HistoriesOf) -> None:
    tower = tower_of(name)
    users, met, serving = tower(histories_of([3, 0, 5])), *outputs(tower, histories_of([3, 0, 5]))[-2:]
    assert users.vectors_NKD.shape == (3, tower.num_vectors, D)
    assert met.shape == (3, D) and serving.shape == (3, min(2, tower.num_vectors), D)
    for vectors in (users.vectors_NKD, met, serving):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))


@every_tower
def test_padding_never_matters(name: str, histories_of: HistoriesOf) -> None:
    tower = tower_of(name)
    for narrow, wide in zip(
        outputs(tower, histories_of([3, 5, 0])), outputs(tower, histories_of([3, 5, 0], slots=8)), strict=True
    ):
        assert narrow.isfinite().all()
        torch.testing.assert_close(narrow, wide)


@every_tower
def test_queries_of_one_window_are_windows_of_their_own(name: str, histories_of: HistoriesOf) -> None:
    tower, queries = tower_of(name), [(1, 2), (0, 3), (1, 5), (1, 0), (1, 5), (2, 1)]
    together = outputs(tower, histories_of([3, 5, 1], queries))
    for place, query in enumerate(queries):
        whole = histories_of([3, 5, 1], [query])
        seen = torch.arange(5) < query[1]
        alone = dataclasses.replace(
            whole,
            vectors_BSD=whole.vectors_BSD[[query[0]]].masked_fill(~seen[:, None], torch.nan),
            mask_BS=whole.mask_BS[[query[0]]] & seen,
            row_N=torch.zeros(1, dtype=torch.int64),
            categories_BSE=whole.categories_BSE[[query[0]]] if whole.categories_BSE is not None else None,
            times_BS=whole.times_BS[[query[0]]] if whole.times_BS is not None else None,
            dwell_BS=whole.dwell_BS[[query[0]]] if whole.dwell_BS is not None else None,
        )
        assert alone.one_each
        for expected, found in zip(outputs(tower, alone), together, strict=True):
            torch.testing.assert_close(found[place], expected[0])


@every_tower
def test_no_click_and_no_slot_are_the_same_user_for_all(name: str, histories_of: HistoriesOf) -> None:
    tower = tower_of(name)
    nothing = outputs(tower, histories_of([0, 0]))
    assert histories_of([0, 0]).mask_BS.shape[1] == 0
    some = outputs(tower, histories_of([4, 0, 2], [(1, 0), (0, 0)]))
    for without_slots, with_slots in zip(nothing, some, strict=True):
        torch.testing.assert_close(without_slots[0], without_slots[1])
        torch.testing.assert_close(without_slots, with_slots)


@every_tower
@pytest.mark.parametrize("lengths", [[3, 0, 5], [0, 0], [1]])
@pytest.mark.parametrize("trained", [False, True])
def test_every_parameter_has_a_finite_gradient_whatever_histories_hold(
    name: str, lengths: list[int], trained: bool, histories_of: HistoriesOf
) -> None:
    tower, histories = tower_of(name, trained=trained), histories_of(lengths)
    clicks = histories.vectors_BSD.clone().requires_grad_()
    categories = histories.categories_BSE.clone().requires_grad_() if histories.categories_BSE is not None else None
    users = tower(dataclasses.replace(histories, vectors_BSD=clicks, categories_BSE=categories))
    _loss(tower, users).backward()
    for parameter_name, parameter in tower.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if trained and max(lengths) > 1 and 0 in lengths:
            assert parameter.grad.abs().sum() > 0, parameter_name
    assert clicks.grad is not None and clicks.grad[histories.mask_BS].isfinite().all()
    assert (clicks.grad[~histories.mask_BS] == 0).all()


def _loss(tower: UserTowerModule, users: Users) -> Tensor:
    positives_ND = torch.nn.functional.normalize(torch.randn(len(users.vectors_NKD), D), dim=-1)
    loss = (tower.meet(users, positives_ND) * positives_ND).sum()
    return loss if users.routing_K is None else loss + users.routing_K.square().sum()


@every_tower
def test_a_step_without_queries_gives_every_parameter_a_gradient_of_zero(name: str, histories_of: HistoriesOf) -> None:
    tower = tower_of(name)
    users = tower(histories_of([3, 2], []))
    assert users.vectors_NKD.shape == (0, tower.num_vectors, D)
    _loss(tower, users).backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in tower.parameters())


@every_tower
def test_seeds_decide_what_is_drawn(name: str, histories_of: HistoriesOf) -> None:
    histories = histories_of([3, 0, 5])
    first, again, other = (tower_of(name, seed)(histories).vectors_NKD for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, other)


@every_tower
def test_users_are_float32_under_autocast(name: str, histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(name), histories_of([3, 0, 5])
    with torch.autocast("cpu", torch.bfloat16):
        half = tower(histories).vectors_NKD
    assert half.dtype == torch.float32
    tolerance = 0.05 if name == "sasrec" else 1e-6  # its layers run in half precision, what is added up does not
    torch.testing.assert_close(half, tower(histories).vectors_NKD, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["mean", "weighted", "multi_interest", "multi_clrec"])
def test_untrained_users_are_placed_by_their_clicks(name: str, histories_of: HistoriesOf) -> None:
    """The mean of its vectors, weighted as it weighs them, is near the mean click."""
    tower, histories = tower_of(name, trained=False), histories_of([3, 1, 5])
    users = tower(histories)
    weights_NK = torch.ones(3, tower.num_vectors) if users.weights_NK is None else users.weights_NK
    found = torch.einsum("nk,nkd->nd", weights_NK, users.vectors_NKD)
    mean = histories.vectors_BSD.nan_to_num().sum(dim=1)
    assert (torch.cosine_similarity(found, mean, dim=-1) > 0.7).all()
