"""Kernel Inception distance: squared maximum mean discrepancy with the kernel (x·y / D + 1)³.

Bińkowski et al. 2018, "Demystifying MMD GANs", section 4 (kernel) and appendix (estimators). Unlike FID it is
unbiased, so that few images suffice, and may be negative.

Suffixes: M rows of the first set, N of the second, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError
from evals.metrics.gaussians import check_features, check_same_width

VERSION = "kid-poly3-1"
_ROWS = 2048  # of the kernel matrix at once: 30,000 images squared would be 7 GB


@dataclass(frozen=True)
class Kid:
    """The three estimators of one quantity.

    Attributes:
        unbiased: without the diagonals of the two inner matrices. The one that papers print as KID.
        biased: with them; never negative.
        u_statistic: without the diagonal of the cross matrix too; None where the sets differ in size.
    """

    unbiased: float
    biased: float
    u_statistic: float | None


def kernel_distance(a_MD: npt.NDArray, b_ND: npt.NDArray, names: tuple[str, str] = ("A", "B")) -> Kid:
    """All three estimators on whole sets.

    Raises:
        EvaluationError: see :func:`~evals.metrics.gaussians.check_features`; or widths differ.
    """
    first_MD, second_ND = (check_features(x, name) for x, name in zip((a_MD, b_ND), names, strict=True))
    check_same_width(first_MD.shape[1], second_ND.shape[1], *names)
    m, n = len(first_MD), len(second_ND)
    inner_a, diagonal_a = _sums(first_MD, first_MD)
    inner_b, diagonal_b = _sums(second_ND, second_ND)
    cross, diagonal = _sums(first_MD, second_ND)
    without = (inner_a - diagonal_a) / (m * (m - 1)) + (inner_b - diagonal_b) / (n * (n - 1))
    return Kid(
        unbiased=without - 2 * cross / (m * n),
        biased=inner_a / m**2 + inner_b / n**2 - 2 * cross / (m * n),
        u_statistic=without - 2 * (cross - diagonal) / (m * (m - 1)) if m == n else None,
    )


def kernel_distance_of_subsets(
    a_MD: npt.NDArray, b_ND: npt.NDArray, subsets: int, size: int, seed: int, names: tuple[str, str] = ("A", "B")
) -> tuple[float, float]:
    """Mean and standard deviation (over subsets) of the unbiased estimator on random subsets, as papers report it.

    Subsets are drawn as torch-fidelity draws them (``numpy.random.RandomState(seed)``, first set first), so that the
    same features and seed give its numbers.

    Raises:
        EvaluationError: as :func:`kernel_distance`; or a subset would hold more rows than a set has, or fewer than two.
    """
    first_MD, second_ND = (check_features(x, name) for x, name in zip((a_MD, b_ND), names, strict=True))
    least = min(len(first_MD), len(second_ND))
    if not 2 <= size <= least or subsets < 1:
        raise EvaluationError(
            f"{subsets} subsets of {size} rows cannot be drawn: the smaller set has {least} rows.",
            f"At least 1 subset of 2 to {least} rows, e.g. --subset-size {least}.",
        )
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        chosen_a = random.choice(len(first_MD), size, replace=False)
        chosen_b = random.choice(len(second_ND), size, replace=False)
        values.append(kernel_distance(first_MD[chosen_a], second_ND[chosen_b], names).unbiased)
    return float(np.mean(values)), float(np.std(values))


def _sums(a_MD: npt.NDArray[np.float64], b_ND: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Sum of the kernel over all pairs, and over pairs of the same place."""
    width = a_MD.shape[1]
    parts = [
        float((((a_MD[start : start + _ROWS] @ b_ND.T) / width + 1) ** 3).sum()) for start in range(0, len(a_MD), _ROWS)
    ]
    least = min(len(a_MD), len(b_ND))
    same = (np.einsum("nd,nd->n", a_MD[:least], b_ND[:least]) / width + 1) ** 3
    return float(np.sum(parts)), float(same.sum())
