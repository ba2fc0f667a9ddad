"""A split's visual tokens, encoded once by the tokenizer stage and read by every arm.

Shapes: M tokens of all images packed one after another, S images, I images of a batch, N most tokens of one,
C feature width, D code dimension.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor


class VisualStore:
    """Packed visual tokens of a split; image ``i`` owns the rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        slots: positions that an image takes up when it is read, where its reader gives it a fixed number; None: one for
            each of its tokens.
        writes_slots: whether an image that is written takes up the same positions as one that is read.
        beside: whether an image that is read stands beside the sequence, and so takes up no position in it.
    """

    slots: int | None = None
    writes_slots: bool = False
    beside: bool = False

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

    def entering(self, image: int) -> tuple[int, int]:
        """First row and count of an image that is read: its tokens, or ``slots`` rows that are the image's alone.

        Of one that stands beside the sequence its number, and no rows.
        """
        if self.beside:
            return int(image), 0
        return self.rows(image) if self.slots is None else (int(image) * self.slots, self.slots)

    def written(self, image: int) -> tuple[int, int]:
        """First row and count of an image that is written, or shown as if it had been."""
        return self.entering(image) if self.writes_slots else self.rows(image)

    def images_at(self, first_I: Tensor) -> Tensor:
        """The images whose first rows :meth:`entering` gave."""
        if self.beside:
            return first_I
        if self.slots is not None:
            return first_I // self.slots
        return torch.searchsorted(torch.from_numpy(self.offsets).to(first_I.device), first_I, right=True) - 1

    def tokens_of(self, image_I: Tensor) -> Tensor:
        """Embeddings that each image is read as, in the sequence or beside it [I]."""
        if self.slots is not None:
            return torch.full_like(image_I, self.slots)
        offsets_S1 = torch.from_numpy(self.offsets).to(image_I.device)
        return offsets_S1[image_I + 1] - offsets_S1[image_I]

    def padded_rows(self, image_I: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [I, N] of images, filled up with row 0 to the longest of them, and which are real [I, N]."""
        offsets_S1 = torch.from_numpy(self.offsets).to(image_I.device)
        first_I, count_I = offsets_S1[image_I], offsets_S1[image_I + 1] - offsets_S1[image_I]
        place_N = torch.arange(int(count_I.max()), device=image_I.device)
        mask_IN = place_N < count_I[:, None]
        return torch.where(mask_IN, first_I[:, None] + place_N, 0), mask_IN

    def padded_features(self, image_I: Tensor) -> tuple[Tensor, Tensor]:
        """Features [I, N, C] of images, padded to the longest of them, and which rows are real [I, N]."""
        row_IN, mask_IN = self.padded_rows(image_I)
        return self.features_MC[row_IN], mask_IN

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
