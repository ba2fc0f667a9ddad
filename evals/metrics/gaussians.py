"""What a Fréchet distance knows of a set of features: its mean, and a factor of its covariance.

Suffixes: N rows (images), D features, R columns of a factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-4  # of the greatest: what statistics that were saved in single precision may be off by


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution in feature space.

    Attributes:
        mean_D: its mean.
        factor_DR: F with F Fᵀ the covariance. Never the covariance itself: that squares the condition number, and its
            eigenvalues are then known to the square root of the machine's precision only.
        rows: number of rows that it was estimated from; None where only statistics were given.
    """

    mean_D: Floats
    factor_DR: Floats
    rows: int | None = None


def check_features(features_ND: npt.NDArray, name: str, least: int = 2) -> Floats:
    """Features as float64 [N, D].

    Args:
        features_ND: what was given.
        name: of the file or array, for the error.
        least: fewest rows.

    Raises:
        EvaluationError: no real numbers, no table, too few rows, or NaN or infinity among them, with row and column.
    """
    array = np.asarray(features_ND)
    if array.dtype.kind not in "fiu":
        raise EvaluationError(
            f"{name} has dtype {array.dtype}, which are no real numbers.", "Save features as float32 or float64 [N, D]."
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise EvaluationError(
            f"{name} has shape {list(array.shape)}, not [N, D].", "One row an image, one column a feature."
        )
    if len(array) < least:
        raise EvaluationError(f"{name} has {len(array)} rows; at least {least} are needed.", "Give more images.")
    check_finite(array, name)
    return array.astype(np.float64)


def check_finite(array: npt.NDArray, name: str) -> None:
    """Raises EvaluationError that names the first place at which an array holds NaN or infinity."""
    wrong = ~np.isfinite(array)
    if wrong.any():
        place = ", ".join(str(int(axis[0])) for axis in np.nonzero(wrong))
        value = array[np.nonzero(wrong)][0] if array.ndim else array
        raise EvaluationError(
            f"{name}[{place}] is {value}, and {int(wrong.sum()) - 1} more are not finite.",
            "Find out which images the extractor failed on.",
        )


def check_same_width(a: int, b: int, name_a: str, name_b: str) -> None:
    """Raises EvaluationError where two sets of features cannot be of one extractor."""
    if a != b:
        raise EvaluationError(
            f"{name_a} has {a} features, {name_b} has {b}.", "Take both from the same extractor and layer."
        )


def from_features(features_ND: npt.NDArray, name: str = "features") -> Gaussian:
    """Mean, and covariance with N - 1 in the denominator, of a set of features.

    The factor is that of the centred rows (by QR where there are more rows than features), so that covariances of
    few rows are singular exactly.

    Raises:
        EvaluationError: see :func:`check_features`.
    """
    import scipy.linalg  # here: plans import this module, and stay light

    rows_ND = check_features(features_ND, name)
    first_D = rows_ND[0].copy()  # means far from zero would cost the spread its digits
    rows_ND -= first_D
    shift_D = rows_ND.mean(axis=0)
    rows_ND -= shift_D
    count, width = rows_ND.shape
    if count > width:
        (upper_RD,) = scipy.linalg.qr(rows_ND, mode="r", overwrite_a=True, check_finite=False)
        rows_ND = upper_RD[:width]
    return Gaussian(first_D + shift_D, rows_ND.T / np.sqrt(count - 1), count)


def from_statistics(mean_D: npt.NDArray, covariance_DD: npt.NDArray, name: str = "statistics") -> Gaussian:
    """The same from mean and covariance, where the features themselves are no longer there.

    Eigenvalues below zero are rounding and count as zero.

    Raises:
        EvaluationError: shapes that do not fit, NaN or infinity, or a matrix that is no covariance.
    """
    import scipy.linalg

    for part, array in (("mu", mean_D), ("sigma", covariance_DD)):
        if np.asarray(array).dtype.kind not in "fiu":
            raise EvaluationError(f"{name}: {part} has dtype {np.asarray(array).dtype}, which are no real numbers.")
        check_finite(np.asarray(array), f"{name}: {part}")
    mean = np.atleast_1d(np.asarray(mean_D, np.float64))
    sigma = np.atleast_2d(np.asarray(covariance_DD, np.float64))
    if mean.ndim != 1 or sigma.shape != (mean.size, mean.size) or mean.size == 0:
        raise EvaluationError(
            f"{name}: mu has shape {list(mean.shape)} and sigma {list(sigma.shape)}, not [D] and [D, D].",
            "Save the mean and the covariance of features [N, D].",
        )
    size = float(np.abs(sigma).max())
    if float(np.abs(sigma - sigma.T).max()) > _ROUNDING * size:
        raise EvaluationError(f"{name}: sigma is not symmetric, so it is no covariance.", "Save np.cov(features.T).")
    values_D, vectors_DD = scipy.linalg.eigh((sigma + sigma.T) / 2)
    if values_D[0] < -_ROUNDING * values_D[-1]:
        raise EvaluationError(
            f"{name}: sigma has the eigenvalue {values_D[0]:.3g}, so it is no covariance.", "Save np.cov(features.T)."
        )
    return Gaussian(mean, vectors_DD * np.sqrt(np.maximum(values_D, 0)))
