"""What holds for every candidate loss, in all its settings.

Shape letters: N examples, K = H vectors of a user, L draws, Q places, R places of an intent, M items, D width.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import tastelab.losses  # noqa: F401  (registers what is parametrised over)
from tastelab.config import CandidateLoss, to_dict
from tastelab.losses import contrasting
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Intents, Queued, Sampled

N, H, L, Q, R, M, D = 5, 3, 6, 7, 4, 9, 4
SETTINGS: dict[str, list[dict[str, object]]] = {
    "full_softmax": [{}],
    "negative_sampling": [{"shared": True}, {"shared": False}],
    "sampled_softmax": [{}, {"shared": False}, {"correct": False}],
    "ipw": [{}, {"clip": 0.5}, {"self_normalise": True}],
    "bernoulli_ipw": [{}],
    "clrec": [{}, {"cached": True}, {"in_batch": False}, {"queue": 0}, {"mask_hits": True, "deduplicate": True}],
    "multi_clrec": [{}, {"cached": True}, {"aux1": 0.0, "aux2": 2.0}],
}
LOSSES = [(name, settings) for name, each in SETTINGS.items() for settings in each]
VECTORS = ("users_NKD", "users_ND", "positives_ND", "temperature")


def named(name: str, settings: dict[str, object]) -> ContrastiveLoss:
    loss = CandidateLoss.named(name, **settings)
    assert isinstance(loss, ContrastiveLoss)
    return loss


def contrast(loss: ContrastiveLoss, dtype: torch.dtype = torch.float64, temperature: float = 0.2) -> Contrast:
    """Everything that a loss may ask for; unfilled places hold NaN-free garbage."""
    generator = torch.Generator().manual_seed(3)

    def unit(*shape: int) -> Tensor:
        return normalize(torch.randn(*shape, D, generator=generator, dtype=torch.float64), dim=-1).to(dtype)

    catalogue_MD, wants = unit(M), loss.wants(M)
    log_p_M = torch.linspace(1, 3, M).double().softmax(0).log()
    ids_N = torch.tensor([0, 4, 4, 8, 2])
    draws = torch.randint(M, (L,) if wants.shared else (N, L), generator=generator)
    sampled = Sampled(draws, catalogue_MD[draws], log_p_M[draws].to(dtype), log_p_M[ids_N].to(dtype))
    ids_Q = torch.tensor([-1, -1, 4, 0, 4, 1, 7])
    users_NHD = unit(N, H)
    intents = Intents(
        torch.randn(N, H, generator=generator, dtype=torch.float64).softmax(1).to(dtype),
        torch.randn(N, H, generator=generator, dtype=torch.float64).log_softmax(1).to(dtype),
        torch.tensor([0.2, 0.5, 0.3], dtype=dtype),
        torch.tensor([[-1, -1, 1, 2], [-1] * 4, [3, 4, 5, 6]]),
        unit(H, R),
        torch.tensor([[0, 0, 1, 1], [0] * 4, [1] * 4]).bool(),
    )
    return Contrast(
        users_NHD,
        users_NHD[:, 0],
        catalogue_MD[ids_N],
        ids_N,
        torch.tensor(temperature, dtype=dtype),
        sampled if wants.sampled else None,
        Queued(ids_Q, unit(Q), ids_Q >= 0) if wants.queue else None,
        catalogue_MD if wants.catalogue else None,
        log_p_M[ids_N].to(dtype),
        intents=intents if loss.needs_intents else None,
        num_items=M,
    )


def with_gradient(given: Contrast) -> tuple[Contrast, dict[str, Tensor]]:
    """The same contrast with leaves in the place of what towers compute."""
    leaves = {name: getattr(given, name).clone().requires_grad_() for name in VECTORS}
    changed = dataclasses.replace(given, **leaves)
    if given.queue is not None:
        leaves["queue"] = given.queue.vectors_QD.clone().requires_grad_()
        changed = dataclasses.replace(changed, queue=dataclasses.replace(given.queue, vectors_QD=leaves["queue"]))
    if given.sampled is not None:
        leaves["sampled"] = given.sampled.vectors.clone().requires_grad_()
        changed = dataclasses.replace(changed, sampled=dataclasses.replace(given.sampled, vectors=leaves["sampled"]))
    if given.catalogue_MD is not None:
        leaves["catalogue"] = given.catalogue_MD.clone().requires_grad_()
        changed = dataclasses.replace(changed, catalogue_MD=leaves["catalogue"])
    return changed, leaves


def gradients(loss: ContrastiveLoss, given: Contrast) -> dict[str, Tensor]:
    changed, leaves = with_gradient(given)
    values = torch.autograd.grad(loss(changed).loss_N.sum(), list(leaves.values()), allow_unused=True)
    return {name: torch.zeros(()) if grad is None else grad for name, grad in zip(leaves, values, strict=True)}


def test_every_candidate_loss_is_tried_here() -> None:
    assert set(SETTINGS) == set(CandidateLoss.members)


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_there_is_one_value_an_example_and_parts_are_scalars_without_gradient(
    name: str, settings: dict[str, object]
) -> None:
    loss = named(name, settings)
    changed, _ = with_gradient(contrast(loss))
    terms = loss(changed)
    assert terms.loss_N.shape == (N,)
    assert terms.loss_N.requires_grad
    assert (terms.loss_N > 0).all()
    assert all(part.shape == () and not part.requires_grad and part.isfinite() for part in terms.parts.values())
    assert CandidateLoss.named(**to_dict(loss)) == loss


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_float32_is_kept_and_half_precision_raised_to_it(name: str, settings: dict[str, object]) -> None:
    loss = named(name, settings)
    wide_N = loss(contrast(loss)).loss_N
    assert wide_N.dtype is torch.float64
    single_N = loss(contrast(loss, torch.float32)).loss_N
    assert single_N.dtype is torch.float32
    torch.testing.assert_close(single_N, wide_N.float(), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(contrast(loss, torch.float32)).loss_N, single_N)


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_the_temperature_divides_every_similarity(name: str, settings: dict[str, object]) -> None:
    """A loss at a temperature is that at 1 with users as much longer."""
    loss = named(name, settings)
    given = contrast(loss, temperature=0.2)
    longer = {"users_NKD": given.users_NKD / 0.2, "users_ND": given.users_ND / 0.2, "temperature": torch.tensor(1.0)}
    torch.testing.assert_close(loss(given).loss_N, loss(dataclasses.replace(given, **longer)).loss_N)
    assert not torch.allclose(loss(given).loss_N, loss(contrast(loss, temperature=0.3)).loss_N)
    assert gradients(loss, given)["temperature"].abs() > 1e-3


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_gradients_equal_finite_differences(name: str, settings: dict[str, object]) -> None:
    """Of the temperature and the users; straight-through weights are constants here."""
    loss = named(name, settings)
    given = contrast(loss)

    def total(users_NKD: Tensor, positives_ND: Tensor, temperature: Tensor) -> Tensor:
        leaves = {"users_NKD": users_NKD, "users_ND": users_NKD[:, 0], "positives_ND": positives_ND}
        return loss(dataclasses.replace(given, temperature=temperature, **leaves)).loss_N

    leaves = (given.users_NKD, given.positives_ND, given.temperature)
    assert torch.autograd.gradcheck(total, tuple(leaf.clone().requires_grad_() for leaf in leaves), fast_mode=True)


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_float32_is_finite_at_the_lowest_temperature_however_wrong_the_model(
    name: str, settings: dict[str, object]
) -> None:
    loss = named(name, settings)
    given = contrast(loss, torch.float32, temperature=0.005)
    worst = dataclasses.replace(given, positives_ND=-given.users_ND, users_ND=given.users_ND)
    for case in (given, worst):
        assert loss(case).loss_N.isfinite().all()
        assert all(grad.isfinite().all() for grad in gradients(loss, case).values())


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_blocks_of_rows_change_neither_loss_nor_gradient(
    name: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = named(name, settings)
    given = contrast(loss)
    whole_N, whole = loss(given).loss_N, gradients(loss, given)
    monkeypatch.setattr(contrasting, "BLOCK", 2 * H * (N + Q + R))
    torch.testing.assert_close(loss(given).loss_N, whole_N)
    monkeypatch.setattr(contrasting, "BLOCK", 1)
    torch.testing.assert_close(loss(given).loss_N, whole_N)
    torch.testing.assert_close(gradients(loss, given), whole)


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_gradient_flows_through_all_that_was_encoded_but_not_through_what_is_cached(
    name: str, settings: dict[str, object]
) -> None:
    loss = named(name, settings)
    given = contrast(loss)
    grads = gradients(loss, given)
    users = "users_NKD" if name == "multi_clrec" else "users_ND"
    assert grads[users].flatten(1).any(dim=1).all()
    if given.catalogue_MD is not None:
        assert grads["catalogue"].any(dim=1).all()
    else:
        assert grads["positives_ND"].any(dim=1).all()
    if given.sampled is not None:
        assert grads["sampled"].any(dim=-1).all()
    if given.queue is not None:
        flows_Q = grads["queue"].any(dim=-1) if grads["queue"].dim() else torch.zeros(Q).bool()
        expected_Q = torch.zeros(Q).bool() if settings.get("cached") else given.queue.mask_Q
        assert torch.equal(flows_Q, expected_Q)


@pytest.mark.parametrize(("name", "settings"), LOSSES)
def test_unfilled_places_change_nothing_whatever_they_hold(name: str, settings: dict[str, object]) -> None:
    loss = named(name, settings)
    given = contrast(loss)
    if given.queue is None:
        return
    garbage_QD = given.queue.vectors_QD.masked_fill(~given.queue.mask_Q.unsqueeze(1), 1e6)
    changed = dataclasses.replace(given, queue=dataclasses.replace(given.queue, vectors_QD=garbage_QD))
    if given.intents is not None:
        own_HRD = given.intents.queue_vectors_HRD.masked_fill(~given.intents.queue_mask_HR.unsqueeze(2), 1e6)
        changed = dataclasses.replace(changed, intents=dataclasses.replace(given.intents, queue_vectors_HRD=own_HRD))
    torch.testing.assert_close(loss(changed).loss_N, loss(given).loss_N)
    filled = dataclasses.replace(given.queue, mask_Q=torch.ones(Q).bool())
    assert not torch.allclose(loss(dataclasses.replace(given, queue=filled)).loss_N, loss(given).loss_N)
