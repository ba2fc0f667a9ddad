"""Masked autoencoding of pixels (MAE, He et al. 2022): the encoder sees visible patches only, a small decoder the rest.

Shapes: B images, H W pixels, N patches, V visible patches, C channels, E width of the decoder, P values of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.vision.blocks import Block, init_transformer
from lavit.vision.encoder import VisionEncoder, patchify
from lavit.vision.objectives.masking import MaskedObjective

EPSILON = 1e-6


class MAE(MaskedObjective):
    """See the module's docstring. The decoder is thrown away after training.

    Args:
        encoder: see :class:`~lavit.vision.objectives.masking.MaskedObjective`.
        ratio: masked share (MAE: 0.75).
        width, blocks, heads: of the decoder.
        normalise: pixels of each patch at zero mean and unit variance (MAE's better target); False: as they are. A flat
            patch then has nothing but zeros, so that its colour is not asked for.
    """

    def __init__(
        self, encoder: VisionEncoder, ratio: float, width: int, blocks: int, heads: int, normalise: bool = True
    ):
        super().__init__(encoder, ratio)
        self.normalise = normalise
        self.enter = nn.Linear(encoder.feature_dim, width)
        self.absent_E = nn.Parameter(torch.zeros(width))
        self.place_NE = nn.Parameter(torch.zeros(encoder.num_patches, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, encoder.patch**2 * 3)
        init_transformer(self)
        for table in (self.absent_E, self.place_NE):
            nn.init.trunc_normal_(table, std=0.2)

    def predict(self, encoder: VisionEncoder, pixels_BHWC: Tensor, mask_BN: Tensor) -> Tensor:
        """Pixels of every patch, from the visible ones."""
        shown_BV1 = mask_BN.int().argsort(dim=1, stable=True)[:, : mask_BN.shape[1] - self.masked, None]
        shown_BV1 = shown_BV1.to(pixels_BHWC.device)
        x_BNC = encoder.embed(pixels_BHWC)
        x_BVC = encoder.attend(x_BNC.gather(1, shown_BV1.expand(-1, -1, x_BNC.shape[-1])))
        y_BVE = self.enter(x_BVC)
        y_BNE = self.absent_E.expand(len(y_BVE), mask_BN.shape[1], -1).to(y_BVE.dtype)
        y_BNE = y_BNE.scatter(1, shown_BV1.expand_as(y_BVE), y_BVE) + self.place_NE
        for block in self.blocks:
            y_BNE = block(y_BNE)
        return self.leave(self.norm(y_BNE))

    def wanted(self, pixels_BHWC: Tensor, patch: int) -> Tensor:
        """Pixels of every patch."""
        pixels_BNP = patchify(pixels_BHWC, patch)
        if not self.normalise:
            return pixels_BNP
        mean, variance = pixels_BNP.mean(-1, keepdim=True), pixels_BNP.var(-1, keepdim=True)
        return (pixels_BNP - mean) / (variance + EPSILON).sqrt()
