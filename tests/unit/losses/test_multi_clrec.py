"""Multi-CLRec against a slow loop, the straight-through weights, the auxiliary terms and α.

Shape letters: N examples, H intents, Q places of the main queue, R of an intent's queue, D width.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tastelab.losses.contrast import Contrast, Intents, Queued, Wants
from tastelab.losses.multi_clrec import STEEPEST, MultiCLRec, chosen_logit, routed

N, H, Q, R, D = 4, 3, 5, 2, 6
RHO = 0.4
OWN_MASK = [[False, True], [False, False], [True, True]]
BARE = MultiCLRec(Q, R, aux1=0.0, aux2=0.0, aux3=0.0)


def contrast() -> Contrast:
    generator = torch.Generator().manual_seed(6)

    def unit(*shape: int) -> Tensor:
        return normalize(torch.randn(*shape, D, generator=generator, dtype=torch.float64), dim=-1)

    users_NHD, ids_Q = unit(N, H), torch.tensor([-1, 3, 1, 1, 0])
    routing_NH = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]]).double()
    weights_NH = torch.tensor([[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]]).double()
    intents = Intents(
        weights_NH,
        routing_NH.log(),
        torch.tensor([0.5, 0.3, 0.2]).double(),
        torch.where(torch.tensor(OWN_MASK), 4, -1),
        unit(H, R),
        torch.tensor(OWN_MASK),
    )
    queue = Queued(ids_Q, unit(Q), ids_Q >= 0)
    ids_N, rho = torch.tensor([1, 3, 1, 0]), torch.tensor(RHO)
    return Contrast(users_NHD, users_NHD[:, 0], unit(N), ids_N, rho, queue=queue, intents=intents)


def slow(given: Contrast) -> list[float]:
    """The loss by its formula, one exponential after the other."""
    assert given.queue is not None
    assert given.intents is not None
    losses = []
    for n in range(N):
        intent = int(given.intents.log_routing_NH[n].argmax())
        chosen = int(given.intents.weights_NH[n].argmax())
        others = [*given.positives_ND]  # y_T itself once, and the batch's other positives
        others += [given.queue.vectors_QD[k] for k in range(Q) if given.queue.mask_Q[k]]
        others += [given.intents.queue_vectors_HRD[intent, r] for r in range(R) if OWN_MASK[intent][r]]
        bottom = sum(math.exp(float(z_D @ y_D) / RHO) for z_D in given.users_NKD[n] for y_D in others)
        top = math.exp(float(given.users_NKD[n, chosen] @ given.positives_ND[n]) / RHO)
        losses.append(-math.log(top / bottom))
    return losses


def test_the_main_term_equals_a_slow_loop() -> None:
    assert BARE(contrast()).loss_N.tolist() == pytest.approx(slow(contrast()))


def test_the_three_auxiliary_terms_by_hand_and_their_weights() -> None:
    given = contrast()
    terms = MultiCLRec(Q, R, aux1=0.5, aux2=2.0, aux3=3.0)(given)
    aux1 = [-math.log(p) for p in (0.7, 0.6, 0.6, 0.5)]
    aux2 = []
    for n, intent in enumerate((0, 1, 2, 0)):
        exps = [math.exp(float(z_D @ given.positives_ND[n]) / RHO) for z_D in given.users_NKD[n]]
        aux2.append(-math.log(exps[intent] / sum(exps)))
    aux3 = sum(math.log((1 / 3) / share) / 3 for share in (0.5, 0.3, 0.2))
    expected = [a + 0.5 * b + 2.0 * c + 3.0 * aux3 for a, b, c in zip(slow(given), aux1, aux2, strict=True)]
    assert terms.loss_N.tolist() == pytest.approx(expected, abs=1e-6)
    assert terms.parts["contrast"].item() == pytest.approx(sum(slow(given)) / N)
    assert terms.parts["aux1"].item() == pytest.approx(sum(aux1) / N, abs=1e-6)
    assert terms.parts["aux2"].item() == pytest.approx(sum(aux2) / N)
    assert terms.parts["aux3"].item() == pytest.approx(aux3, abs=1e-6)


def test_balanced_routing_costs_nothing_and_an_unused_intent_something_finite() -> None:
    given = contrast()
    assert given.intents is not None

    def of(balance_H: Tensor) -> float:
        intents = dataclasses.replace(given.intents, balance_H=balance_H)  # type: ignore[type-var]
        return BARE(dataclasses.replace(given, intents=intents)).parts["aux3"].item()

    assert of(torch.full((H,), 1 / H, dtype=torch.float64)) == pytest.approx(0.0, abs=1e-12)
    assert 5.0 < of(torch.tensor([0.5, 0.5, 0.0]).double()) < 20.0


def test_alpha_is_how_far_the_queues_are_filled() -> None:
    """Four places of the main queue are filled; intents 0, 1, 2 of the positives hold 1, none, 2 and again 1."""
    assert BARE(contrast()).parts["alpha"].item() == pytest.approx((4 / 1 + 4 / 1 + 4 / 2 + 4 / 1) / 4)


def test_weights_are_one_hot_forward() -> None:
    logits_NH, weights_NH = torch.randn(N, H).double(), torch.rand(N, H).double()
    expected_N = logits_NH[torch.arange(N), weights_NH.argmax(dim=1)]
    assert torch.equal(chosen_logit(weights_NH, logits_NH), expected_N)


def test_the_gradient_of_the_weights_is_that_of_the_sum_at_the_one_hot_weights() -> None:
    """Straight through: d/dẇ of log Σ ẇ exp s at ẇ one-hot goes to the soft w, and through their softmax."""
    generator = torch.Generator().manual_seed(8)
    logits_NH = torch.randn(N, H, generator=generator, dtype=torch.float64).requires_grad_()
    raw_NH = torch.randn(N, H, generator=generator, dtype=torch.float64).requires_grad_()
    soft_NH = raw_NH.softmax(dim=1)
    hard_NH = torch.nn.functional.one_hot(soft_NH.argmax(dim=1), H).double()
    straight_NH = (hard_NH - soft_NH).detach() + soft_NH
    plain_N = (straight_NH * logits_NH.exp()).sum(dim=1).log()
    expected = torch.autograd.grad(plain_N.sum(), (raw_NH, logits_NH), retain_graph=True)
    ours = torch.autograd.grad(chosen_logit(soft_NH, logits_NH).sum(), (raw_NH, logits_NH))
    torch.testing.assert_close(ours, expected)
    assert expected[0].abs().min() > 1e-3


def test_the_gradient_of_the_weights_is_bounded_where_it_would_overflow() -> None:
    weights_NH = torch.tensor([[0.9, 0.1]], requires_grad=True)
    chosen_logit(weights_NH, torch.tensor([[-200.0, 200.0]])).sum().backward()
    assert weights_NH.grad is not None
    assert weights_NH.grad[0].tolist() == pytest.approx([1.0, math.exp(STEEPEST)])
    assert weights_NH.grad.square().sum().isfinite()


def test_every_intent_the_weights_and_the_routing_are_trained() -> None:
    given = contrast()
    assert given.intents is not None
    users_NHD = given.users_NKD.clone().requires_grad_()
    names = ("weights_NH", "log_routing_NH", "balance_H")
    leaves = {name: getattr(given.intents, name).clone().requires_grad_() for name in names}
    intents = dataclasses.replace(given.intents, **leaves)
    loss_N = MultiCLRec(Q, R)(dataclasses.replace(given, users_NKD=users_NHD, intents=intents)).loss_N
    grads = torch.autograd.grad(loss_N.sum(), (users_NHD, *leaves.values()))
    assert grads[0].any(dim=2).all()
    assert grads[1].any(dim=1).all()
    assert grads[2].any(dim=1).all()
    assert grads[3].any()


def test_the_queue_of_another_intent_does_not_matter() -> None:
    given = contrast()
    assert given.intents is not None
    for intent, touched in ((0, [True, False, False, True]), (1, [False] * 4), (2, [False, False, True, False])):
        own_HRD = given.intents.queue_vectors_HRD.clone()
        own_HRD[intent] = -own_HRD[intent]
        intents = dataclasses.replace(given.intents, queue_vectors_HRD=own_HRD)
        changed_N = BARE(dataclasses.replace(given, intents=intents)).loss_N
        assert (changed_N != BARE(given).loss_N).tolist() == touched


def test_what_it_asks_for_and_refuses() -> None:
    assert MultiCLRec.needs_intents
    assert MultiCLRec().wants(10) == Wants(queue=2_560, intent_queue=256)
    MultiCLRec(10, 20).check(num_items=3, num_clicks=20)
    for sizes in ((10, 21), (21, 10)):
        with pytest.raises(ValueError, match=r"21 places and the data have 20 clicks .* at most 20"):
            MultiCLRec(*sizes).check(num_items=3, num_clicks=20)
    with pytest.raises(ValueError, match="places of the queue is 0"):
        MultiCLRec(0)
    with pytest.raises(ValueError, match="places of an intent's queue is 0"):
        MultiCLRec(10, 0)
    with pytest.raises(ValueError, match=r"weight aux3 is -0\.1: choose 0 or more"):
        MultiCLRec(aux3=-0.1)


def test_a_positive_without_a_category_meets_the_main_queue_alone() -> None:
    given = contrast()
    assert given.intents is not None
    flat_NH = given.intents.log_routing_NH.clone()
    flat_NH[2] = -math.log(H)  # its arg max is intent 0, whose queue holds an item
    intents = dataclasses.replace(given.intents, log_routing_NH=flat_NH)
    nobody = dataclasses.replace(intents, queue_mask_HR=torch.zeros_like(intents.queue_mask_HR))
    flat = MultiCLRec(Q, R, aux3=0.0)(dataclasses.replace(given, intents=intents)).loss_N
    alone = BARE(dataclasses.replace(given, intents=nobody)).loss_N
    assert flat[2].item() == pytest.approx(alone[2].item())
    assert flat[0].item() == pytest.approx(MultiCLRec(Q, R, aux3=0.0)(given).loss_N[0].item())
    assert routed(flat_NH).tolist() == [True, True, False, True]
    assert routed(torch.zeros(2, 1)).all(), "of one intent everything is"
