"""Model and objective in one module, so that DDP wraps everything that learns.

The loss of a worker is scaled such that DDP's mean over workers is the gradient of the global batch's loss, whatever
the number of workers and micro-steps: sums over valid impressions are divided by their *global* count, and terms that
couple impressions are computed by every worker on the gathered vectors, with gradient through its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tastelab.config import ObjectiveConfig
from tastelab.evaluation.collectives import gather_equal, gather_ragged, rank, world_size
from tastelab.losses.objective import Temperature
from tastelab.modeling.ranker import Ranker, RankerOutput
from tastelab.schema import Batch
from tastelab.training.group_clicks import group_clicks
from tastelab.training.trainable import Trainable


@dataclass(frozen=True)
class Normaliser:
    """What the sums of one optimiser step are divided by: counts over all workers and micro-steps."""

    impressions: float
    groups: float


class TrainingModule(Trainable):
    """A ranker with its objective: `forward` returns this worker's scaled loss and its named parts."""

    def __init__(self, ranker: Ranker, objective: ObjectiveConfig, contrast_size: int) -> None:
        """Join a ranker and an objective.

        Args:
            ranker: the model.
            objective: loss, auxiliaries, temperature.
            contrast_size: impressions per group of a coupled term.
        """
        super().__init__()
        self.ranker = ranker
        self.temperature = Temperature(objective.temperature, objective.learnable_temperature)
        self.loss: Any = objective.loss
        self.ranking_weight = objective.ranking_weight
        self.learned = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(start)) for name, start in getattr(self.loss, "learned", {}).items()}
        )
        self.auxiliaries: tuple[Any, ...] = tuple(
            term for term in objective.auxiliaries if getattr(term, "weight", 1.0)
        )
        self.contrast_size = contrast_size

    def normaliser(self, micro: list[Batch]) -> Normaliser:
        """Count what the sums of one optimiser step are divided by; every rank calls it."""
        return normaliser(micro, self.contrast_size)

    def objective_state(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps beside the model, by name: what the objective learns."""
        named = [(f"temperature.{name}", value) for name, value in self.temperature.named_parameters()]
        named += [(f"loss.{name}", value) for name, value in self.learned.items()]
        return {f"objective.{name}": value for name, value in named if value.requires_grad}

    def forward(self, batch: Batch, by: Normaliser) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute this worker's part of the step's loss.

        Returns:
            The scalar to call `backward` on, and detached parts whose sum over workers and micro-steps is the global
            loss (`loss`), its ranking term and each auxiliary, unweighted.
        """
        output = self.ranker(batch)
        # bfloat16 has 8 bits: enough for the encoder's products, not for a similarity over a temperature of .05.
        with torch.autocast(output.scores_BC.device.type, enabled=False):
            return self._objective(batch, output, by)

    def _objective(self, batch: Batch, output: RankerOutput, by: Normaliser) -> tuple[Tensor, dict[str, Tensor]]:
        valid_B = batch.impression_mask_B
        shown = (output.scores_BC, batch.labels_BC, batch.candidate_mask_BC)
        temperature = self.temperature()
        loss_B = self.loss(*shown, temperature, **self.learned)
        ranking = (loss_B * valid_B).sum() / by.impressions
        # DDP waits for the gradient of a learnable temperature from a loss that does not read it too, and for that of
        # what only scores are made of from a ranking loss of weight 0.
        total = self.ranking_weight * ranking + 0.0 * temperature
        parts, weights = {self.loss.name: ranking.detach()}, {self.loss.name: self.ranking_weight}
        for term in self.auxiliaries:
            value = self._term(term, batch, output, by)
            total = total + term.weight * value
            # Every worker computes the same value of a coupled term with the gradient of its own vectors only; the
            # scale below turns DDP's mean over workers into their sum.
            parts[term.name] = value.detach() / (world_size() if term.coupled else 1)
            weights[term.name] = term.weight
        parts["loss"] = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        return total * world_size(), parts

    def _term(self, term: Any, batch: Batch, output: RankerOutput, by: Normaliser) -> Tensor:
        """Compute an auxiliary; which architecture has the vectors of which is checked before any work (`checks`)."""
        assert output.item_vectors_UD is not None and output.candidates_BCD is not None
        if term.of_users:
            assert output.users_BD is not None
            grouped = group_clicks(batch, output.users_BD, output.item_vectors_UD, self.contrast_size)
            users_loss: Tensor = term.user_loss(*grouped).sum() / by.impressions
            return users_loss
        if term.coupled:
            vectors_GUD, mask_GU = contrast_groups(batch, output.item_vectors_UD, self.contrast_size)
            group_loss: Tensor = (term.group_loss(vectors_GUD, mask_GU) * mask_GU.any(dim=1)).sum() / by.groups
            return group_loss
        assert output.history_BHD is not None
        loss_B = term.impression_loss(
            output.history_BHD, batch.history_mask_BH, output.candidates_BCD, batch.candidate_mask_BC
        )
        impression_loss: Tensor = (loss_B * batch.impression_mask_B).sum() / by.impressions
        return impression_loss


def contrast_groups(batch: Batch, vectors_UD: Tensor, contrast_size: int) -> tuple[Tensor, Tensor]:
    """Gather the distinct candidates of each group of `contrast_size` consecutive impressions of a micro-step.

    Consecutive means in the global batch, over workers. An item that several workers encoded enters once: its copies
    are equal, and any one of them carries the gradient of the text.

    Returns:
        `vectors_GUD` with gradient through this worker's vectors, and `mask_GU`.
    """
    own = rank()
    shards = gather_ragged(vectors_UD)
    start = sum(len(shard) for shard in shards[:own])
    shards[own] = vectors_UD
    vectors_ND = torch.cat(shards)
    item_ids = torch.cat(gather_ragged(batch.item_ids_U))
    index_BC = gather_equal(batch.candidate_index_BC + start)
    mask_BC = gather_equal(batch.candidate_mask_BC)
    group_BC = (torch.arange(len(index_BC), device=index_BC.device) // contrast_size)[:, None].expand_as(index_BC)
    group, index = group_BC[mask_BC], index_BC[mask_BC]
    num_groups = -(-len(index_BC) // contrast_size)
    if not len(group):
        return vectors_ND[:1].expand(num_groups, 1, -1), mask_BC.new_zeros((num_groups, 1))
    key = group * (int(item_ids.max()) + 1) + item_ids[index]
    distinct, inverse = torch.unique(key, return_inverse=True)
    first = torch.full_like(distinct, len(key)).scatter_reduce(
        0, inverse, torch.arange(len(key), device=key.device), "amin"
    )
    group, index = group[first], index[first]
    sizes = torch.bincount(group, minlength=num_groups)
    column = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group]
    index_GU = index.new_zeros((num_groups, int(sizes.max())))
    mask_GU = torch.zeros_like(index_GU, dtype=torch.bool)
    index_GU[group, column], mask_GU[group, column] = index, True
    return vectors_ND[index_GU], mask_GU


def normaliser(batches: list[Batch], contrast_size: int) -> Normaliser:
    """Count the valid impressions and contrast groups of one optimiser step over all workers."""
    masks_AB = torch.stack([batch.impression_mask_B for batch in batches])
    masks_WAB = gather_equal(masks_AB[None].to(torch.uint8)).bool()
    masks_AN = masks_WAB.transpose(0, 1).flatten(1)
    padding = -masks_AN.shape[1] % contrast_size
    groups_AGC = nn.functional.pad(masks_AN, (0, padding)).unflatten(1, (-1, contrast_size))
    impressions, groups = masks_AN.sum(), groups_AGC.any(dim=2).sum()
    return Normaliser(max(1.0, float(impressions)), max(1.0, float(groups)))
