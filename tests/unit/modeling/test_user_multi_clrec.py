"""Multi-CLRec's user tower against its formulas, click by click and intent by intent.

Shape letters: S slots, N queries, H intents, D width, E width of category vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, normalize

from tastelab.modeling.histories import Histories, Users
from tastelab.modeling.user_multi_clrec import MultiCLRecTower, MultiCLRecUsers, straight_through
from tastelab.modeling.user_parts import ResidualMLP

HistoriesOf = Callable[..., Histories]
D, E, H, RHO = 6, 4, 5, 0.3
QUERIES = [(0, 3), (1, 5), (1, 2), (1, 0)]


def tower_of(num_intents: int = H, trained: bool = True) -> MultiCLRecTower:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        tower = MultiCLRecUsers(num_intents, RHO, 5).build(D, E, True, True, 5)
        for parameter in tower.parameters() if trained else ():
            parameter.data += 0.3 * torch.randn_like(parameter)
    assert isinstance(tower, MultiCLRecTower)
    return tower


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / (float(a.norm()) * float(b.norm()))


def softmax(values: list[float]) -> list[float]:
    return [math.exp(value) / sum(map(math.exp, values)) for value in values]


def slow_routing(category_E: Tensor, tower: MultiCLRecTower) -> list[float]:
    if not category_E.any():
        return [1 / H] * H
    return softmax([cosine(prototype, category_E) / RHO for prototype in tower.prototypes_HE])


def slow_mlp(mlp: ResidualMLP, inputs: Tensor) -> Tensor:
    hidden = gelu(mlp.hidden.weight @ (math.sqrt(D) * inputs) + mlp.hidden.bias)
    return mlp.out.weight @ hidden + mlp.out.bias


@torch.no_grad()
def test_intents_and_weights_are_those_of_the_formulas(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([3, 5], QUERIES)
    users, weights_NS = tower(histories), tower.weights(histories, histories.seen_NS())
    assert histories.categories_BSE is not None and users.weights_NK is not None
    routed = torch.zeros(H)
    for query, (row, end) in enumerate(QUERIES):
        z, m = [torch.zeros(D) for _ in range(H)], torch.zeros(D)
        for slot in range(end):
            click = weights_NS[query, slot] * histories.vectors_BSD[row, slot]
            routing = slow_routing(histories.categories_BSE[row, slot], tower)
            z = [total + share * click for total, share in zip(z, routing, strict=True)]
            m, routed = m + click, routed + torch.tensor(routing)
        z = [
            total + beta + slow_mlp(tower.intents, torch.cat([total, beta]))
            for total, beta in zip(z, tower.bias_HD, strict=True)
        ]
        m = m + slow_mlp(tower.whole, m) if end else tower.no_click.vectors
        for h in range(H):
            torch.testing.assert_close(users.vectors_NKD[query, h], normalize(z[h], dim=-1))
        expected = torch.tensor(softmax([cosine(m, vector) / RHO for vector in z]))
        torch.testing.assert_close(users.weights_NK[query], expected)
    torch.testing.assert_close(users.routing_K, routed)
    assert users.num_routed == 10 and users.routing_K is not None
    torch.testing.assert_close(users.routing_K.sum(), torch.tensor(10.0))


@torch.no_grad()
def test_log_routing_of_items() -> None:
    tower = tower_of()
    categories_NE = torch.randn(7, E, generator=torch.Generator().manual_seed(0))
    categories_NE[3] = 0.0
    found_NH = tower.log_routing(categories_NE).exp()
    torch.testing.assert_close(found_NH, torch.tensor([slow_routing(category, tower) for category in categories_NE]))
    torch.testing.assert_close(found_NH[3], torch.full((H,), 1 / H))
    torch.testing.assert_close(tower.log_routing(5.0 * categories_NE), tower.log_routing(categories_NE))


def test_an_item_without_a_category_gives_prototypes_and_its_vector_a_finite_gradient() -> None:
    tower, categories_NE = tower_of(), torch.zeros(2, E, requires_grad=True)
    tower.log_routing(categories_NE)[:, 0].sum().backward()
    assert tower.prototypes_HE.grad is not None and (tower.prototypes_HE.grad == 0).all()
    assert categories_NE.grad is not None and categories_NE.grad.isfinite().all()


def test_straight_through_is_one_hot_with_the_gradient_of_the_weights() -> None:
    logits = torch.tensor([[0.1, 0.7, 0.2], [1.0, -1.0, 0.0]], requires_grad=True)
    values = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 5.0]])
    chosen = straight_through(logits.softmax(dim=1))
    assert torch.equal(chosen, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    (found,) = torch.autograd.grad((chosen * values).sum(), logits)
    (expected,) = torch.autograd.grad((logits.softmax(dim=1) * values).sum(), logits)
    torch.testing.assert_close(found, expected)


def test_one_vector_meets_a_positive_and_the_best_ones_retrieve() -> None:
    tower = tower_of()
    vectors = normalize(torch.randn(2, H, D, generator=torch.Generator().manual_seed(1)), dim=-1)
    weights = torch.tensor([[0.1, 0.2, 0.4, 0.25, 0.05], [0.3, 0.25, 0.15, 0.2, 0.1]])
    users = Users(vectors, weights)
    assert torch.equal(tower.meet(users, torch.zeros(2, D)), vectors[[0, 1], [2, 0]])
    assert torch.equal(tower.serving(users, 2), torch.stack([vectors[0, [2, 3]], vectors[1, [0, 1]]]))
    assert tower.serving(users, 64).shape == (2, H, D)


@torch.no_grad()
def test_untrained_intents_are_means_of_what_is_routed_to_them(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(trained=False), histories_of([5])
    assert histories.categories_BSE is not None
    for h, vector in enumerate(tower(histories).vectors_NKD[0]):
        z = tower.bias_HD[h].clone()
        for click, category in zip(histories.vectors_BSD[0], histories.categories_BSE[0], strict=True):
            z += slow_routing(category, tower)[h] / 5 * click
        torch.testing.assert_close(vector, normalize(z, dim=-1))


def test_one_intent_is_allowed(histories_of: HistoriesOf) -> None:
    users = tower_of(num_intents=1)(histories_of([3, 0]))
    assert users.weights_NK is not None
    torch.testing.assert_close(users.weights_NK, torch.ones(2, 1))


def test_without_categories_it_is_refused() -> None:
    with pytest.raises(ValueError, match="routes clicks by categories, and the items have none: use data with"):
        MultiCLRecUsers().build(64, 0, True, False, 50)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_intents": 0}, "num_intents is 0: choose 1 or more"),
        ({"hidden_width": 0}, "hidden_width is 0: choose 1 or more"),
        ({"temperature": 0.0}, "temperature is 0.0: choose a number above 0"),
        ({"temperature": float("nan")}, "temperature is nan: choose a number above 0"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MultiCLRecUsers(**values)  # type: ignore[arg-type]


def test_what_it_announces() -> None:
    assert MultiCLRecUsers.needs_categories and MultiCLRecUsers.has_intents and not MultiCLRecUsers.prefixes
    assert MultiCLRecUsers().num_intents == 64 and MultiCLRecUsers().temperature is None
