"""Items and slots against slow loops over lists."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tastelab.modeling.items import Items, Slots, ragged_rows

WIDTH = 3


def make(lengths: list[int], counts: list[int], first_id: int = 0) -> Items:
    """Items whose every number says which item and place it belongs to."""
    longest = max(lengths, default=0)
    mask_UT = torch.arange(longest) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    ids_U = torch.arange(first_id, first_id + len(lengths))
    tokens_UT = torch.where(mask_UT, 100 * (1 + ids_U[:, None]) + torch.arange(longest), 0)
    vectors = [[1000.0 * i + place] * WIDTH for i, n in zip(ids_U.tolist(), counts, strict=True) for place in range(n)]
    token_vectors_MD = torch.tensor(vectors).reshape(-1, WIDTH)
    vectors_UD = ids_U[:, None].expand(-1, WIDTH).float()
    return Items(ids_U, tokens_UT, mask_UT, vectors_UD, token_vectors_MD, torch.tensor(counts, dtype=torch.int64))


def listed(items: Items) -> list[tuple[int, list[int], list[float], list[list[float]]]]:
    """Each item as plain lists, read one by one."""
    assert items.vectors_UD is not None
    assert items.token_vectors_MD is not None
    assert items.num_tokens_U is not None
    found, start = [], 0
    for u in range(len(items)):
        tokens = [int(t) for t, real in zip(items.tokens_UT[u], items.mask_UT[u], strict=True) if real]
        stop = start + int(items.num_tokens_U[u])
        texts = items.token_vectors_MD[start:stop].tolist()
        found.append((int(items.ids_U[u]), tokens, items.vectors_UD[u].tolist(), texts))
        start = stop
    assert start == len(items.token_vectors_MD), "vectors of no item are left"
    return found


SIZES = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_a_selection_holds_the_items_in_the_order_asked_for(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    items = make([length for length, _ in sizes], [count for _, count in sizes])
    index = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8))
    chosen = items.select(torch.tensor(index, dtype=torch.int64))
    everyone = listed(items)
    assert listed(chosen) == [everyone[i] for i in index]
    assert chosen.tokens_UT.shape == chosen.mask_UT.shape == (len(index), max((sizes[i][0] for i in index), default=0))


def test_a_selection_is_a_copy_and_leaves_out_what_is_missing() -> None:
    items = Items(*(getattr(make([2, 3], [0, 0]), name) for name in ("ids_U", "tokens_UT", "mask_UT")))
    chosen = items.select(torch.tensor([1]))
    assert chosen.vectors_UD is chosen.token_vectors_MD is chosen.num_tokens_U is None
    assert chosen.tokens_UT.untyped_storage().data_ptr() != items.tokens_UT.untyped_storage().data_ptr()


@settings(deadline=None, max_examples=60)
@given(st.lists(SIZES, min_size=1, max_size=4))
def test_joined_parts_are_the_items_of_all_in_turn(sizes: list[list[tuple[int, int]]]) -> None:
    parts, start = [], 0
    for part in sizes:
        parts.append(make([length for length, _ in part], [count for _, count in part], start))
        start += len(part)
    joined = Items.concatenate(parts)
    assert listed(joined) == [item for part in parts for item in listed(part)]
    assert not joined.tokens_UT[~joined.mask_UT].any()
    assert joined.tokens_UT.shape[1] == max(part.tokens_UT.shape[1] for part in parts)


def test_joining_what_was_selected_one_by_one_gives_the_items_back() -> None:
    items = make([1, 4, 2], [2, 0, 3])
    again = Items.concatenate([items.select(torch.tensor([u])) for u in range(3)])
    for field in dataclasses.fields(Items):
        assert torch.equal(getattr(again, field.name), getattr(items, field.name)), field.name


def test_moving_keeps_what_is_missing_missing() -> None:
    items = make([1, 2], [1, 1])
    moved = dataclasses.replace(items, vectors_UD=None).to("meta")
    assert moved.vectors_UD is None
    assert moved.tokens_UT.device.type == moved.num_tokens_U.device.type == "meta"  # type: ignore[union-attr]


def slow_rows(counts: list[int], index: list[int]) -> list[int]:
    rows, starts, start = [], [], 0
    for count in counts:
        starts.append(start)
        start += count
    for i in index:
        rows += range(starts[i], starts[i] + counts[i])
    return rows


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_ragged_rows_are_those_of_a_loop(counts: list[int], data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=10))
    rows = ragged_rows(torch.tensor(counts), torch.tensor(index, dtype=torch.int64))
    assert rows.tolist() == slow_rows(counts, index)


@pytest.mark.parametrize("masked", [False, True])
def test_candidates_are_the_items_of_real_candidate_slots(masked: bool) -> None:
    mask_BC = torch.tensor([[True, True, False], [True, False, False]])
    history = torch.zeros(2, 1, dtype=torch.int64)
    index_BC = torch.tensor([[3, 1, 4], [3, 0, 0]])
    slots = Slots(history, history.bool(), index_BC, mask_BC & (not masked))
    wanted_U: Tensor = slots.candidates(6)
    assert wanted_U.nonzero().flatten().tolist() == ([] if masked else [1, 3])
