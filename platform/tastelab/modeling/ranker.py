"""A ranker: texts of a batch in, one score per candidate out; and how one is built, saved and counted.

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.text_encoder import TOKEN_BUDGET
from tastelab.schema import Batch


@dataclass(frozen=True)
class RankerOutput:
    """Scores, and the vectors they were made of for the auxiliary losses; all float32, masked slots finite."""

    scores_BC: Tensor
    item_vectors_UD: Tensor
    history_BHD: Tensor
    candidates_BCD: Tensor


class Ranker(nn.Module):
    """What every architecture offers to training, evaluation and serving."""

    @property
    def width(self) -> int:
        """Length of an item vector."""
        raise NotImplementedError

    def encode_items(self, tokens_UT: Tensor, mask_UT: Tensor) -> Tensor:
        """Encode items to float32 unit vectors (U, D)."""
        raise NotImplementedError

    def score(self, history_BHD: Tensor, history_mask_BH: Tensor, candidates_BCD: Tensor) -> Tensor:
        """Score candidates against histories of item vectors, in float32 whatever autocast says: scores_BC."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> RankerOutput:
        """Encode each distinct item once, gather the slots and score."""
        raise NotImplementedError


class RankerArchitecture(Architecture):
    """What every architecture's configuration offers."""

    def build(self, config: ModelConfig, encoder_path: str, token_budget: int) -> Ranker:
        """Build the ranker on an encoder's folder or hub id."""
        raise NotImplementedError


def build_ranker(config: ModelConfig, encoder_path: str, token_budget: int = TOKEN_BUDGET, seed: int = 0) -> Ranker:
    """Build the ranker that `config` describes; new parameters are drawn from `seed` and disturb no other draw."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return cast(RankerArchitecture, config.architecture).build(config, encoder_path, token_budget)


def trainable_state(ranker: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training changes, by name: with the encoder, all that a checkpoint needs."""
    return {name: p.detach().contiguous() for name, p in ranker.named_parameters() if p.requires_grad}


def load_trainable_state(ranker: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy a `trainable_state` into a ranker of the same configuration.

    Raises `ValueError` where names or shapes differ: the checkpoint then belongs to another model.
    """
    own = trainable_state(ranker)
    wrong = sorted(own.keys() ^ state.keys()) or [name for name in own if own[name].shape != state[name].shape]
    if wrong:
        raise ValueError(
            f"The checkpoint does not fit the model: {len(wrong)} parameters differ, the first is {wrong[0]}; "
            "load it with the configuration and encoder that it was trained with."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


def num_trainable(ranker: nn.Module) -> int:
    """Count the parameters that training changes."""
    return sum(p.numel() for p in ranker.parameters() if p.requires_grad)


def num_parameters(ranker: nn.Module) -> int:
    """Count all parameters."""
    return sum(p.numel() for p in ranker.parameters())
