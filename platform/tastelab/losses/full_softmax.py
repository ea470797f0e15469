"""Maximum likelihood over the whole catalogue: the naive baseline, exact where it fits [B], methods.md §6.

Shape letters: N examples, M items of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

from tastelab.config import CandidateLoss
from tastelab.losses.contrast import Contrast, ContrastiveLoss, Terms, Wants
from tastelab.losses.contrasting import log_likelihood

MOST_ITEMS = 200_000


@CandidateLoss.register("full_softmax")
@dataclass(frozen=True)
class FullSoftmax(ContrastiveLoss):
    """`−log [exp phi(x, y) / Σ_{y' of the catalogue} exp phi(x, y')]`; its optimum is p_data."""

    def wants(self, num_items: int) -> Wants:
        """Ask for every item in every step."""
        return Wants(catalogue=True)

    def check(self, num_items: int, num_clicks: int) -> None:
        """Refuse a catalogue that is too large to be encoded in every step."""
        if num_items > MOST_ITEMS:
            raise ValueError(
                f"full_softmax encodes every item in every step and takes at most {MOST_ITEMS:,}, the catalogue has "
                f"{num_items:,}: choose sampled_softmax or clrec."
            )

    def __call__(self, contrast: Contrast) -> Terms:
        """Return the loss of each example, loss_N."""
        return Terms(-log_likelihood(contrast), {})
