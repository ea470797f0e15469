"""The item tower against its formula, item after item: parts there and not, items known, unknown and from outside.

Shape letters: E items of any set, N items of the catalogue, F width of text vectors, C width of category vectors.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, normalize

from tastelab.config import ItemTowerConfig, ModelConfig
from tastelab.modeling.item_table import named_tables
from tastelab.modeling.item_tower import CODE_WIDTH, ItemTower, TextSource
from tastelab.schema import Catalogue

N, F, D = 8, 5, 6
NO_TEXT = TextSource(ModelConfig(), "", 1_024, 0)
BARE: dict[str, Any] = {"ids": False, "category": False, "source": False, "tags": False, "text": "none"}


def catalogue_of(**values: Any) -> Catalogue:
    """Half of the items have no category, some no source or tag; item 3 was never clicked."""
    generator = torch.Generator().manual_seed(0)
    catalogue = Catalogue(
        num_items=N,
        known_N=torch.arange(N) != 3,
        category_N=torch.tensor([0, -1, 1, -1, 2, -1, 0, -1]),
        num_categories=3,
        source_N=torch.tensor([1, 0, -1, 1, 0, 0, 1, 1]),
        num_sources=2,
        tags_NM=torch.tensor([[0, 1], [2, -1], [-1, -1], [3, 0], [1, 2], [-1, 3], [0, 0], [2, 1]], dtype=torch.int32),
        num_tags=4,
        text_NF=normalize(torch.randn(N, F, generator=generator), dim=-1),
    )
    return dataclasses.replace(catalogue, **values)


def tower_of(catalogue: Catalogue, seed: int = 0, needs_categories: bool = False, **config: Any) -> ItemTower:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ItemTower(ItemTowerConfig(width=D, **config), catalogue, NO_TEXT, needs_categories)


def table(module: torch.nn.Module | None) -> Tensor:
    assert module is not None
    (rows,) = module.table.parameters()  # type: ignore[union-attr]
    return rows


def slow_vector(tower: ItemTower, catalogue: Catalogue, item: int) -> Tensor:
    """`normalize(MLP([id; category; source; mean of tags; text]))` of one item, all parts there."""
    category, source = int(catalogue.category_N[item]), int(catalogue.source_N[item])
    tags = [int(tag) for tag in catalogue.tags_NM[item] if tag >= 0]
    assert tower.own and tower.category and tower.source and tower.tags and tower.text and tower.mlp
    assert catalogue.text_NF is not None
    joined = [
        tower.own.table.rows_ND[item] if catalogue.known_N[item] else tower.own.unknown_C,
        table(tower.category)[category] if category >= 0 else tower.category.absent_C,
        table(tower.source)[source] if source >= 0 else tower.source.absent_C,
        sum(table(tower.tags)[tag] for tag in tags) / len(tags) if tags else tower.tags.absent_C,
        tower.text.weight @ (math.sqrt(F) * catalogue.text_NF[item]) + tower.text.bias,
    ]
    first, _, last = tower.mlp
    hidden = gelu(first.weight @ torch.cat(joined) + first.bias)  # type: ignore[arg-type, operator]
    return normalize(last.weight @ hidden + last.bias, dim=0)  # type: ignore[operator]


@torch.no_grad()
def test_vectors_are_those_of_the_formula() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue).eval()
    ids_E = torch.tensor([5, 0, 3, 2, 0, 7])
    items = tower(tower.facts(catalogue, ids_E))
    expected = torch.stack([slow_vector(tower, catalogue, int(item)) for item in ids_E])
    torch.testing.assert_close(items.vectors_ED, expected)
    categories = torch.stack([table(tower.category)[max(0, c)] * (c >= 0) for c in catalogue.category_N[ids_E]])
    torch.testing.assert_close(items.categories_EC, categories)
    assert tower.category_width == CODE_WIDTH
    torch.testing.assert_close(tower.category_vectors(catalogue, ids_E), categories)


@torch.no_grad()
def test_an_unseen_item_and_one_from_outside_of_the_same_facts_are_one() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue).eval()
    assert catalogue.text_NF is not None
    row = torch.tensor([3])
    inside = tower.facts(catalogue, row)
    assert inside.ids_E.tolist() == [-1]
    outside = tower.outside(
        1, catalogue.category_N[row], catalogue.source_N[row], catalogue.tags_NM[row], catalogue.text_NF[row]
    )
    torch.testing.assert_close(tower(outside).vectors_ED[0], slow_vector(tower, catalogue, 3))
    torch.testing.assert_close(tower(outside).vectors_ED, tower(inside).vectors_ED)


@torch.no_grad()
def test_an_item_of_which_only_text_is_known_is_placed_by_it() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue).eval()
    text_EF = normalize(torch.randn(3, F), dim=-1)
    found = tower(tower.outside(3, text_EF=text_EF)).vectors_ED
    absent = catalogue_of(
        category_N=torch.full((N,), -1), source_N=torch.full((N,), -1), tags_NM=torch.full((N, 2), -1).int(),
        known_N=torch.zeros(N, dtype=torch.bool), text_NF=torch.cat([text_EF, torch.zeros(N - 3, F)]),
    )  # fmt: skip
    torch.testing.assert_close(found, torch.stack([slow_vector(tower, absent, item) for item in range(3)]))
    assert (found[0] - found[1]).norm() > 0.05


def test_parts_that_the_catalogue_lacks_are_left_out() -> None:
    none_N = torch.full((N,), -1)
    bare = catalogue_of(
        category_N=none_N, num_categories=0, source_N=none_N, num_sources=0, tags_NM=none_N[:, None][:, :0], num_tags=0
    )
    tower = tower_of(bare, text="none")
    assert {name.split(".")[0] for name, _ in tower.named_parameters()} == {"own", "mlp"}
    items = tower(tower.facts(bare, torch.arange(N)))
    assert items.categories_EC.shape == (N, 0) and tower.category_width == 0
    assert items.vectors_ED.shape == (N, D)


@pytest.mark.parametrize("part", ["ids", "category", "source", "tags"])
def test_any_single_part_will_do(part: str) -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue, **BARE | {part: True})
    vectors_ED = tower(tower.facts(catalogue, torch.arange(N))).vectors_ED
    torch.testing.assert_close(vectors_ED.norm(dim=1), torch.ones(N))
    assert (vectors_ED[0] - vectors_ED[1]).norm() > 0.05


def test_categories_for_the_user_tower_alone_leave_the_vectors_as_they_are() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue, needs_categories=True, category=False)
    facts = tower.facts(catalogue, torch.arange(N))
    items = tower(facts)
    assert tower.category_width == CODE_WIDTH and (items.categories_EC[0] != 0).all()
    assert (items.categories_EC[1] == 0).all()
    other = tower(dataclasses.replace(facts, category_E=facts.category_E.flip(0)))
    assert "category.absent_C" not in dict(tower.named_parameters())
    tower.eval()
    torch.testing.assert_close(
        tower(dataclasses.replace(facts, category_E=facts.category_E.flip(0))).vectors_ED, tower(facts).vectors_ED
    )
    (other.vectors_ED.sum() + other.categories_EC.sum()).backward()
    assert all(p.grad is not None for p in tower.parameters())
    assert tower_of(catalogue, category=False).category_width == 0


def test_text_of_the_right_width_alone_is_the_tower_itself() -> None:
    catalogue = catalogue_of()
    assert catalogue.text_NF is not None
    config = ItemTowerConfig(width=F, **BARE | {"text": "frozen"})
    tower = ItemTower(config, catalogue, NO_TEXT)
    assert not list(tower.parameters()) and tower.device.type == "cpu"
    ids_E = torch.tensor([4, 3])
    torch.testing.assert_close(tower(tower.facts(catalogue, ids_E)).vectors_ED, catalogue.text_NF[ids_E])
    half = dataclasses.replace(catalogue, text_NF=catalogue.text_NF.half())
    assert tower(tower.facts(half, ids_E)).vectors_ED.dtype == torch.float32


def test_text_of_another_width_alone_is_projected_and_may_be_empty() -> None:
    catalogue = catalogue_of(text_NF=torch.cat([torch.zeros(1, F), torch.ones(N - 1, F)]))
    tower = tower_of(catalogue, **BARE | {"text": "frozen"})
    vectors_ED = tower(tower.facts(catalogue, torch.arange(N))).vectors_ED
    torch.testing.assert_close(vectors_ED.norm(dim=1), torch.ones(N))
    vectors_ED.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


def test_a_step_touches_the_rows_of_its_items_and_every_other_parameter() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue, id_dropout=0.0)
    tower(tower.facts(catalogue, torch.tensor([2, 5, 3]))).vectors_ED[:, 0].sum().backward()
    (name,) = named_tables(tower)
    grad = dict(tower.named_parameters())[name].grad
    assert name == "own.table.rows_ND" and grad is not None and grad.is_sparse
    assert grad.to_dense().any(dim=1).nonzero().squeeze(1).tolist() == [2, 5]
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.is_sparse or parameter.grad.abs().sum() > 0, name


def test_a_step_of_items_that_lack_everything_still_reaches_every_parameter() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue)
    tower(tower.outside(2, text_EF=torch.ones(2, F))).vectors_ED[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.to_dense().isfinite().all() for p in tower.parameters())


def test_rows_that_stand_for_nothing_and_no_rows_at_all_are_finite() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue)
    assert tower(tower.facts(catalogue, torch.tensor([-1, 2]))).vectors_ED.isfinite().all()
    empty = tower(tower.facts(catalogue, torch.tensor([], dtype=torch.int64)))
    assert empty.vectors_ED.shape == (0, D) and empty.categories_EC.shape == (0, CODE_WIDTH)


def test_seeds_decide_what_is_drawn_and_untrained_items_are_told_apart() -> None:
    catalogue = catalogue_of()
    first, again, other = (tower_of(catalogue, seed).eval() for seed in (0, 0, 1))
    facts = first.facts(catalogue, torch.arange(N))
    assert torch.equal(first(facts).vectors_ED, again(facts).vectors_ED)
    assert not torch.allclose(first(facts).vectors_ED, other(facts).vectors_ED)
    cosines = first(facts).vectors_ED @ first(facts).vectors_ED.T
    assert cosines[~torch.eye(N, dtype=torch.bool)].max() < 0.999


def test_vectors_are_float32_unit_vectors_under_autocast() -> None:
    catalogue = catalogue_of()
    tower = tower_of(catalogue).eval()
    facts = tower.facts(catalogue, torch.arange(N))
    with torch.autocast("cpu", torch.bfloat16):
        items = tower(facts)
    assert items.vectors_ED.dtype == items.categories_EC.dtype == torch.float32
    torch.testing.assert_close(items.vectors_ED.norm(dim=1), torch.ones(N))
    torch.testing.assert_close(items.vectors_ED, tower(facts).vectors_ED, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("catalogue", "config", "sentence"),
    [
        (catalogue_of(), BARE, "Nothing is left .*, and so are category, source and tags: set one of ids"),
        (catalogue_of(num_tags=0), BARE | {"tags": True}, "Nothing is left .* the data have no tags"),
        (catalogue_of(text_NF=None), {}, "there are no text vectors"),
        (catalogue_of(text_NF=torch.full((N, F), torch.nan)), {}, "The text vectors of 8 of 8 items hold NaN"),
        (catalogue_of(), {"id_dropout": 1.0}, "id_dropout is 1.0: choose a number from 0 to below 1"),
    ],
)
def test_towers_that_cannot_be(catalogue: Catalogue, config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tower_of(catalogue, **config)


def test_a_width_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="The width of item vectors is 0: choose 1 or more"):
        ItemTower(ItemTowerConfig(width=0), catalogue_of(), NO_TEXT)


def test_outside_items_need_the_text_that_the_tower_reads() -> None:
    tower = tower_of(catalogue_of())
    with pytest.raises(ValueError, match="The item tower reads text: give the text vectors of items from outside"):
        tower.outside(1, category_E=torch.tensor([0]))
    with pytest.raises(ValueError, match="The text vectors of 1 of 1 items hold NaN"):
        tower.outside(1, text_EF=torch.full((1, F), torch.nan))
