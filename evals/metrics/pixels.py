"""How near a painted image is to the real one, pixel by pixel.

Suffixes: B images, H height, W width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST = 1e-10  # mean squared error of pixels in 0 … 1: 100 dB, where two images are the same


def psnr(painted: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Peak signal-to-noise ratio [B] in dB of uint8 images [B, H, W, 3], each over its own pixels."""
    error = (painted.astype(np.float64) - truth.astype(np.float64)) / 255
    decibels: npt.NDArray[np.float64] = -10 * np.log10(np.maximum((error**2).mean(axis=(1, 2, 3)), _LEAST))
    return decibels
