"""CLIPScore and RefCLIPScore from CLIP features.

Hessel et al. 2021, "CLIPScore", section 3: w · max(cos(image, candidate), 0) with w = 2.5; RefCLIPScore is the
harmonic mean of that and the greatest cosine of the candidate with a reference. As the authors' own code has it, the
cosine with the references is not cut at zero (the paper cuts it), so that a candidate opposite to all its references
may score below zero. Numbers stay in the precision of the features, as there: where score and cosine nearly cancel in
the harmonic mean, the last digits of float32 show.

Suffixes: B pairs of image and candidate, R references of all pairs, D features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.errors import EvaluationError
from evals.metrics.gaussians import check_features, check_same_width

VERSION = "clipscore-w2.5-1"
WEIGHT = 2.5
Floats = npt.NDArray[np.floating]


def clip_score(image_BD: npt.NDArray, candidate_BD: npt.NDArray) -> Floats:
    """CLIPScore [B] of each image with its candidate, 0 to 2.5.

    Raises:
        EvaluationError: shapes differ, or a row is not finite or all zeros.
    """
    images, candidates = unit_rows(image_BD, "image"), unit_rows(candidate_BD, "candidate")
    check_same_width(images.shape[1], candidates.shape[1], "image", "candidate")
    if len(images) != len(candidates):
        raise EvaluationError(
            f"There are {len(images)} rows of image and {len(candidates)} of candidate.", "One candidate an image."
        )
    score: Floats = np.maximum(np.sum(images * candidates, axis=1), 0) * images.dtype.type(WEIGHT)
    return score


def greatest_reference_cosine(
    candidate_BD: npt.NDArray, reference_RD: npt.NDArray, owner_R: npt.NDArray[np.integer]
) -> Floats:
    """The greatest cosine [B] of each candidate with one of its references.

    Args:
        candidate_BD: features of the candidates' text.
        reference_RD: features of the references' text.
        owner_R: to which candidate, from 0, each reference belongs.

    Raises:
        EvaluationError: shapes differ, an owner does not exist, or a candidate has no reference.
    """
    candidates, references = unit_rows(candidate_BD, "candidate"), unit_rows(reference_RD, "refs")
    check_same_width(candidates.shape[1], references.shape[1], "candidate", "refs")
    owners = np.asarray(owner_R)
    if owners.dtype.kind not in "iu" or owners.shape != (len(references),):
        raise EvaluationError(
            f"ref_index is {owners.dtype} {list(owners.shape)}, not one integer for each of {len(references)} refs."
        )
    if owners.size and (owners.min() < 0 or owners.max() >= len(candidates)):
        raise EvaluationError(f"ref_index names candidates outside 0 … {len(candidates) - 1}.")
    alone = np.nonzero(np.bincount(owners, minlength=len(candidates)) == 0)[0]
    if alone.size:
        raise EvaluationError(f"Candidate {alone[0]} has no reference, nor have {alone.size - 1} more.")
    order = np.argsort(owners, kind="stable")
    own = np.split(order, np.cumsum(np.bincount(owners, minlength=len(candidates)))[:-1])
    return np.array([(references[rows] @ c).max() for c, rows in zip(candidates, own, strict=True)])


def ref_clip_score(score_B: Floats, cosine_B: Floats) -> Floats:
    """Harmonic mean [B] of CLIPScore and the greatest cosine with a reference; 0 where they sum to 0."""
    total_B = score_B + cosine_B
    return np.divide(2 * score_B * cosine_B, total_B, out=np.zeros_like(total_B), where=total_B != 0)


def unit_rows(features_BD: npt.NDArray, name: str) -> Floats:
    """Rows at length 1, in their own precision, but at least float32.

    Raises:
        EvaluationError: see :func:`~evals.metrics.gaussians.check_features`; or a row has no direction.
    """
    check_features(features_BD, name, least=1)
    rows = np.asarray(features_BD)
    rows = rows.astype(np.float32 if rows.dtype.kind == "f" and rows.dtype.itemsize <= 4 else np.float64)
    length = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
    if not length.all():
        raise EvaluationError(f"{name}[{int(np.argmin(length))}] is all zeros, so it has no direction.")
    return rows / length
