"""Judging a generated image against the real one in an encoder's feature space, where no exact judge exists.

Suffixes: B generated images, M real images to choose from, N patches, C channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def _unit(rows: Floats) -> Floats:
    """Rows at length 1 along the last axis; a row of zeros stays zero."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12)


def mean_cosine(drawn_BNC: npt.NDArray, real_BNC: npt.NDArray) -> Floats:
    """Cosine of patch with patch at the same place, mean over the patches of each image: float64 [B]."""
    return np.sum(_unit(drawn_BNC.astype(np.float64)) * _unit(real_BNC.astype(np.float64)), axis=-1).mean(axis=-1)


def standard_cosine(seen_BNC: npt.NDArray, truth_BNC: npt.NDArray, all_MNC: npt.NDArray) -> Floats:
    """As :func:`mean_cosine`, after each channel was brought to mean 0 and spread 1 over the rows of ``all_MNC``.

    Without it every cosine is near one, as features of all images share most of their length.
    """
    rows = all_MNC.reshape(-1, all_MNC.shape[-1]).astype(np.float64)
    mean_C, std_C = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-4)
    return mean_cosine((seen_BNC - mean_C) / std_C, (truth_BNC - mean_C) / std_C)


def similarity(drawn_BNC: npt.NDArray, real_MNC: npt.NDArray) -> Floats:
    """Cosine of mean-pooled features, centred on the mean of the real images: float64 [B, M].

    Centring takes away what all images share; without it every cosine is near one and ranks follow noise.
    """
    real_MC = real_MNC.astype(np.float64).mean(axis=1)
    centre_C = real_MC.mean(axis=0)
    drawn_BC = drawn_BNC.astype(np.float64).mean(axis=1)
    return _unit(drawn_BC - centre_C) @ _unit(real_MC - centre_C).T


def rank_of_truth(similarity_BM: Floats, truth_B: npt.NDArray[np.int64]) -> Floats:
    """Rank, from 1, of the real image among all by similarity; ties take their mean rank: float64 [B].

    With mean ranks a generator that always draws the same picture ranks at chance and not at the top.
    """
    true_B1 = np.take_along_axis(similarity_BM, truth_B[:, None], axis=1)
    above_B = (similarity_BM > true_B1 + 1e-9).sum(axis=1)
    level_B = (np.abs(similarity_BM - true_B1) <= 1e-9).sum(axis=1)  # counts the truth itself
    return above_B + (level_B + 1) / 2
