"""First-in-first-out queues against deques, and as part of a checkpoint.

Shape letters: Q places, H intents, R places of an intent's queue, N what comes, D width.
"""

from __future__ import annotations

from collections import deque

import pytest
import torch
from torch import Tensor

from tastelab.losses.queue import IntentQueues, Queue

D = 2


def vectors(ids: list[int], step: int) -> Tensor:
    """Vectors that say whose they are and from when."""
    return torch.tensor([[float(item), float(step)] for item in ids]).reshape(len(ids), D)


@pytest.mark.parametrize("size", [1, 5, 7])
@pytest.mark.parametrize("batches", [[3, 3, 3, 3], [1, 12, 2, 0, 6], [7, 7], [2]])
def test_the_queue_equals_a_deque(size: int, batches: list[int]) -> None:
    queue, slow, comes = Queue(size, D), deque[tuple[int, int]](), iter(range(1_000))
    for step, num in enumerate(batches):
        ids = [next(comes) % 10 for _ in range(num)]
        left_ids, left_vectors = queue.enqueue(torch.tensor(ids, dtype=torch.int64), vectors(ids, step), step)
        slow.extend((item, step) for item in ids)
        left = [slow.popleft() for _ in range(max(0, len(slow) - size))]
        assert left_ids.tolist() == [item for item, _ in left]
        assert left_vectors.tolist() == [[float(item), float(when)] for item, when in left]

        held = queue.contents()
        assert held.ids_Q[held.mask_Q].tolist() == [item for item, _ in slow]
        assert held.vectors_QD[held.mask_Q].tolist() == [[float(item), float(when)] for item, when in slow]
        assert (held.ids_Q[~held.mask_Q] == -1).all()
        assert held.mask_Q.sum() == queue.num_filled == len(slow)
        ages = [step + 1 - when for _, when in slow]
        assert queue.staleness(step + 1).item() == pytest.approx(sum(ages) / len(ages) if ages else 0.0)


@pytest.mark.parametrize("size", [1, 3])
def test_the_queues_of_intents_equal_deques(size: int) -> None:
    generator, num_intents = torch.Generator().manual_seed(0), 4
    queues = IntentQueues(num_intents, size, D)
    slow = [deque[tuple[int, int]](maxlen=size) for _ in range(num_intents)]
    for step in range(12):
        num = int(torch.randint(0, 9, (), generator=generator))  # 0, and more than an intent has places, among them
        ids_E = torch.randint(100, (num,), generator=generator)
        intents_E = torch.randint(3, (num,), generator=generator)  # nothing comes to the last intent
        queues.enqueue(ids_E, vectors(ids_E.tolist(), step), intents_E, step)
        for item, intent in zip(ids_E.tolist(), intents_E.tolist(), strict=True):
            slow[intent].append((item, step))
        ids_HR, vectors_HRD, mask_HR = queues.contents()
        for intent, expected in enumerate(slow):
            filled_R = mask_HR[intent]
            assert ids_HR[intent][filled_R].tolist() == [item for item, _ in expected]
            assert vectors_HRD[intent][filled_R].tolist() == [[float(item), float(when)] for item, when in expected]
        assert queues.num_filled == sum(map(len, slow))
        ages = [step + 2 - when for each in slow for _, when in each]
        assert queues.staleness(step + 2).item() == pytest.approx(sum(ages) / max(1, len(ages)))
    assert not queues.mask[3].any()
    assert queues.mask[:3].all()


def test_what_leaves_the_main_queue_enters_the_queue_of_its_intent() -> None:
    queue, queues = Queue(2, D), IntentQueues(2, 2, D)
    for step, ids in enumerate([[1, 2], [3], [4, 5], [6]]):
        left_ids, left_vectors = queue.enqueue(torch.tensor(ids), vectors(ids, step), step)
        queues.enqueue(left_ids, left_vectors, left_ids % 2, step)
    assert queue.ids.tolist() == [5, 6]
    assert queues.ids.tolist() == [[2, 4], [1, 3]]
    assert queues.vectors.tolist() == [[[2.0, 0.0], [4.0, 2.0]], [[1.0, 0.0], [3.0, 1.0]]]


def test_a_queue_of_ids_holds_no_vectors() -> None:
    queue = Queue(3)
    left_ids, left_vectors = queue.enqueue(torch.tensor([4, 5, 6, 7]), None, 0)
    assert (left_ids.tolist(), left_vectors.shape) == ([4], (1, 0))
    assert queue.contents().ids_Q.tolist() == [5, 6, 7]
    assert queue.contents().vectors_QD.shape == (3, 0)


def test_what_is_held_has_no_gradient_and_contents_survive_the_next_step() -> None:
    queue, leaf_ND = Queue(2, D), torch.ones(2, D, requires_grad=True)
    queue.enqueue(torch.tensor([1, 2]), leaf_ND * 2, 0)
    held = queue.contents()
    weight = torch.ones(D, requires_grad=True)
    total = (held.vectors_QD @ weight).sum()
    queue.enqueue(torch.tensor([3, 4]), leaf_ND * 9, 1)
    total.backward()
    assert not held.vectors_QD.requires_grad
    assert held.ids_Q.tolist() == [1, 2]
    assert weight.grad is not None
    assert weight.grad.tolist() == [4.0, 4.0]


def test_a_checkpoint_restores_all_of_it() -> None:
    queue, queues = Queue(3, D), IntentQueues(2, 2, D)
    for step, ids in enumerate([[1, 2], [3, 4, 5]]):
        left_ids, left_vectors = queue.enqueue(torch.tensor(ids), vectors(ids, step), step)
        queues.enqueue(left_ids, left_vectors, left_ids % 2, step)
    other, others = Queue(3, D), IntentQueues(2, 2, D)
    other.load_state_dict(queue.state_dict())
    others.load_state_dict(queues.state_dict())
    for each, its in ((queue, queues), (other, others)):
        left_ids, left_vectors = each.enqueue(torch.tensor([6, 7]), vectors([6, 7], 2), 2)
        its.enqueue(left_ids, left_vectors, left_ids % 2, 2)
    for name, value in queue.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    for name, value in queues.state_dict().items():
        assert torch.equal(value, others.state_dict()[name])
    assert queue.staleness(5).item() == other.staleness(5).item() == pytest.approx((4 + 3 + 3) / 3)
