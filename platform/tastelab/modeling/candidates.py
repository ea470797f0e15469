"""The two towers of candidate generation [B]: item facts in, unit vectors out; histories in, users out.

Shape letters: E items of any set, D width, C width of category vectors; others as in `histories`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tastelab.config import ModelConfig, RetrievalConfig
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.item_tower import ItemTower, ItemVectors, TextSource
from tastelab.modeling.user_multi_clrec import MultiCLRecUsers
from tastelab.schema import Catalogue


@dataclass(frozen=True)
class CandidateResources:
    """What the two towers are built from beside their configuration."""

    catalogue: Catalogue
    encoder_path: str = ""
    """Folder or hub id of the encoder, where text is trained."""
    token_budget: int = 16_384
    reuse_mb: int = 2_048
    has_times: bool = False
    has_dwell: bool = False
    max_history: int = 50


class CandidateModel(nn.Module):
    """Item tower and user tower; what is known of the items is beside them, on the CPU, and in no checkpoint."""

    def __init__(self, item_tower: ItemTower, user_tower: UserTowerModule, catalogue: Catalogue) -> None:
        """Join the towers over a catalogue."""
        super().__init__()
        self.item_tower = item_tower
        self.user_tower = user_tower
        self.catalogue = catalogue

    @property
    def width(self) -> int:
        """Length of item and user vectors."""
        return self.item_tower.width

    def items(self, ids_E: Tensor) -> ItemVectors:
        """Compute the vectors of items by their rows, on the model's device."""
        items: ItemVectors = self.item_tower(self.item_tower.facts(self.catalogue, ids_E))
        return items

    def categories(self, ids_E: Tensor) -> Tensor:
        """Look up the category vectors of items by their rows, (E, C); nothing else of the items is computed."""
        return self.item_tower.category_vectors(self.catalogue, ids_E)

    def users(self, histories: Histories) -> Users:
        """Compute the users of all queries."""
        users: Users = self.user_tower(histories)
        return users


def build_candidate_model(
    model: ModelConfig, config: RetrievalConfig, resources: CandidateResources, seed: int = 0
) -> CandidateModel:
    """Build the towers that `config` describes; new parameters are drawn from `seed` and disturb no other draw.

    Raises `ValueError` where a part is asked for that the data do not have, or nothing is left of an item.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        text = TextSource(model, resources.encoder_path, resources.token_budget, resources.reuse_mb)
        tower = cast(UserTowerConfig, config.user)
        if isinstance(tower, MultiCLRecUsers) and tower.temperature is None:
            tower = dataclasses.replace(tower, temperature=config.temperature)  # methods.md §6 has one ρ
        item_tower = ItemTower(config.items, resources.catalogue, text, tower.needs_categories)
        user_tower = tower.build(
            item_tower.width, item_tower.category_width, resources.has_times, resources.has_dwell, resources.max_history
        )
    return CandidateModel(item_tower, user_tower, resources.catalogue)
