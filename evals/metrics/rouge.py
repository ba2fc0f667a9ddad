"""ROUGE-L (Lin and Och 2004) by the field's own code: the longest common subsequence, F with beta 1.2.

Precision and recall are each the best over the references, not those of one reference. An empty caption counts as one
empty word there; a score above 0 it gets only beside an empty reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocoevalcap.rouge.rouge import Rouge

NAME = "ROUGE_L"


def rouge(words: Sequence[str], references: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """ROUGE-L of each caption; the score of a set is their mean.

    Args:
        words: one caption an image, tokenised, words joined by single blanks.
        references: the images' references, likewise, in the same order.
    """
    scorer = Rouge()
    return np.array([scorer.calc_score([text], texts) for text, texts in zip(words, references, strict=True)], float)
