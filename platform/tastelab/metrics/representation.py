"""Health of a representation: how the vectors of items fill their sphere [A §4, methods.md §5].

Every function takes rows that are L2-normalised and computes in float64. Where a quantity does not exist it is NaN:
each docstring says where. A row of zeros is no unit vector, but it is measured as it stands: its cosine with any other
is 0. Rows that are not finite make every quantity NaN.

Shape letters: N items, B of them at a time, P positive pairs, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

NUM_COMPONENTS = 5
CHUNK_FLOATS = 1 << 22
"""Pairs of items whose distances are held at a time: 32 MB."""


def health(
    vectors_ND: ArrayLike, users_PD: ArrayLike | None = None, items_PD: ArrayLike | None = None
) -> dict[str, float]:
    """Measure a sample of item vectors, and of positive pairs where they are given.

    >>> found = health([[1, 0], [0, 1], [-1, 0], [0, -1]])
    >>> {name: round(value, 4) for name, value in found.items()}
    {'mean_cosine': -0.3333, 'uniformity': -1.35, 'pca_top5': 1.0, 'effective_rank': 2.0}

    Args:
        vectors_ND: unit vectors of N items.
        users_PD: unit vectors of users, one per pair.
        items_PD: unit vectors of what these users clicked.

    Returns:
        `mean_cosine`, `uniformity`, `pca_top5`, `effective_rank`, and `alignment` if pairs are given.

    Raises:
        ValueError: arrays that are no matrices, or one side of the pairs without the other.
    """
    rows_ND = _rows(vectors_ND)
    found = {"mean_cosine": mean_cosine(rows_ND), "uniformity": uniformity(rows_ND)}
    if users_PD is not None and items_PD is not None:
        found["alignment"] = alignment(users_PD, items_PD)
    elif users_PD is not None or items_PD is not None:
        raise ValueError("Alignment is measured on pairs: pass users_PD and items_PD together, or neither.")
    variances = _variances(rows_ND)
    return found | {"pca_top5": _top_share(variances, NUM_COMPONENTS), "effective_rank": _exp_entropy(variances)}


def mean_cosine(vectors_ND: ArrayLike) -> float:
    """Compute the mean cosine of two distinct items, `mean_{i<j} z_i · z_j` [A §4].

    It is 1 where all vectors are one, about 0 where they fill the sphere, and at least `-1 / (N - 1)`. The sum of all
    vectors is enough: `(|Σ z_i|² - Σ |z_i|²) / (N (N - 1))`. NaN below 2 items.

    >>> round(mean_cosine([[1, 0], [0, 1], [0.6, 0.8]]), 4)  # (0 + 0.6 + 0.8) / 3
    0.4667
    """
    rows_ND = _rows(vectors_ND)
    num = len(rows_ND)
    if num < 2:
        return float("nan")
    total_D = rows_ND.sum(axis=0)
    return float((total_D @ total_D - np.vdot(rows_ND, rows_ND)) / (num * (num - 1)))


def uniformity(vectors_ND: ArrayLike) -> float:
    """Compute `log mean_{i,j} exp(-2 |z_i - z_j|²)` over all pairs, the diagonal included as [A] writes it.

    Lower is more uniform (Wang and Isola 2020, with t = 2): between -8 and 0, and 0 where all vectors are one, so for
    a single item. The diagonal alone keeps it above `-log N`: compare samples of one size. NaN without items.

    >>> round(uniformity([[1, 0], [0, 1]]), 4)  # log((1 + exp(-4)) / 2)
    -0.675
    """
    rows_ND = _rows(vectors_ND)
    num = len(rows_ND)
    if not num:
        return float("nan")
    squares_N = np.einsum("nd,nd->n", rows_ND, rows_ND)
    step, total = max(1, CHUNK_FLOATS // num), 0.0
    for start in range(0, num, step):
        part = slice(start, start + step)
        distances_BN = squares_N[part, None] + squares_N - 2.0 * rows_ND[part] @ rows_ND.T
        total += float(np.exp(-2.0 * distances_BN).sum())
    return float(np.log(total / num**2))


def alignment(users_PD: ArrayLike, items_PD: ArrayLike) -> float:
    """Compute the mean squared distance of positive pairs, `mean |x - y|²` (Wang and Isola 2020, α = 2).

    Lower is closer: between 0 and 4. NaN without pairs.

    >>> alignment([[1, 0], [1, 0]], [[1, 0], [0, 1]])  # (0 + 2) / 2
    1.0

    Raises:
        ValueError: sides of different shapes.
    """
    users, items = _rows(users_PD), _rows(items_PD)
    if users.shape != items.shape:
        raise ValueError(f"Pass one item per user and one width, not arrays of shapes {users.shape} and {items.shape}.")
    if not len(users):
        return float("nan")
    differences_PD = users - items
    return float(np.vdot(differences_PD, differences_PD) / len(users))


def pca_share(vectors_ND: ArrayLike, k: int = NUM_COMPONENTS) -> float:
    """Compute the share of the variance that the first k principal components hold [A §4].

    The vectors are centred; with λ their covariance's eigenvalues in falling order, `Σ_{i≤k} λ_i / Σ_i λ_i`. It is 1
    with k dimensions or fewer, or with k + 1 items or fewer. NaN without variance, so where all vectors are one.

    >>> round(pca_share([[2, 0], [-2, 0], [0, 1], [0, -1]], k=1), 4)  # variances 2 and 0.5
    0.8

    Raises:
        ValueError: k below 1.
    """
    if k < 1:
        raise ValueError(f"The number of principal components is {k}: choose at least 1.")
    return _top_share(_variances(_rows(vectors_ND)), k)


def effective_rank(vectors_ND: ArrayLike) -> float:
    """Compute the effective rank of the vectors' covariance matrix (Roy and Vetterli 2007).

    `exp(-Σ p_i log p_i)` with `p_i = λ_i / Σ λ` of the covariance's eigenvalues (which are its singular values): the
    number of directions that the vectors vary in, from 1 to min(N - 1, D). Taken of the covariance, not of the matrix
    of vectors, whose singular values are roots and would count more. NaN without variance, as `pca_share`.

    >>> round(effective_rank([[2, 0], [-2, 0], [0, 1], [0, -1]]), 4)  # exp(-0.8 log 0.8 - 0.2 log 0.2)
    1.6494
    """
    return _exp_entropy(_variances(_rows(vectors_ND)))


def _rows(vectors: ArrayLike) -> Floats:
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"Pass vectors as a matrix, one row each, not as an array of shape {rows.shape}.")
    return rows if np.isfinite(rows).all() else np.full_like(rows, np.nan)


def _variances(rows_ND: Floats) -> Floats:
    """Return the shares of the variance by principal component, in falling order; NaN where there is none."""
    if not rows_ND.size or np.isnan(rows_ND).any():  # LAPACK refuses NaN
        return np.full(1, np.nan)
    from_first_ND = rows_ND - rows_ND[0]  # so that equal rows leave exactly 0, whatever the mean's last bits
    centred_ND = from_first_ND - from_first_ND.mean(axis=0)
    gram = centred_ND.T @ centred_ND if centred_ND.shape[1] <= len(centred_ND) else centred_ND @ centred_ND.T
    eigenvalues = np.linalg.eigvalsh(gram)[::-1].clip(min=0.0)
    total = eigenvalues.sum()
    return eigenvalues / total if total > 0 else np.full(1, np.nan)


def _top_share(shares: Floats, k: int) -> float:
    return float(min(shares[:k].sum(), 1.0)) if np.isfinite(shares).all() else float("nan")


def _exp_entropy(shares: Floats) -> float:
    logs = np.log(shares, out=np.zeros_like(shares), where=shares != 0)  # 0 log 0 = 0
    return float(np.exp(-(shares * logs).sum()))
