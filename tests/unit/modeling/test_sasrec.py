"""SASRec against a slow loop that computes every state, and what order, padding and length mean to it.

Shape letters: B impressions, H history slots, C candidate slots, D width, P positions.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import Pooling
from tastelab.modeling.sasrec import SASRec, SASRecPool, SASRecStack, visible_slots
from tastelab.modeling.scorers import Cosine

D = 6
HISTORY = (5, 3, 0, 1)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    history_BHD = normalize(torch.randn(4, 5, D, generator=generator, dtype=torch.float64), dim=-1)
    candidates_BCD = normalize(torch.randn(4, 3, D, generator=generator, dtype=torch.float64), dim=-1)
    return history_BHD, torch.arange(5) < torch.tensor(HISTORY)[:, None], candidates_BCD


def trained(num_layers: int = 2, num_heads: int = 2, max_positions: int = 5, dropout: float = 0.0) -> SASRecStack:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = SASRecStack(D, num_layers, num_heads, max_positions, dropout).double()
        for parameter in stack.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
    return stack


def slow_norm(x_D: Tensor, norm: nn.Module) -> Tensor:
    variance = ((x_D - x_D.mean()) ** 2).mean()
    return (x_D - x_D.mean()) / torch.sqrt(variance + 1e-5) * norm.weight + norm.bias


def slow_user(past: list[Tensor], stack: SASRecStack, num_heads: int) -> Tensor:
    """Every state of every layer, one slot and one head after the other; the user is the last one."""
    states = [math.sqrt(D) * item + stack.positions_PD[len(past) - 1 - slot] for slot, item in enumerate(past)]
    size = D // num_heads
    for layer in stack.layers:
        normed = [slow_norm(state, layer.attention_norm) for state in states]
        queries = [layer.query(state) for state in normed]
        keys, values = ([layer.key_value(state)[part : part + D] for state in normed] for part in (0, D))
        after = []
        for slot, state in enumerate(states):
            parts = []
            for head in range(num_heads):
                cut = slice(head * size, (head + 1) * size)
                logits = [float(queries[slot][cut] @ key[cut]) / math.sqrt(size) for key in keys[: slot + 1]]
                shares = [math.exp(logit) / sum(map(math.exp, logits)) for logit in logits]
                parts.append(torch.stack([a * value[cut] for a, value in zip(shares, values[: slot + 1], strict=True)]))
            state = state + layer.attention_out(torch.cat([part.sum(dim=0) for part in parts]))
            fed = layer.feed_in(slow_norm(state, layer.feed_norm)).clamp(min=0.0)
            after.append(state + layer.feed_out(fed))
        states = after
    return states[-1] / states[-1].norm()


@pytest.mark.parametrize(("num_layers", "num_heads"), [(1, 1), (2, 2), (3, 6)])
def test_users_equal_a_slow_loop(num_layers: int, num_heads: int) -> None:
    history_BHD, mask_BH, _ = inputs()
    stack = trained(num_layers, num_heads)
    stack.requires_grad_(False)
    users_BD = stack(history_BHD, mask_BH)
    for b, length in enumerate(HISTORY):
        if length:
            expected_D = slow_user(list(history_BHD[b, :length]), stack, num_heads)
            torch.testing.assert_close(users_BD[b], expected_D)
    assert users_BD.isfinite().all()


def test_it_starts_as_the_newest_item() -> None:
    history_BHD, mask_BH, candidates_BCD = inputs()
    module = SASRec(num_heads=2).build(D).double()
    scores_BC = module(history_BHD, mask_BH, candidates_BCD, Cosine().build(D))
    newest_BD = torch.stack([history_BHD[0, 4], history_BHD[1, 2], torch.zeros(D).double(), history_BHD[3, 0]])
    torch.testing.assert_close(scores_BC, torch.einsum("bd,bcd->bc", newest_BD, candidates_BCD))


def test_the_order_of_the_history_matters_beyond_which_item_is_the_newest() -> None:
    history_BHD, mask_BH, _ = inputs()
    swapped_BHD = history_BHD[:, [1, 0, 2, 3, 4]]
    difference_B = (trained()(swapped_BHD, mask_BH) - trained()(history_BHD, mask_BH)).norm(dim=1)
    assert (difference_B[[0, 1]] > 1e-2).all()
    # One layer without positions knows a set of older items: the order above is seen through positions and depth.
    blind = trained(num_layers=1)
    blind.positions_PD.data.zero_()
    torch.testing.assert_close(blind(swapped_BHD, mask_BH)[:2], blind(history_BHD, mask_BH)[:2])


def test_who_sees_whom() -> None:
    """The real slots up to itself; a masked slot sees itself, so that no slot sees nothing."""
    visible_BHH = visible_slots(torch.tensor([[True, False, True], [False, False, False]]))
    assert visible_BHH[0].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert visible_BHH[1].int().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_positions_count_from_the_newest_click() -> None:
    history_BHD, mask_BH, _ = inputs()
    stack = trained()
    before_BD = stack(history_BHD, mask_BH)
    stack.positions_PD.data[3:] *= -1.0
    moved_B = (stack(history_BHD, mask_BH) - before_BD).norm(dim=1)
    assert moved_B[0] > 1e-2
    assert moved_B[[1, 3]].tolist() == [0.0, 0.0]


def test_a_capped_history_means_what_the_same_clicks_mean_alone() -> None:
    history_BHD, mask_BH, _ = inputs()
    stack = trained()
    torch.testing.assert_close(
        stack(history_BHD[:1, 2:], mask_BH[:1, 2:]), stack(history_BHD[:1], mask_BH[:1] & (torch.arange(5) >= 2))
    )


def test_a_history_beyond_the_positions_is_refused_but_not_its_padding() -> None:
    history_BHD, mask_BH, _ = inputs()
    with pytest.raises(ValueError, match=r"up to 5 clicks, SASRec 3 positions: raise its max_positions"):
        trained(max_positions=3)(history_BHD, mask_BH)
    padded_BD = trained(max_positions=3)(history_BHD[1:], mask_BH[1:])
    torch.testing.assert_close(padded_BD, trained(max_positions=3)(history_BHD[1:, :3], mask_BH[1:, :3]))
    left_BD = trained(max_positions=3)(history_BHD[1:].flip(1), mask_BH[1:].flip(1))
    assert left_BD.isfinite().all()


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    for refused in (lambda: SASRec().build(6), lambda: SASRec().check(6, max_history=5)):
        with pytest.raises(ValueError, match="4 heads do not divide the width 6: choose a divisor"):
            refused()


def test_a_cap_on_histories_beyond_the_positions_is_refused_before_any_work() -> None:
    SASRec().check(384, max_history=50)
    with pytest.raises(ValueError, match="up to 51 clicks, SASRec 50 positions: raise its max_positions"):
        SASRec().check(384, max_history=51)


def test_dropout_acts_in_training_only() -> None:
    history_BHD, mask_BH, _ = inputs()
    some, none = trained(dropout=0.5), trained()
    assert not torch.equal(some(history_BHD, mask_BH), some(history_BHD, mask_BH))
    assert torch.equal(some.eval()(history_BHD, mask_BH), none(history_BHD, mask_BH))


def test_every_part_learns_within_two_steps() -> None:
    """Output projections of zero hold back the gradient of what stands before them in the first step only."""
    module = SASRec(num_heads=2).build(D).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        module(*inputs(), Cosine().build(D)).square().sum().backward()
        optimizer.step()
    grads = {name: p.grad for name, p in module.named_parameters() if name != "empty_D"}
    assert {name for name, grad in grads.items() if grad is None or not grad.abs().sum() > 0} == set()


def test_its_name_and_defaults() -> None:
    assert Pooling.named("sasrec") == SASRec(num_layers=2, num_heads=4, max_positions=50, dropout=0.0)
    module = SASRec().build(8)
    assert isinstance(module, SASRecPool)
    assert module.stack.positions_PD.shape == (50, 8)
    assert len(module.stack.layers) == 2
