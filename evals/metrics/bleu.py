"""BLEU-1 to BLEU-4 (Papineni et al. 2002) by the field's own code, with the reference length nearest to the caption's.

The score of a set is made of the set's n-gram counts and is not the mean over its captions; that of a single caption
is smoothed by a tiny constant in the official code, and 0 hardly ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")
ORDER = len(NAMES)


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


def counts(words: str, references: Sequence[str]) -> list[int]:
    """What a caption adds to its set's BLEU, whose score is made of the sums over all captions.

    Args:
        words: the caption, tokenised, words joined by blanks.
        references: the image's, likewise.

    Returns:
        Matched n-grams for n = 1 to 4, n-grams written, words written, and words of the reference that is nearest in
        length (the shorter one of two).
    """
    found = cook_test(words, cook_refs(list(references), n=ORDER), eff="closest", n=ORDER)
    return [*map(int, found["correct"]), *map(int, found["guess"]), int(found["testlen"]), int(found["reflen"])]
