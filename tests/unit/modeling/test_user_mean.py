"""The mean tower against the mean, of every prefix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from tastelab.modeling.histories import Histories
from tastelab.modeling.user_mean import MeanTower, MeanUsers


def test_every_prefix_is_the_normalised_mean_of_its_clicks(histories_of: Callable[..., Histories]) -> None:
    queries = [(0, 1), (0, 2), (1, 4), (2, 0)]
    histories, tower = histories_of([2, 4, 3], queries), MeanTower(6)
    users = tower(histories).vectors_NKD[:, 0]
    for place, (row, end) in enumerate(queries[:3]):
        torch.testing.assert_close(users[place], normalize(histories.vectors_BSD[row, :end].mean(dim=0), dim=-1))
    torch.testing.assert_close(users[3], normalize(tower.no_click.vectors, dim=-1))


def test_by_hand() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [torch.nan, torch.nan]]])
    histories = Histories(vectors, torch.tensor([[True, True, False]]), torch.tensor([0]), torch.tensor([2]))
    torch.testing.assert_close(MeanTower(2)(histories).vectors_NKD, torch.tensor([[[0.5**0.5, 0.5**0.5]]]))


def test_what_it_announces() -> None:
    assert MeanUsers.prefixes and not MeanUsers.needs_categories and not MeanUsers.has_intents
    assert [name for name, _ in MeanUsers().build(6, 0, True, True, 9).named_parameters()] == ["no_click.vectors"]
