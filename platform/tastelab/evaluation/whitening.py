"""ZCA whitening of item vectors, fitted on the training items: a transform at evaluation time (methods.md §5).

Shape letters: N items, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

CHUNK_ITEMS = 8_192
"""Items that are held in float64 at a time."""


@dataclass(frozen=True)
class Whitening:
    """What centres and decorrelates item vectors: `x → normalise((x - mean) @ matrix)`."""

    mean_D: Tensor
    """Mean of the fitted vectors, float64."""
    matrix_DD: Tensor
    """Symmetric, float64; the inverse root of the fitted covariance."""

    def __call__(self, vectors: Tensor) -> Tensor:
        """Whiten vectors of any leading shape (…, D) and bring them to unit length, in float32 or better.

        A vector that equals the mean has no direction: it becomes 0, whose cosine with any other is 0.
        """
        dtype = torch.promote_types(vectors.dtype, torch.float32)
        with torch.autocast(vectors.device.type, enabled=False):
            return normalize(self.unnormalised(vectors.to(dtype)), dim=-1)

    def unnormalised(self, vectors: Tensor) -> Tensor:
        """Return `(x - mean) @ matrix`, whose covariance over the fitted vectors is about the identity."""
        return (vectors - self.mean_D.to(vectors)) @ self.matrix_DD.to(vectors)

    def save(self, file: Path) -> None:
        """Write the transform as safetensors."""
        save_file({"mean_D": self.mean_D.cpu().contiguous(), "matrix_DD": self.matrix_DD.cpu().contiguous()}, file)

    @staticmethod
    def load(file: Path, device: torch.device | str = "cpu") -> Whitening:
        """Read what `save` wrote."""
        return Whitening(**{name: value.to(device) for name, value in load_file(file).items()})


def fit_whitening(vectors_ND: Tensor, shrinkage: float | None = None) -> Whitening:
    """Fit a ZCA whitening: `W = U diag(λ')^(-1/2) Uᵀ`, with U and λ of the vectors' covariance `U diag(λ) Uᵀ`.

    Of all whitenings ZCA moves the vectors least (Kessy, Lewin and Strimmer 2018), and turning the vectors turns the
    result alike. Each eigenvalue is drawn towards the mean one, `λ' = (1 - s) λ + s mean(λ)`, so that no direction is
    stretched by more than `1 / sqrt(s mean(λ))`. Without it a direction in which the fitted items do not vary, and with
    N ≤ D there always is one, would be stretched without bound and drown the others in an item that was not fitted.
    Vectors that are all equal are only centred: W is the identity.

    Args:
        vectors_ND: vectors of the training items, on any device.
        shrinkage: s from 0 (excluded) to 1; None takes the estimate of `oas_shrinkage`, small for N much above D.

    Returns:
        The transform, on the device of the vectors.

    Raises:
        ValueError: no vectors, some that are not finite, or a shrinkage outside (0, 1].
    """
    if vectors_ND.dim() != 2 or not len(vectors_ND):
        raise ValueError(f"Pass vectors of at least one item as rows of a matrix, not shape {tuple(vectors_ND.shape)}.")
    if shrinkage is not None and not 0.0 < shrinkage <= 1.0:
        raise ValueError(f"The shrinkage is {shrinkage}: choose above 0 and up to 1, or None to have it estimated.")
    mean_D, covariance_DD = _moments(vectors_ND.detach())
    if not torch.isfinite(covariance_DD).all():
        raise ValueError("Some vectors are not finite: look for overflow in the model before whitening.")
    eigenvalues_D, directions_DD = torch.linalg.eigh(covariance_DD)
    share = oas_shrinkage(eigenvalues_D, len(vectors_ND)) if shrinkage is None else shrinkage
    shrunk_D = (1.0 - share) * eigenvalues_D.clamp(min=0.0) + share * eigenvalues_D.mean()
    scales_D = shrunk_D.rsqrt() if shrunk_D.min() > 0 else torch.ones_like(shrunk_D)
    matrix_DD = (directions_DD * scales_D) @ directions_DD.T
    return Whitening(mean_D.to(vectors_ND.device), matrix_DD.to(vectors_ND.device))


def oas_shrinkage(eigenvalues_D: Tensor, num_items: int) -> float:
    """Estimate how far to draw a covariance's eigenvalues to their mean: OAS (Chen et al. 2010, equation 23).

    `s = min(1, (Σλ² + (Σλ)²) / ((N + 1) (Σλ² - (Σλ)²/D)))`, its terms in 2/D left out, as D is large; 1 where all
    eigenvalues are equal.
    """
    squares, square = float(eigenvalues_D.square().sum()), float(eigenvalues_D.sum()) ** 2
    spread = (num_items + 1.0) * (squares - square / len(eigenvalues_D))
    return min(1.0, (squares + square) / spread) if spread > 0 else 1.0


def _moments(vectors_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance (divided by N) in float64, on the CPU, where every machine has float64."""
    first_D = vectors_ND[0].double().cpu()  # measured from it, equal vectors have exactly no covariance
    blocks = vectors_ND.split(CHUNK_ITEMS)
    offset_D = torch.stack([(block.double().cpu() - first_D).sum(dim=0) for block in blocks]).sum(0) / len(vectors_ND)
    covariance_DD = torch.zeros(vectors_ND.shape[1], vectors_ND.shape[1], dtype=torch.float64)
    for block in blocks:
        centred_BD = block.double().cpu() - first_D - offset_D
        covariance_DD += centred_BD.T @ centred_BD
    return first_D + offset_D, covariance_DD / len(vectors_ND)
