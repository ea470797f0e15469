"""What user towers have in common: clean slots, weights of clicks, a residual MLP, the user without a click [B].

Shape letters: B windows, S slots, N queries, D width, E width of category vectors, G width inside an MLP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from tastelab.modeling.histories import Histories


class ClickWeights(nn.Module):
    """`p_t`, the softmax over the clicks seen of an MLP on what is known of each click [B, MLP₂], methods.md §6.

    The MLP reads the item vector, the category vector where items have one, the log of the time from the click to the
    query, and the log of the dwell time; times each with whether they are known. What the data do not have has no
    input. The MLP's last layer starts at zero, and all clicks with equal weights.
    """

    def __init__(self, width: int, category_width: int, has_times: bool, has_dwell: bool, hidden_width: int) -> None:
        """Build the MLP; its first layer is in two, so that what does not depend on the query is computed once."""
        super().__init__()
        self.category_width, self.has_dwell = category_width, has_dwell
        self.clicks = nn.Linear(width + category_width + 2 * has_dwell, hidden_width)
        self.gaps = nn.Linear(2, hidden_width, bias=False) if has_times else None
        if self.gaps is not None:
            bound = 1.0 / math.sqrt(self.clicks.in_features + 2)
            nn.init.uniform_(self.gaps.weight, -bound, bound)
        self.out = nn.Linear(hidden_width, 1, bias=False)  # a bias would shift all clicks alike
        nn.init.zeros_(self.out.weight)

    def forward(self, histories: Histories, seen_NS: Tensor) -> Tensor:
        """Return weights_NS, which sum to 1 over the clicks that a query sees; all 0 where it sees none."""
        hidden_NSG = histories.of_queries(self.clicks(self._of_clicks(histories)))
        if self.gaps is not None:
            hidden_NSG = hidden_NSG + self.gaps(_gaps(histories, seen_NS))
        logits_NS = self.out(gelu(hidden_NSG)).squeeze(-1)
        # The lowest number, not -inf: softmax over a row of -inf is NaN, and its gradient too.
        weights_NS: Tensor = logits_NS.masked_fill(~seen_NS, torch.finfo(logits_NS.dtype).min).softmax(dim=1)
        return weights_NS * seen_NS

    def _of_clicks(self, histories: Histories) -> Tensor:
        """Join what is known of clicks whoever asks."""
        vectors_BSD = clean(histories.vectors_BSD, histories.mask_BS)
        parts = [vectors_BSD * math.sqrt(vectors_BSD.shape[-1])]  # entries of unit vectors are near 1/√D
        if self.category_width:
            assert histories.categories_BSE is not None
            parts.append(clean(histories.categories_BSE, histories.mask_BS))
        if self.has_dwell:
            parts.append(_dwell(histories))
        return torch.cat(parts, dim=-1)


def _gaps(histories: Histories, seen_NS: Tensor) -> Tensor:
    gaps = histories.log_gaps_NS()
    if gaps is None:
        return torch.zeros(*seen_NS.shape, 2, device=seen_NS.device)
    return torch.stack([gaps[0], gaps[1].to(gaps[0].dtype)], dim=-1)


def _dwell(histories: Histories) -> Tensor:
    """Return log(1 + seconds), 0 where unknown, and whether they are known: (B, S, 2)."""
    mask_BS = histories.mask_BS
    if histories.dwell_BS is None:
        return torch.zeros(*mask_BS.shape, 2, device=mask_BS.device)
    known_BS = histories.dwell_BS.isfinite() & mask_BS
    seconds_BS = histories.dwell_BS.masked_fill(~known_BS, 0.0).clamp(min=0.0)
    return torch.stack([seconds_BS.log1p(), known_BS.to(seconds_BS.dtype)], dim=-1)


class ResidualMLP(nn.Module):
    """`x + W₂ gelu(W₁ √D [x; …] + b₁) + b₂`; starts as the identity."""

    def __init__(self, width: int, num_further: int = 0) -> None:
        """Read x of `width` entries, and further ones beside it."""
        super().__init__()
        self.hidden = nn.Linear(width + num_further, 2 * width)
        self.out = nn.Linear(2 * width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor, further: Tensor | None = None) -> Tensor:
        """Return an output of the shape of `inputs`, (…, D)."""
        joined = inputs if further is None else torch.cat([inputs, further], dim=-1)
        moved: Tensor = self.out(gelu(self.hidden(joined * math.sqrt(inputs.shape[-1]))))
        return inputs + moved


class NoClick(nn.Module):
    """The learned unit vectors of a user who has clicked nothing."""

    def __init__(self, *shape: int) -> None:
        """Draw a vector of `shape` (D,), or several of (K, D), of length near 1."""
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(*shape) / math.sqrt(shape[-1]))

    def forward(self, users: Tensor, some_N: Tensor) -> Tensor:
        """Put the learned vectors in place of users (N, …, D) who have clicked nothing, where `some_N` is False."""
        return torch.where(some_N.view(-1, *[1] * (users.dim() - 1)), users, normalize(self.vectors, dim=-1))


def clean(vectors_BSD: Tensor, mask_BS: Tensor) -> Tensor:
    """Put zeros where a mask is False, whatever is there; in float32."""
    return vectors_BSD.float().masked_fill(~mask_BS.unsqueeze(-1), 0.0)


def in_float32(tensor: Tensor) -> torch.autocast:
    """Keep autocast off while users are computed: bf16 cosines of one user would tie."""
    return torch.autocast(tensor.device.type, enabled=False)
