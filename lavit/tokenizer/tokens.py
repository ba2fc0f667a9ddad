"""Visual tokens of a batch, and their packed form on disk.

Shapes: B images, K most tokens of an image, M places, R tokens of all images, C channels, D code dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


@dataclass
class VisualTokens:
    """A padded batch; the tokens of an image lie in raster order, left-aligned.

    Attributes:
        features_BKC: merged continuous features: what enters the LLM.
        vectors_BKD: unit-norm pre-quantizer vectors: the continuous target.
        codes_BK: codebook index: the discrete target; 0 at padding.
        places_BK: patch index in raster order (a pooled tokenizer's cell index; the rank among the image's tokens where
            positions are by rank); 0 at padding.
        mask_BK: True where there is a token.
    """

    features_BKC: Tensor
    vectors_BKD: Tensor
    codes_BK: Tensor
    places_BK: Tensor
    mask_BK: Tensor

    def __len__(self) -> int:
        return len(self.mask_BK)


@dataclass
class PackedTokens:
    """Tokens of many images one after the other; image i owns rows ``offsets[i]`` to ``offsets[i + 1]``."""

    features_RC: Tensor
    vectors_RD: Tensor
    codes_R: Tensor
    places_R: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> Tensor:
        """Tokens of each image."""
        return self.offsets.diff()

    def padded(self, index: Tensor) -> VisualTokens:
        """The images at ``index`` as a padded batch."""
        start_B, count_B = self.offsets[index], self.counts()[index]
        longest = int(count_B.max()) if len(index) else 0
        mask_BK = torch.arange(longest) < count_B[:, None]
        row_BK = torch.where(mask_BK, start_B[:, None] + torch.arange(longest), 0)

        def take(rows: Tensor) -> Tensor:
            out = rows[row_BK]
            return torch.where(mask_BK if out.dim() == 2 else mask_BK[..., None], out, 0)

        return VisualTokens(
            take(self.features_RC).float(),
            take(self.vectors_RD).float(),
            take(self.codes_R).long(),
            take(self.places_R).long(),
            mask_BK,
        )

    def save(self, path: Path) -> None:
        """Write as safetensors: features and vectors fp16, codes int32, places int16, offsets int64."""
        tensors = {
            "features": self.features_RC.half(),
            "vectors": self.vectors_RD.half(),
            "codes": self.codes_R.int(),
            "places": self.places_R.short(),
            "offsets": self.offsets.long(),
        }
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)

    @classmethod
    def load(cls, path: Path) -> PackedTokens:
        """Read what :meth:`save` wrote."""
        tensors = load_file(path)
        return cls(*(tensors[name] for name in ("features", "vectors", "codes", "places", "offsets")))


def pack(batches: Sequence[VisualTokens]) -> PackedTokens:
    """One packed set out of padded batches, in their order."""
    counts = torch.cat([tokens.mask_BK.sum(1) for tokens in batches])
    return PackedTokens(
        torch.cat([tokens.features_BKC[tokens.mask_BK] for tokens in batches]),
        torch.cat([tokens.vectors_BKD[tokens.mask_BK] for tokens in batches]),
        torch.cat([tokens.codes_BK[tokens.mask_BK] for tokens in batches]),
        torch.cat([tokens.places_BK[tokens.mask_BK] for tokens in batches]),
        torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
    )
