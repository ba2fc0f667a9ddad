"""CIDEr (Vedantam et al. 2015, the CIDEr-D form, n-grams 1-4, sigma 6) by the field's own code, per image.

The document frequencies come from the references given, so a score means something only beside its reference
set: every control of one benchmark is therefore scored against the references of the *whole* evaluated set,
also when the control was run on a part of it. The corpus value is the mean of the per-image values, as in the
official code.
Scores are raw: 0 to 10, where published tables print them times 100 (1.2 is "120").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocoevalcap.cider.cider import Cider

from evals.errors import EvaluationError
from evals.metrics.tokenize import tokenize


def cider(words: Sequence[str | None], references: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """CIDEr of captions whose words are made already: joined by blanks, without punctuation.

    Args:
        words: one caption an image; ``None`` where none was made. Such an image still counts in the document
            frequencies.
        references: the images' references, in the same order, at least one each.

    Returns:
        float64 [B], NaN where the caption is ``None``. With a single image every score is 0: an n-gram that stands in
        all documents says nothing. So it is where no reference has a word, on which the official code fails.
    """
    truth = {position: list(texts) for position, texts in enumerate(references)}
    said = {position: [text or ""] for position, text in enumerate(words)}
    missing_B = np.array([text is None for text in words], dtype=bool)
    scores_B = np.zeros(len(truth))
    if any(text.split() for texts in references for text in texts):
        scores_B = np.asarray(Cider().compute_score(truth, said)[1], dtype=np.float64)
    return np.where(missing_B, np.nan, scores_B)


def score_captions(predictions: Sequence[str | None], references: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """CIDEr of each predicted caption against its image's references, on words made without Java.

    Args:
        predictions: one caption an image; ``None`` where none was made, see :func:`cider`.
        references: the images' reference captions, in the same order.

    Returns:
        As :func:`cider`.

    Raises:
        EvaluationError: the lengths differ, or an image has no reference.
    """
    check_references(predictions, references)
    known: dict[str, str] = {}  # few distinct sentences make up a small world: split each only once

    def words(text: str) -> str:
        if text not in known:
            known[text] = tokenize(text)
        return known[text]

    truth = [[words(text) for text in texts] for texts in references]
    return cider([None if text is None else words(text) for text in predictions], truth)


def check_references(predictions: Sequence[str | None], references: Sequence[Sequence[str]]) -> None:
    """Raises EvaluationError if the lengths differ, or an image has no reference."""
    if len(predictions) != len(references):
        raise EvaluationError(f"{len(predictions)} captions for {len(references)} images with references")
    bare = [position for position, texts in enumerate(references) if not texts]
    if bare:
        raise EvaluationError(f"CIDEr needs a reference for every image; there is none at positions {bare[:5]}")
