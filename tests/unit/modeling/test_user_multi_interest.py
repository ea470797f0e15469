"""Dynamic routing and label-aware attention against loops over clicks and interests.

Shape letters: S slots, K interests, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.modeling.histories import Histories, Users
from tastelab.modeling.user_multi_interest import MultiInterest, MultiInterestTower, squash

HistoriesOf = Callable[..., Histories]
D, K = 6, 3
QUERIES = [(0, 3), (1, 5), (1, 2)]


def tower_of(**values: float | None) -> MultiInterestTower:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        tower = MultiInterest(**({"num_interests": K} | values)).build(D, 0, False, False, 5)  # type: ignore[arg-type]
        for parameter in tower.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    assert isinstance(tower, MultiInterestTower)
    return tower


def slow_capsules(clicks_SD: Tensor, tower: MultiInterestTower) -> list[Tensor]:
    """`u_k` after three rounds, one click and one interest after the other."""
    mapped = [tower.bilinear_DD @ click for click in clicks_SD]
    logits = [[float(start @ click) for start in tower.start_KD] for click in clicks_SD]  # type: ignore[union-attr]
    capsules: list[Tensor] = []
    for _ in range(3):
        capsules = []
        for k in range(K):
            z = torch.zeros(D)
            for row, click in zip(logits, mapped, strict=True):
                z = z + math.exp(row[k]) / sum(map(math.exp, row)) * click
            norm = float(z.norm())
            capsules.append(norm**2 / (1 + norm**2) * z / norm)
        logits = [
            [b + float(capsules[k] @ click) for k, b in enumerate(row)]
            for row, click in zip(logits, mapped, strict=True)
        ]
    return capsules


@torch.no_grad()
def test_interests_are_those_of_a_loop(histories_of: HistoriesOf) -> None:
    tower, histories = tower_of(), histories_of([3, 5], QUERIES)
    users = tower(histories)
    assert users.weights_NK is not None
    for query, (row, end) in enumerate(QUERIES):
        capsules = torch.stack(slow_capsules(histories.vectors_BSD[row, :end], tower))
        torch.testing.assert_close(users.vectors_NKD[query], normalize(capsules, dim=-1), atol=1e-5, rtol=1e-5)
        lengths = capsules.norm(dim=-1)
        torch.testing.assert_close(users.weights_NK[query], lengths / lengths.sum(), atol=1e-5, rtol=1e-4)
        order = lengths.argsort(descending=True)
        torch.testing.assert_close(tower.serving(users, 2)[query], users.vectors_NKD[query, order[:2]])
    assert tower.serving(users, 9).shape == (3, K, D)


def test_more_rounds_change_the_interests_and_interests_differ(histories_of: HistoriesOf) -> None:
    histories = histories_of([5])
    one, three = (tower_of(num_iterations=rounds)(histories).vectors_NKD[0] for rounds in (1, 3))
    assert not torch.allclose(one, three, atol=1e-3)
    assert (three @ three.T)[~torch.eye(K, dtype=torch.bool)].max() < 0.999


def test_no_gradient_flows_through_the_routing(histories_of: HistoriesOf) -> None:
    """The gradient is that of sums with constant weights."""
    tower, histories = tower_of(), histories_of([5])
    tower(histories).vectors_NKD.sum().backward()
    found = tower.bilinear_DD.grad
    clicks = histories.vectors_BSD
    mapped = (clicks @ tower.bilinear_DD.T).detach()
    weights = tower._routing(mapped, clicks @ tower.start_KD.T, histories.seen_NS())  # type: ignore[operator]
    tower.bilinear_DD.grad = None
    sums = torch.einsum("nsk,nsd->nkd", weights.detach(), clicks @ tower.bilinear_DD.T)
    normalize(sums, dim=-1).sum().backward()
    assert found is not None and tower.bilinear_DD.grad is not None
    torch.testing.assert_close(found, tower.bilinear_DD.grad)


def test_the_start_of_the_routing_follows_no_seed_and_is_no_parameter() -> None:
    one, other = MultiInterestTower(D, MultiInterest(K)), MultiInterestTower(D, MultiInterest(K))
    assert torch.equal(one.start_KD, other.start_KD)  # type: ignore[arg-type]
    assert not torch.equal(one.no_click.vectors, other.no_click.vectors)
    assert "start_KD" not in one.state_dict()


def test_squash_by_hand() -> None:
    torch.testing.assert_close(squash(torch.tensor([[[3.0, 4.0]]])), torch.tensor([[[0.6, 0.8]]]) * 25 / 26)
    zero = torch.zeros(1, 1, 2, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad is not None and zero.grad.isfinite().all()


def test_label_aware_attention_by_hand() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    positives = torch.tensor([[0.6, 0.8]])
    attention = torch.tensor([0.6, 0.8, 0.0]).div(0.5).square().softmax(dim=0)
    expected = normalize(attention @ vectors[0], dim=-1)
    torch.testing.assert_close(tower_of(temperature=0.5).meet(Users(vectors), positives)[0], expected)


def test_a_hard_choice_is_the_nearest_interest_and_the_limit_of_large_powers() -> None:
    vectors = normalize(torch.randn(20, K, D, generator=torch.Generator().manual_seed(0)), dim=-1)
    positives = vectors[:, 1] * 0.9 + vectors[:, 2] * 0.4
    positives = normalize(positives, dim=-1)
    nearest = torch.stack([v[int((v @ y).argmax())] for v, y in zip(vectors, positives, strict=True)])
    torch.testing.assert_close(tower_of(power=None).meet(Users(vectors), positives), nearest)
    near = tower_of(power=34.0).meet(Users(vectors), positives)
    assert near.isfinite().all()
    assert torch.cosine_similarity(near, nearest).min() > 0.99


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_interests": 0}, "num_interests is 0: choose 1 or more"),
        ({"num_iterations": 0}, "num_iterations is 0: choose 1 or more"),
        ({"power": 0.5}, "power is 0.5: choose 1 or more, or none"),
        ({"power": float("inf")}, "power is inf: choose 1 or more, or none for the nearest interest alone"),
        ({"power": float("nan")}, "power is nan"),
        ({"temperature": 0.0}, "temperature is 0.0: choose above 0"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MultiInterest(**values)  # type: ignore[arg-type]


def test_a_user_may_have_more_interests_than_clicks(histories_of: HistoriesOf) -> None:
    users = tower_of(num_interests=8)(histories_of([1, 2]))
    assert users.vectors_NKD.shape == (2, 8, D) and users.vectors_NKD.isfinite().all()
