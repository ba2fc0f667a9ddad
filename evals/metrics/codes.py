"""How a tokenizer spends its codes and its tokens, over a set of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def count_codes(codes: Sequence[npt.NDArray[np.integer]]) -> tuple[int, float]:
    """Number of distinct codes used and their perplexity (exp of the entropy of their frequencies).

    Args:
        codes: the codes of each image, of any lengths.
    """
    flat = np.concatenate([np.asarray(row, dtype=np.int64).ravel() for row in codes]) if codes else np.zeros(0, int)
    if flat.size == 0:
        return 0, 0.0
    _, counts = np.unique(flat, return_counts=True)
    share = counts / counts.sum()
    return int(counts.size), float(np.exp(-np.sum(share * np.log(share))))


def correlate(kept_B: npt.NDArray, measure_B: npt.NDArray) -> float | None:
    """Pearson correlation over images; ``None`` where one side never varies and there is none."""
    kept_B, measure_B = np.asarray(kept_B, np.float64), np.asarray(measure_B, np.float64)
    if kept_B.size < 2 or np.ptp(kept_B) == 0 or np.ptp(measure_B) == 0:
        return None
    return float(np.corrcoef(kept_B, measure_B)[0, 1])
