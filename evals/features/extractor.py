"""What a feature extractor offers, and which metrics may bear whose name.

Suffixes: B images or texts, H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


class ImageFeatures(Protocol):
    """Features of images. ``label`` enters the names of metrics, ``fingerprint`` says which weights it has."""

    label: str

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Everything that the features depend on besides the images."""
        ...

    def images(self, pictures: Sequence[Picture]) -> Floats:
        """Features [B, D] of uint8 pictures [H, W, 3], of any sizes."""
        ...


def frechet_name(label: str) -> str:
    """Only a Fréchet distance on the published Inception features is an FID; on others it is called after them."""
    return "FID" if label == "Inception" else f"FD_{label}"


def kernel_name(label: str) -> str:
    """The same for the polynomial-kernel distance."""
    return "KID" if label == "Inception" else f"KD_{label}"


def in_batches(extractor: ImageFeatures, pictures: Iterable[Picture], batch: int = 32) -> Floats:
    """Features [B, D] of many pictures, ``batch`` of them in memory at once.

    Raises:
        ValueError: there are no pictures.
    """
    parts: list[Floats] = []
    waiting: list[Picture] = []
    for picture in pictures:
        waiting.append(picture)
        if len(waiting) == batch:
            parts.append(extractor.images(waiting))
            waiting = []
    if waiting:
        parts.append(extractor.images(waiting))
    return np.concatenate(parts)
