"""The quick pixel decoder: each patch is painted from its own feature and its neighbours'.

Shapes: B images, N patches, C channels, H W pixels, P values of a patch's pixels, G patches along a side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lavit.pixels.protocol import PixelDecoder
from lavit.vision.encoder import patchify, unpatchify


class PatchPixelDecoder(PixelDecoder):
    """A 3 x 3 mix over neighbouring patches, then an MLP that paints the patch.

    Args:
        feature_dim: channels C of the features.
        grid: patches along a side G.
        patch: side of a patch in pixels.
        hidden: width of the mix and the MLP.
        layers: hidden layers of the MLP after the mix.
        noise: see :class:`~lavit.pixels.protocol.PixelDecoder`.
        loss: weights of the ``squared`` and the ``absolute`` error of a pixel.
    """

    def __init__(
        self,
        feature_dim: int,
        grid: int,
        patch: int,
        hidden: int,
        layers: int = 1,
        noise: float = 0.3,
        loss: Mapping[str, float] | None = None,
    ):
        super().__init__(feature_dim, noise)
        self.grid, self.patch = grid, patch
        self.weights = {"squared": 1.0, "absolute": 0.0} | dict(loss or {})
        self.mix = nn.Conv2d(feature_dim, hidden, 3, padding=1)
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.paint = nn.Sequential(*parts, nn.GELU(), nn.Linear(hidden, patch * patch * 3))

    def raw(self, standard_BNC: Tensor) -> Tensor:
        """Unbounded patch pixels [B, N, P] of standardised features: what training compares."""
        batch, _, channels = standard_BNC.shape
        x_BCGG = standard_BNC.transpose(1, 2).reshape(batch, channels, self.grid, self.grid)
        return self.paint(self.mix(x_BCGG).flatten(2).transpose(1, 2))

    def loss(
        self, features_BNC: Tensor, images_BHWC: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Any]]:
        """Squared and absolute error of the painted pixels; see the base class."""
        standard_BNC = self.disturb(self.standardise(features_BNC), generator)
        truth_BNP = patchify(images_BHWC.to(standard_BNC.device).float() / 255, self.patch)
        error_BNP = self.raw(standard_BNC) - truth_BNP
        squared, absolute = (error_BNP**2).mean(), error_BNP.abs().mean()
        total = self.weights["squared"] * squared + self.weights["absolute"] * absolute
        return total, {"squared": squared.detach(), "absolute": absolute.detach()}

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Images [B, H, W, 3] in 0 … 1 of raw vision features."""
        return unpatchify(self.raw(self.standardise(features_BNC)).clamp(0, 1), self.patch)
