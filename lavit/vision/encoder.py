"""The vision encoder: a small ViT, with a convolutional stem unless it is given none.

What leaves it are the outputs of the last block, before any final norm, one row a patch, as in LaVIT.
It is trained once (``lavit.stages.vision``) and frozen ever after.

Shapes: B images, H W pixels, N patches in raster order, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.blocks import Block, init_transformer


class VisionEncoder(nn.Module):
    """uint8 images to one feature row a patch.

    Args:
        image_size: side of the square images, in pixels.
        patch: side of a patch, in pixels; with a stem a power of two, because each of its convolutions halves the side.
        width: channels C of the features.
        blocks: transformer blocks after the stem.
        heads: attention heads.
        stem: channels after each halving convolution but the last, which gives ``width``; empty for none, a plain ViT.
        mlp_ratio: hidden width of the blocks' MLPs in units of ``width``.
    """

    def __init__(
        self,
        image_size: int,
        patch: int,
        width: int,
        blocks: int,
        heads: int,
        stem: Sequence[int],
        mlp_ratio: float = 4.0,
    ):
        super().__init__()
        if image_size % patch:
            raise LavitError(f"vision.encoder.patch={patch} does not divide the image size {image_size}")
        if stem and 2 ** (len(stem) + 1) != patch:
            raise LavitError(
                f"vision.encoder.stem={list(stem)} has {len(stem)} widths and halves the image {len(stem) + 1} times, "
                f"which makes patches of {2 ** (len(stem) + 1)}, not vision.encoder.patch={patch}"
            )
        self.image_size, self.patch, self.feature_dim = image_size, patch, width
        self.grid = image_size // patch
        self.num_patches = self.grid**2
        layers: list[nn.Module] = []
        channels = 3
        for wide in [*stem, width] if stem else []:
            layers += [nn.Conv2d(channels, wide, 3, stride=2, padding=1), nn.GELU()]
            channels = wide
        self.stem = nn.Sequential(*layers, nn.Conv2d(width, width, 1)) if stem else None
        # Beside the stem, the plain linear patch embedding of a ViT: it carries pixels into the residual stream as they
        # are, which the convolutions learn to do only slowly.
        self.linear = nn.Linear(patch * patch * 3, width)
        self.place_NC = nn.Parameter(torch.zeros(self.num_patches, width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(blocks))
        init_transformer(self.blocks)
        nn.init.trunc_normal_(self.place_NC, std=0.2)

    def forward(self, images_BHWC: Tensor | np.ndarray) -> Tensor:
        """Features [B, N, C] of uint8 images [B, H, W, 3]."""
        return self.from_pixels(scale_pixels(images_BHWC).to(self.place_NC.device))

    def from_pixels(self, pixels_BHWC: Tensor) -> Tensor:
        """The same of pixels in -1 … 1, through which gradients pass."""
        x_BNC = self.linear(patchify(pixels_BHWC, self.patch)) + self.place_NC
        if self.stem is not None:
            x_BNC = self.stem(pixels_BHWC.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2) + x_BNC
        for block in self.blocks:
            x_BNC = block(x_BNC)
        return x_BNC


def scale_pixels(images_BHWC: Tensor | np.ndarray) -> Tensor:
    """uint8 0 … 255 to float -1 … 1."""
    images_BHWC = torch.as_tensor(images_BHWC)
    if images_BHWC.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 (0 to 255, channels last), not {images_BHWC.dtype}")
    return images_BHWC.float() / 127.5 - 1


def patchify(images_BHWC: Tensor, patch: int) -> Tensor:
    """[B, H, W, 3] to [B, N, patch * patch * 3], patches in raster order, pixels of a patch row by row."""
    batch, height, wide, channels = images_BHWC.shape
    rows, columns = height // patch, wide // patch
    blocks = images_BHWC.reshape(batch, rows, patch, columns, patch, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, patch * patch * channels)


def unpatchify(pixels_BNP: Tensor, patch: int) -> Tensor:
    """The inverse of :func:`patchify` for square images."""
    batch, number, _ = pixels_BNP.shape
    grid = round(number**0.5)
    blocks = pixels_BNP.reshape(batch, grid, grid, patch, patch, 3).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, grid * patch, grid * patch, 3)
