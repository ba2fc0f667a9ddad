"""Images after the released tokenizer, ready to enter the released LLM: its side of the protocol's ``Visual``.

Shapes: B images, H W pixels, R kept rows of all images, C channels, N patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lavit.official.precision import enter, in_own_type
from lavit.official.tower import UnderstandingTower
from lavit.tokenizer.packing import Kept, pack_kept
from lavit.tokenizer.selector import image_keys


@dataclass
class EncodedRelease:
    """Merged features of a set of images, before the projector: a third of the room of what the LLM reads.

    Attributes:
        merged_RC: rows of all images, one image after the other, in main memory.
        offsets: first row of each image, and the end of the last.
        index: which of the images.
    """

    merged_RC: Tensor
    offsets: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: np.ndarray) -> EncodedRelease:
        return EncodedRelease(self.merged_RC, self.offsets, self.index[index])

    @property
    def tokens_B(self) -> np.ndarray:
        """Visual tokens of each image."""
        return np.diff(self.offsets)[self.index]

    def rows(self, image: int) -> Tensor:
        """Merged features of one of the images."""
        place = self.index[image]
        return self.merged_RC[self.offsets[place] : self.offsets[place + 1]]


def join(parts: list[EncodedRelease]) -> EncodedRelease:
    """Several whole sets as one."""
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], counts.cumsum()])
    return EncodedRelease(torch.cat([part.merged_RC for part in parts]), offsets, np.arange(len(counts)))


def squash(images: np.ndarray, side: int) -> np.ndarray:
    """Images at the side that the tower reads, bicubic, without regard to their shape, as published."""
    if images.shape[1:3] == (side, side):
        return images
    sized = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in sized])


def vision_features(tower: UnderstandingTower, images_BHWC: np.ndarray, device: torch.device) -> Tensor:
    """Features [B, N, C] of uint8 images of the tower's side."""
    encoder = tower.tokenizer.encoder
    with in_own_type(encoder, device):
        return encoder(torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(device))


def select(tower: UnderstandingTower, features_BNC: Tensor, keys_B: Tensor) -> tuple[Tensor, Kept]:
    """Decisions [B, N] of the selector, in float32, and the rows that they leave."""
    keep_BN = tower.tokenizer.selector(features_BNC.float(), None, keys_B).keep_BM
    return keep_BN, pack_kept(keep_BN)


def encode(tower: UnderstandingTower, features_BNC: Tensor, keys_B: Tensor, device: torch.device) -> EncodedRelease:
    """What the LLM will read of images of which there are features, real or decoded."""
    keep_BN, kept = select(tower, features_BNC, keys_B)
    with in_own_type(tower.merger, device):
        merged_RC = tower.merger.packed(enter(features_BNC, tower.merger), keep_BN, kept)
    offsets = np.concatenate([[0], kept.rows.count_B.cumsum(0).cpu().numpy()])
    rows_RC = enter(merged_RC, tower.projector).cpu()
    return EncodedRelease(rows_RC, offsets, np.arange(len(features_BNC)))


def keys(images_BHWC: np.ndarray) -> Tensor:
    """A number for each image, from which random decisions about it are drawn."""
    return image_keys(torch.from_numpy(np.ascontiguousarray(images_BHWC)))
