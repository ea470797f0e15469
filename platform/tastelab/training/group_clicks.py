"""The users of each group of impressions and what they clicked, gathered over the workers.

Shape letters: B impressions of a group (of a worker, where a batch is meant), C candidate slots, G groups, U distinct
items of a batch, P clicks of a group, N clicks of all groups, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from tastelab.evaluation.collectives import gather_equal, gather_ragged, rank
from tastelab.schema import Batch


def group_clicks(
    batch: Batch, users_BD: Tensor, vectors_UD: Tensor, contrast_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gather users and clicked items of each group of `contrast_size` consecutive impressions of a micro-step.

    Consecutive means in the global batch, over workers. Every click is kept, however often its item was clicked.

    Returns:
        `users_GBD` and `clicks_GPD` with gradient through this worker's vectors; `user_of_GP` and `mask_GP` as
        `AuxiliaryLoss.user_loss` takes them. Every rank has to call it.
    """
    clicked_BC = (batch.labels_BC > 0) & batch.candidate_mask_BC & batch.impression_mask_B[:, None]
    impression_N = clicked_BC.nonzero()[:, 0] + rank() * len(users_BD)
    clicks_ND = _with_own(gather_ragged(own := vectors_UD[batch.candidate_index_BC[clicked_BC]]), own)
    owner_N = torch.cat(gather_ragged(impression_N))
    all_BD = _with_own(list(gather_equal(users_BD).split(len(users_BD))), users_BD)
    num_groups = -(-len(all_BD) // contrast_size)
    users_GBD = pad(all_BD, (0, 0, 0, num_groups * contrast_size - len(all_BD))).unflatten(0, (num_groups, -1))
    group_N = owner_N // contrast_size
    sizes_G = torch.bincount(group_N, minlength=num_groups)
    place_N = torch.arange(len(group_N), device=group_N.device) - (sizes_G.cumsum(0) - sizes_G)[group_N]
    shape = (num_groups, max(1, int(sizes_G.max())))
    mask_GP = torch.zeros(shape, dtype=torch.bool, device=group_N.device)
    user_of_GP = torch.zeros(shape, dtype=torch.int64, device=group_N.device)
    mask_GP[group_N, place_N], user_of_GP[group_N, place_N] = True, owner_N % contrast_size
    clicks_GPD = clicks_ND.new_zeros((*shape, clicks_ND.shape[1])).index_put((group_N, place_N), clicks_ND)
    return users_GBD, clicks_GPD, user_of_GP, mask_GP


def _with_own(shards: list[Tensor], own: Tensor) -> Tensor:
    """Join the shards of the workers, this worker's with its gradient."""
    return torch.cat([*shards[: rank()], own, *shards[rank() + 1 :]])
