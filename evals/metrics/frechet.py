"""Fréchet distance between two sets of features, each taken as normally distributed: FID on Inception features.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule", section 2 (the distance); Dowson and Landau 1982
(its closed form). The usual code takes a matrix square root of Σ₁Σ₂, which for singular covariances (fewer images than
features) is lost in rounding, and may be complex. Here the part of the covariances is the Bures distance in its
Procrustes form,

    tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½) = min over orthogonal Q of ‖F₁ - F₂Q‖²,   Σᵢ = Fᵢ Fᵢᵀ,

with the best Q from the singular vectors of F₁ᵀF₂: a sum of squares, so that nothing cancels and nothing is negative.

Suffixes: D features, R columns of a factor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.metrics.gaussians import Gaussian, check_same_width, from_features

VERSION = "frechet-procrustes-1"


def frechet_distance(a: Gaussian, b: Gaussian, names: tuple[str, str] = ("A", "B")) -> float:
    """Squared Fréchet distance, the number that FID tables print; at least 0.

    Raises:
        EvaluationError: features of different widths.
    """
    check_same_width(a.mean_D.size, b.mean_D.size, *names)
    columns = max(a.factor_DR.shape[1], b.factor_DR.shape[1])
    first_DR, second_DR = (_padded(side.factor_DR, columns) for side in (a, b))
    import scipy.linalg  # here: plans import this module, and stay light

    left_RR, _, right_RR = scipy.linalg.svd(first_DR.T @ second_DR, check_finite=False)
    apart_DR = first_DR - second_DR @ (left_RR @ right_RR).T
    shift_D = a.mean_D - b.mean_D
    return float(shift_D @ shift_D + np.sum(apart_DR**2))


def frechet_of_features(a_ND: npt.NDArray, b_ND: npt.NDArray) -> float:
    """:func:`frechet_distance` of two sets of features [N, D].

    Raises:
        EvaluationError: see :func:`~evals.metrics.gaussians.from_features`; or widths differ.
    """
    return frechet_distance(from_features(a_ND, "A"), from_features(b_ND, "B"))


def _padded(factor_DR: npt.NDArray[np.float64], columns: int) -> npt.NDArray[np.float64]:
    return np.pad(factor_DR, ((0, 0), (0, columns - factor_DR.shape[1])))
