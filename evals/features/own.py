"""Features of the project's own vision encoder, for where no Inception or CLIP weights are: comparable among arms that
share the encoder, and with nothing published.

Suffixes: B images, N patches, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.features.extractor import Floats, Picture
from evals.sitting import array

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel


class OwnFeatures:
    """The encoder of the model under test, its features averaged over the patches.

    Args:
        model: an arm, or an inspected tokenizer.
    """

    label = "own"

    def __init__(self, model: VisionLanguageModel):
        self._model = model

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Says that it is the arm's own encoder; which one that is, the keys of its stages say."""
        return {"extractor": "own encoder, mean over patches"}

    def images(self, pictures: Sequence[Picture]) -> Floats:
        """Features [B, C] of uint8 pictures of the size that the encoder reads."""
        return pool(array(self._model.features(np.stack(list(pictures)))))


def pool(features_BNC: np.ndarray) -> Floats:
    """Mean over patches: float32 [B, C]."""
    pooled: Floats = features_BNC.astype(np.float32).mean(axis=1)
    return pooled
