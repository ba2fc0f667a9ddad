"""BLEU-1 to BLEU-4 (Papineni et al. 2002) by the field's own code, with the reference length nearest to the caption's.

The score of a set is made of the set's n-gram counts and is not the mean over its captions; that of a single caption
is smoothed by a tiny constant in the official code, and 0 hardly ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocoevalcap.bleu.bleu import Bleu

NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")


def bleu(
    words: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float64]]]:
    """BLEU of a set and of each caption in it, by name.

    Args:
        words: one caption an image, tokenised, words joined by blanks.
        references: the images' references, likewise, in the same order.
    """
    truth = {position: list(texts) for position, texts in enumerate(references)}
    said = {position: [text] for position, text in enumerate(words)}
    totals, scores = Bleu(4).compute_score(truth, said, verbose=0)  # otherwise it prints its counts
    per_image = {name: np.asarray(row, np.float64) for name, row in zip(NAMES, scores, strict=True)}
    return {name: float(value) for name, value in zip(NAMES, totals, strict=True)}, per_image
