"""How far q(y) ≈ p_data(y) holds, [B]'s assumption, in data that log what was shown ([B], methods.md §6).

q(y) is the share of an item in all that was shown, p_data(y) its share in all that was clicked, both counted over the
impressions of a split. That is [B]'s q only where candidates are what a system showed: a policy's log, as of MIND
or of an exposure world. Where candidates are drawn or are windows in time, the same counts describe that instead.

Shape letters: N items, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.stats import rankdata

from tastelab.data.ragged import flat
from tastelab.data.tables import PreparedData

BINS = 12
PRIOR = 0.5
"""Added to every count before a divergence is taken (Jeffreys), so that an item never clicked is no infinity."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Exposure:
    """How often each item was shown and clicked."""

    shown_N: Ints
    clicked_N: Ints

    @property
    def q_N(self) -> Floats:
        """Share of each item in what was shown."""
        return np.asarray(self.shown_N / self.shown_N.sum())

    @property
    def p_N(self) -> Floats:
        """Share of each item in what was clicked."""
        return np.asarray(self.clicked_N / self.clicked_N.sum())


def count_exposure(data: PreparedData, split: str = "train") -> Exposure:
    """Count candidates and clicks of a split, one file at a time.

    Raises:
        ValueError: the split has no labels, shows nothing, or nothing of it was clicked.
    """
    if not data.has_labels(split):
        raise ValueError(
            f"The {split} split of '{data.name}' has no labels: choose a split that says what was clicked."
        )
    shown_N, clicked_N = np.zeros(data.num_items, np.int64), np.zeros(data.num_items, np.int64)
    for file in data.files(split):
        table = pq.read_table(file, columns=["candidates", "labels"])
        table = table.filter(table["labels"].is_valid())
        candidates, labels = flat(table["candidates"])[0], flat(table["labels"])[0]
        shown_N += np.bincount(candidates, minlength=data.num_items)
        clicked_N += np.bincount(candidates[labels == 1], minlength=data.num_items)
    if not clicked_N.any():
        raise ValueError(f"Nothing was clicked in the {split} split of '{data.name}': choose data with clicks.")
    return Exposure(shown_N, clicked_N)


def agreement(exposure: Exposure, num_bins: int = BINS) -> dict[str, Any]:
    """Compare q(y) and p_data(y), over the items that were shown.

    Returns:
        `num_shown`, `num_clicks`, `num_items` and, of these, `num_items_clicked`; `correlation`, Spearman's, of the
        shares; `pearson` of their logarithms and `slope` of log p_data on log q, over items that were clicked; None
        where fewer than two differ. `kl_p_q` and `kl_q_p` in nats, of counts with ½ added; `total_variation`, half the
        sum of absolute differences. `shown`, `clicked` and `share`: see `curve`.
    """
    seen_N = exposure.shown_N > 0
    shown_N, clicked_N = exposure.shown_N[seen_N], exposure.clicked_N[seen_N]
    q_N, p_N = exposure.q_N[seen_N], exposure.p_N[seen_N]
    both_N = clicked_N > 0
    pearson, slope = _fit(np.log(q_N[both_N]), np.log(p_N[both_N]))
    smooth_q_N, smooth_p_N = ((counts + PRIOR) / (counts + PRIOR).sum() for counts in (shown_N, clicked_N))
    return {
        "num_shown": int(shown_N.sum()),
        "num_clicks": int(clicked_N.sum()),
        "num_items": len(q_N),
        "num_items_clicked": int(both_N.sum()),
        "correlation": _fit(rankdata(q_N), rankdata(p_N))[0],
        "pearson": pearson,
        "slope": slope,
        "kl_p_q": float(np.sum(smooth_p_N * np.log(smooth_p_N / smooth_q_N))),
        "kl_q_p": float(np.sum(smooth_q_N * np.log(smooth_q_N / smooth_p_N))),
        "total_variation": float(np.abs(p_N - q_N).sum() / 2),
        **curve(q_N, p_N, num_bins),
    }


def curve(q_N: Floats, p_N: Floats, num_bins: int = BINS) -> dict[str, list[float]]:
    """Return mean q(y), mean p_data(y) and the share of items in bins of equal width of log q(y), empty bins left out.

    Items that were never clicked are in the means, so that nothing is selected by what is measured.
    """
    log_q_N = np.log(q_N)
    edges = np.linspace(log_q_N.min(), log_q_N.max(), num_bins + 1)
    bin_N = np.searchsorted(edges[1:-1], log_q_N, side="right")
    count_B = np.bincount(bin_N, minlength=num_bins)
    filled = count_B > 0
    shown_B, clicked_B = (np.bincount(bin_N, share_N, num_bins)[filled] / count_B[filled] for share_N in (q_N, p_N))
    return {
        "shown": shown_B.tolist(),
        "clicked": clicked_B.tolist(),
        "share": (count_B[filled] / len(q_N)).tolist(),
    }


def has_exposure(data: PreparedData, split: str = "train") -> bool:
    """Tell whether a split logs what was shown and what of it was clicked."""
    return split in data.splits and data.has_labels(split)


def exposure_report(data: PreparedData, split: str = "train") -> dict[str, Any]:
    """Count a split and compare what was shown with what was clicked: `agreement` of `count_exposure`."""
    return agreement(count_exposure(data, split))


def _fit(x_N: Floats, y_N: Floats) -> tuple[float | None, float | None]:
    """Return Pearson's correlation and the least-squares slope of y on x; None where either does not vary."""
    if len(x_N) < 2 or np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return None, None
    dx_N, dy_N = x_N - x_N.mean(), y_N - y_N.mean()
    product = dx_N @ dy_N
    return float(product / np.sqrt((dx_N @ dx_N) * (dy_N @ dy_N))), float(product / (dx_N @ dx_N))
