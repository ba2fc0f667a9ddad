"""The shapes of the world as small pictures: how much of each pixel an object covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SUPERSAMPLING = 8


def coverage(shape: str, side: int, window: int) -> NDArray[np.float32]:
    """Share of each pixel that ``shape`` covers, [window, window], the object centred in the window.

    Args:
        shape: one of ``palette.SHAPES``.
        side: side of the object's bounding box, in pixels.
        window: side of the window, in pixels, at least ``side``.

    Raises:
        ValueError: an unknown shape.
    """
    fine = window * _SUPERSAMPLING
    # Coordinates in units of the object's side, the origin at its centre.
    line = ((np.arange(fine) + 0.5) / _SUPERSAMPLING - window / 2) / side
    y, x = line[:, None], line[None, :]
    inside_box = (np.abs(x) <= 0.5) & (np.abs(y) <= 0.5)
    if shape == "circle":
        inside = x**2 + y**2 <= 0.25
    elif shape == "square":
        inside = inside_box
    elif shape == "triangle":
        inside = inside_box & (2 * np.abs(x) <= y + 0.5)
    elif shape == "cross":
        inside = inside_box & ((np.abs(x) <= 1 / 6) | (np.abs(y) <= 1 / 6))
    elif shape == "diamond":
        inside = np.abs(x) + np.abs(y) <= 0.5
    elif shape == "ring":
        radius = x**2 + y**2
        inside = (radius <= 0.25) & (radius >= 0.0625)
    else:
        raise ValueError(f"unknown shape {shape!r}")
    blocks = inside.reshape(window, _SUPERSAMPLING, window, _SUPERSAMPLING)
    return blocks.mean((1, 3), dtype=np.float32)


def all_coverages(shapes: tuple[str, ...], side: tuple[int, ...], window: int) -> NDArray[np.float32]:
    """Coverages of every size and shape, [sizes, shapes, window, window]."""
    return np.stack([np.stack([coverage(shape, length, window) for shape in shapes]) for length in side])
