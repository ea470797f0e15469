"""CLRec against a slow loop over multisets, in all its settings, and what it refuses.

Shape letters: N examples, Q places of the queue, D width.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn.functional import normalize

from tastelab.losses.clrec import CLRec
from tastelab.losses.contrast import Contrast, Queued, Wants

N, Q, D = 4, 6, 5
IDS = [2, 7, 2, 5]
QUEUED = [-1, 7, 2, 7, 9, 7]
TEMPERATURE = 0.3


def contrast() -> Contrast:
    generator = torch.Generator().manual_seed(2)
    users_ND = normalize(torch.randn(N, D, generator=generator, dtype=torch.float64), dim=-1)
    items_MD = normalize(torch.randn(10, D, generator=generator, dtype=torch.float64), dim=-1)
    ids_N, ids_Q = torch.tensor(IDS), torch.tensor(QUEUED)
    queue = Queued(ids_Q, items_MD[ids_Q], ids_Q >= 0)
    return Contrast(users_ND.unsqueeze(1), users_ND, items_MD[ids_N], ids_N, torch.tensor(TEMPERATURE), queue=queue)


def slow(given: Contrast, in_batch: bool, mask_hits: bool, deduplicate: bool) -> list[float]:
    assert given.queue is not None
    losses = []
    for n, own in enumerate(IDS):
        negatives = [(IDS[m], given.positives_ND[m]) for m in range(N) if in_batch and m != n]
        negatives += [(item, given.queue.vectors_QD[k]) for k, item in enumerate(QUEUED) if item >= 0]
        if mask_hits:
            negatives = [(item, vector_D) for item, vector_D in negatives if item != own]
        drawn = [item for item, _ in negatives]
        top = math.exp(float(given.users_ND[n] @ given.positives_ND[n]) / TEMPERATURE)
        bottom = top
        for item, vector_D in negatives:
            share = 1 / drawn.count(item) if deduplicate else 1.0
            bottom += share * math.exp(float(given.users_ND[n] @ vector_D) / TEMPERATURE)
        losses.append(-math.log(top / bottom))
    return losses


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("mask_hits", [True, False])
@pytest.mark.parametrize("deduplicate", [True, False])
def test_it_equals_a_slow_loop(in_batch: bool, mask_hits: bool, deduplicate: bool) -> None:
    terms = CLRec(Q, in_batch=in_batch, mask_hits=mask_hits, deduplicate=deduplicate)(contrast())
    assert terms.loss_N.tolist() == pytest.approx(slow(contrast(), in_batch, mask_hits, deduplicate))
    assert terms.parts["queue_filled"].item() == pytest.approx(5 / 6)


def test_an_empty_queue_leaves_the_batch_and_without_the_batch_nothing() -> None:
    given = contrast()
    assert given.queue is not None
    empty = dataclasses.replace(given, queue=dataclasses.replace(given.queue, mask_Q=torch.zeros(Q).bool()))
    torch.testing.assert_close(CLRec(Q)(empty).loss_N, CLRec(0)(dataclasses.replace(given, queue=None)).loss_N)
    users_ND = given.users_ND.clone().requires_grad_()
    loss_N = CLRec(Q, in_batch=False)(dataclasses.replace(empty, users_ND=users_ND)).loss_N
    loss_N.sum().backward()
    assert loss_N.tolist() == [0.0] * N
    assert users_ND.grad is not None
    assert not users_ND.grad.any()


def test_the_order_of_the_batch_and_of_the_queue_does_not_matter() -> None:
    given, order_N, order_Q = contrast(), torch.tensor([2, 0, 3, 1]), torch.tensor([5, 3, 1, 0, 2, 4])
    assert given.queue is not None
    turned = Contrast(
        given.users_NKD[order_N],
        given.users_ND[order_N],
        given.positives_ND[order_N],
        given.positive_ids_N[order_N],
        given.temperature,
        queue=Queued(given.queue.ids_Q[order_Q], given.queue.vectors_QD[order_Q], given.queue.mask_Q[order_Q]),
    )
    for loss in (CLRec(Q), CLRec(Q, mask_hits=True, deduplicate=True)):
        torch.testing.assert_close(loss(turned).loss_N, loss(given).loss_N[order_N])


def test_what_it_asks_for() -> None:
    assert CLRec().wants(10) == Wants(queue=2_560)
    assert CLRec(64, cached=True).wants(10) == Wants(queue=64, cached=True)
    assert CLRec().wants(10).propensity is None


def test_what_it_refuses() -> None:
    CLRec(100).check(num_items=5, num_clicks=100)
    with pytest.raises(ValueError, match=r"2,560 places and the data have 100 clicks .* at most 100"):
        CLRec().check(num_items=5, num_clicks=100)
    with pytest.raises(ValueError, match="places of the queue is -1: choose 0 or more"):
        CLRec(-1)
    with pytest.raises(ValueError, match="nothing is contrasted: set queue to 2560"):
        CLRec(0, in_batch=False)
    with pytest.raises(ValueError, match="no queue to cache vectors in"):
        CLRec(0, cached=True)
