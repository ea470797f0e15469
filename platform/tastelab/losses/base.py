"""What a ranking loss and an auxiliary loss offer to the training loop.

Shape letters: B impressions, C candidate slots, H history slots, G groups of impressions, U distinct items, P clicks
of a group, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from tastelab.config import Auxiliary, Loss


class RankingLoss(Loss):
    """A loss of each impression's scores; the caller sums it and divides by the global count of impressions."""

    single_positive: ClassVar[bool] = False
    """Whether the loss is defined for exactly one positive, so that the sampler has to draw one."""
    learned: ClassVar[Mapping[str, float]] = {}
    """Scalars that are trained with the model, by name, and where each starts; `__call__` takes them by keyword."""

    def __call__(self, scores_BC: Tensor, labels_BC: Tensor, mask_BC: Tensor, temperature: Tensor | float) -> Tensor:
        """Return loss_B in float32, 0 where a row has no valid positive; masked slots never enter it."""
        raise NotImplementedError


class AuxiliaryLoss(Auxiliary):
    """A term added to the ranking loss, `weight` times."""

    coupled: ClassVar[bool] = False
    """True: the term couples impressions and is computed over groups, `group_loss`; False: per impression."""
    of_users: ClassVar[bool] = False
    """True: a coupled term of users and what they clicked, `user_loss`."""
    weight: float

    def group_loss(self, vectors_GUD: Tensor, mask_GU: Tensor) -> Tensor:
        """Return loss_G over each group's distinct items, unweighted (a coupled term)."""
        raise NotImplementedError

    def impression_loss(
        self, history_BHD: Tensor, history_mask_BH: Tensor, candidates_BCD: Tensor, candidate_mask_BC: Tensor
    ) -> Tensor:
        """Return loss_B of each impression, unweighted (an uncoupled term)."""
        raise NotImplementedError

    def user_loss(self, users_GBD: Tensor, clicks_GPD: Tensor, user_of_GP: Tensor, mask_GP: Tensor) -> Tensor:
        """Return loss_GB of each impression, unweighted (a coupled term of users), 0 where there is no user or click.

        Args:
            users_GBD: unit vector of each impression's user, zero where the history is empty.
            clicks_GPD: unit vectors of the items that the group's impressions clicked, one for each click.
            user_of_GP: which of the B impressions clicked.
            mask_GP: True for a real click.
        """
        raise NotImplementedError
