"""Pictures for tests of the harness."""

from __future__ import annotations

import numpy as np


def colour(value: int, side: int = 8) -> np.ndarray:
    """A uint8 image of one grey."""
    return np.full((side, side, 3), value, np.uint8)
