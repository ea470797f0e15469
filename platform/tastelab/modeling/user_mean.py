"""The user as the mean of their clicks.

Shape letters: B windows, S slots, N queries, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import normalize, pad

from tastelab.config import UserTower
from tastelab.modeling.histories import Histories, Users, UserTowerConfig, UserTowerModule
from tastelab.modeling.user_parts import NoClick, clean, in_float32


@UserTower.register("mean")
@dataclass(frozen=True)
class MeanUsers(UserTowerConfig):
    """`normalize(Σ_t g(y_t))`."""

    prefixes: ClassVar[bool] = True

    def build(
        self, width: int, category_width: int, has_times: bool, has_dwell: bool, max_history: int
    ) -> UserTowerModule:
        """Build the module."""
        return MeanTower(width)


class MeanTower(UserTowerModule):
    """One running sum over a window gives the users of all its prefixes."""

    def __init__(self, width: int) -> None:
        """Draw the vector of a user without clicks: all that is learned."""
        super().__init__()
        self.no_click = NoClick(width)

    def forward(self, histories: Histories) -> Users:
        """Return the users of all queries."""
        with in_float32(histories.vectors_BSD):
            mask_BS = histories.mask_BS
            sums_BSD = pad(clean(histories.vectors_BSD, mask_BS).cumsum(dim=1), (0, 0, 1, 0))
            counts_BS = pad(mask_BS.cumsum(dim=1), (1, 0))
            end_N = histories.end_N.clamp(max=mask_BS.shape[1])
            users_ND = normalize(sums_BSD[histories.row_N, end_N], dim=-1)
            users_ND = self.no_click(users_ND, counts_BS[histories.row_N, end_N] > 0)
        return Users(users_ND.unsqueeze(1))
