"""A split's visual tokens, encoded once by the tokenizer stage and read by every arm.

Shapes: M tokens of all images packed one after another, S images, C feature width, D code dimension.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor


class VisualStore:
    """Packed visual tokens of a split; image ``i`` owns the rows ``offsets[i]:offsets[i + 1]``."""

    def __init__(self, features_MC: Tensor, vectors_MD: Tensor, codes_M: Tensor, places_M: Tensor, offsets_S1: Tensor):
        self.features_MC = features_MC.float()
        self.vectors_MD = vectors_MD.float()
        self.codes_M = codes_M.long()
        self.places_M = places_M.long()
        self.offsets = offsets_S1.numpy().astype(np.int64)

    @classmethod
    def load(cls, path: Path) -> VisualStore:
        """Read ``tokens-<split>.safetensors`` of a tokenizer's folder."""
        t = load_file(path)
        return cls(t["features"], t["vectors"], t["codes"], t["places"], t["offsets"])

    def rows(self, image: int) -> tuple[int, int]:
        """First row and number of tokens of an image."""
        first, last = self.offsets[image], self.offsets[image + 1]
        return int(first), int(last - first)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def mean_tokens(self) -> float:
        """Mean number of tokens an image."""
        return float(self.offsets[-1]) / max(1, len(self))

    def pin(self, device: torch.device) -> VisualStore:
        """Move the rows to ``device``."""
        for name in ("features_MC", "vectors_MD", "codes_M", "places_M"):
            setattr(self, name, getattr(self, name).to(device))
        return self
