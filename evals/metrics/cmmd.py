"""CMMD: squared maximum mean discrepancy of CLIP embeddings with a Gaussian kernel of width 10, times 1000.

Jayasumana et al. 2024, "Rethinking FID", section 4: biased estimator, embeddings of CLIP ViT-L/14@336 brought to
length 1. Here rows are taken as they come: who extracts them brings them to length 1.

Suffixes: M rows of the first set, N of the second, D features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.metrics.gaussians import check_features, check_same_width

VERSION = "cmmd-rbf10-1"
WIDTH, SCALE = 10.0, 1000.0
_ROWS = 2048  # of the kernel matrix at once


def clip_mmd(a_MD: npt.NDArray, b_ND: npt.NDArray, names: tuple[str, str] = ("A", "B")) -> float:
    """CMMD of two sets of embeddings.

    Raises:
        EvaluationError: see :func:`~evals.metrics.gaussians.check_features`; or widths differ.
    """
    first_MD, second_ND = (check_features(x, name) for x, name in zip((a_MD, b_ND), names, strict=True))
    check_same_width(first_MD.shape[1], second_ND.shape[1], *names)
    centre_D = (first_MD.mean(axis=0) + second_ND.mean(axis=0)) / 2  # distances stay, and lose no digits to the mean
    first_MD -= centre_D
    second_ND -= centre_D
    inner = _mean_kernel(first_MD, first_MD) + _mean_kernel(second_ND, second_ND)
    return SCALE * (inner - 2 * _mean_kernel(first_MD, second_ND))


def _mean_kernel(a_MD: npt.NDArray[np.float64], b_ND: npt.NDArray[np.float64]) -> float:
    length_N = np.einsum("nd,nd->n", b_ND, b_ND)
    total = 0.0
    for start in range(0, len(a_MD), _ROWS):
        part_RD = a_MD[start : start + _ROWS]
        squared_RN = np.einsum("rd,rd->r", part_RD, part_RD)[:, None] + length_N - 2 * (part_RD @ b_ND.T)
        total += float(np.exp(-np.maximum(squared_RN, 0) / (2 * WIDTH**2)).sum())
    return total / (len(a_MD) * len(b_ND))
