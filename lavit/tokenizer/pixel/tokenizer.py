"""The pixel tokenizer: an image to a grid of codes, and codes to pixels. It never sees vision features.

Encoder -> 1 x 1 convolution (the quantizer's projection) -> code -> 1 x 1 convolution -> decoder. The grid is read in
raster order, so the n-th token lies at place n and every place is filled. What enters a continuous arm is the encoder's
output before the projection.

Shapes: B images, S side in pixels, G cells along a side of the latents, M = G G tokens, K the same, N patches,
C channels of the vision features, E channels of the latents, D code dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lavit.build import build
from lavit.errors import LavitError
from lavit.tokenizer.base import FixedTokenizer
from lavit.tokenizer.codebook import VectorQuantizer
from lavit.tokenizer.pixel.networks import ConvDecoder, ConvEncoder, shrinks
from lavit.tokenizer.tokens import VisualTokens
from lavit.vision.encoder import scale_pixels


class PixelTokenizer(FixedTokenizer):
    """See the module's docstring.

    Args:
        side: of the images in pixels.
        network: arguments of :class:`~lavit.tokenizer.pixel.networks.ConvEncoder` and its decoder.
        quantizer: latents to vectors and codes.
        vision_dim: channels C of the vision features.
        quantised: False where training used no codebook.
    """

    paints = True
    sees_pixels = True
    positions = "place"
    place_patches_MN: Tensor

    def __init__(
        self,
        side: int,
        network: Mapping[str, Any],
        quantizer: VectorQuantizer,
        vision_dim: int,
        quantised: bool = True,
    ):
        self.side, self.grid = side, side // shrinks(side, network["multipliers"])
        super().__init__(vision_dim, int(network["latent"]), self.grid**2, quantised)
        self.quantizer = quantizer
        self.encoder = ConvEncoder(side, **network)
        self.enter = nn.Linear(quantizer.code_dim, self.feature_dim)
        self.decoder = ConvDecoder(side, **network)
        self.register_buffer("place_patches_MN", torch.eye(self.num_places), persistent=False)

    def latents(self, pixels_BHWC: Tensor) -> Tensor:
        """The encoder's output [B, M, E] of pixels in -1 … 1."""
        return self.encoder(pixels_BHWC.permute(0, 3, 1, 2)).flatten(2).mT

    def raw(self, vectors_BMD: Tensor) -> Tensor:
        """Unbounded pixels [B, H, W, 3], about -1 … 1, of the vectors of all places: what training compares."""
        x_BEM = self.enter(vectors_BMD).mT
        return self.decoder(x_BEM.unflatten(2, (self.grid, self.grid))).permute(0, 2, 3, 1)

    def tokens_of(self, images_BHWC: Tensor, features_BNC: Tensor | None = None) -> VisualTokens:
        """Visual tokens of uint8 images; vision features are not looked at.

        Raises:
            LavitError: images of another size than the tokenizer was made for.
        """
        if tuple(images_BHWC.shape[1:3]) != (self.side, self.side):
            raise LavitError(
                f"this tokenizer reads images of {self.side} x {self.side} pixels, not {list(images_BHWC.shape[1:3])}"
            )
        return self.full(self.latents(scale_pixels(images_BHWC).to(self.mean_C.device)))

    def paint(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Pixels [B, H, W, 3] in 0 … 1 of token vectors; a place without a token holds a vector of zeros."""
        raw_BHWC = self.raw(self.fill(vectors_BKD, places_BK, mask_BK))
        return ((raw_BHWC + 1) / 2).clamp(0, 1)

    def decode(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Vision features [B, N, C] of what is painted, rounded to bytes as a picture is."""
        return self.look((self.paint(vectors_BKD, places_BK, mask_BK) * 255).round().byte())


def assemble(
    tokens: Mapping[str, Any] | None, tokenizer: Mapping[str, Any], feature_dim: int, grid: int, patch: int
) -> PixelTokenizer:
    """Build the tokenizer of a config node ``tokenizer``; see :func:`lavit.tokenizer.loading.assemble`."""
    network = dict(tokenizer["network"])
    quantizer = build(tokenizer["quantizer"], width=int(network["latent"]))
    return PixelTokenizer(grid * patch, network, quantizer, feature_dim, bool(tokenizer["quantise"]))
