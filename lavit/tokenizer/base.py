"""What every visual tokenizer is to stages, arms and evaluators: images to tokens, tokens to features or to pixels.

:class:`~lavit.tokenizer.tokenizer.Tokenizer` chooses how many tokens an image has. Fixed-length ones derive from
:class:`FixedTokenizer`: every image has M tokens, the place of the n-th is n, and no model predicts places or the end.

Shapes: B images, H W pixels, N patches, M tokens of an image, K the same, C channels of the vision features,
E channels of the tokens, D code dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from lavit.tokenizer.codebook import VectorQuantizer
from lavit.tokenizer.pooling import Layout
from lavit.tokenizer.tokens import VisualTokens
from lavit.vision.encoder import VisionEncoder


class VisualTokenizer(nn.Module):
    """Base of all tokenizers.

    Attributes:
        feature_dim: channels E of the continuous features that enter an arm.
        num_places: places that a token may have.
        tokens_per_image: a number where every image has as many; None where the end has to be predicted.
        positions: ``place`` (models are told where a token lies) or ``rank``.
        places_implied: a token's place follows from its rank and all are filled.
        place_patches_MN: share of each cell of a square grid in each place; None where models are told ranks.
        quantised: False where training used no codebook.
        layout: where tokens may lie on the grid of patches; None where they are no patches and no cells of it.
        paints: the tokenizer turns tokens into pixels itself (:meth:`paint`), without a pixel decoder.
        sees_pixels: tokens are made from the images, not from vision features.
        chooses: a learned selector decides which places become tokens.

    Args:
        vision_dim: channels C of the vision features.
        vision: the encoder; None where only features are at hand.
    """

    mean_C: Tensor
    std_C: Tensor
    quantizer: VectorQuantizer
    feature_dim: int
    num_places: int
    tokens_per_image: int | None
    positions: str
    place_patches_MN: Tensor | None
    quantised: bool
    layout: Layout | None
    paints = False
    sees_pixels = False
    chooses = False

    def __init__(self, vision_dim: int, vision: VisionEncoder | None = None):
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(vision_dim))
        self.register_buffer("std_C", torch.ones(vision_dim))
        self.vision = vision

    @property
    def codebook_size(self) -> int:
        """Codes of the codebook."""
        return self.quantizer.codebook_size

    @property
    def code_dim(self) -> int:
        """Dimensions of a code."""
        return self.quantizer.code_dim

    @property
    def places_implied(self) -> bool:
        """Whether a token's place follows from its rank and all are filled."""
        return self.tokens_per_image is not None

    @property
    def feature_mean(self) -> Tensor:
        """Mean [C] of the vision features over the training images (0 where they are not standardised)."""
        return self.mean_C

    @property
    def feature_std(self) -> Tensor:
        """Standard deviation [C] of the vision features (1 where they are not standardised)."""
        return self.std_C

    def standardise(self, features_BNC: Tensor) -> Tensor:
        """Zero mean and unit variance of each channel: raw features are nearly all background and offset."""
        return (features_BNC - self.mean_C) / self.std_C

    def restore(self, standard_BNC: Tensor) -> Tensor:
        """The inverse of :meth:`standardise`."""
        return standard_BNC * self.std_C + self.mean_C

    def look(self, images_BHWC: Tensor) -> Tensor:
        """Vision features [B, N, C] of uint8 images.

        Raises:
            ValueError: the tokenizer was loaded without its encoder.
        """
        if self.vision is None:
            raise ValueError(
                "this tokenizer was loaded without a vision encoder; give load() the vision stage's folder"
            )
        features_BNC: Tensor = self.vision(images_BHWC)
        return features_BNC

    @torch.no_grad()
    def encode(self, images_BHWC: Tensor | np.ndarray) -> VisualTokens:
        """Visual tokens of uint8 images; deterministic, at least one an image."""
        return self.tokens_of(torch.as_tensor(images_BHWC))

    def tokens_of(self, images_BHWC: Tensor, features_BNC: Tensor | None = None) -> VisualTokens:
        """The same, with the images' vision features where they are at hand."""
        raise TypeError(f"{type(self).__name__} does not define tokens_of")

    def kept(self, features_BNC: Tensor, keys_B: Tensor) -> Tensor:
        """Which places become tokens, bool [B, M]: all of them, unless a selector says otherwise."""
        return torch.ones(len(features_BNC), self.num_places, dtype=torch.bool, device=features_BNC.device)

    def patches(self, tokens: VisualTokens) -> list[Tensor] | None:
        """Which patches of each image became tokens; None where a token is no patch."""
        return None

    def decode(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Vision features [B, N, C] of token vectors (codebook rows or continuous)."""
        raise TypeError(f"{type(self).__name__} does not define decode")

    def paint(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Pixels [B, H, W, 3] in 0 … 1 of token vectors, of a tokenizer that ``paints``."""
        raise TypeError(f"{type(self).__name__} paints no pixels; decode() gives features for a pixel decoder")

    def lookup(self, codes_BK: Tensor) -> Tensor:
        """Codebook rows [B, K, D]."""
        return self.quantizer.lookup(codes_BK)

    @contextmanager
    def seeing(self, vision: VisionEncoder) -> Iterator[None]:
        """With an encoder for as long as this lasts: in training it is no part of what is saved."""
        before, self.vision = self.vision, vision
        try:
            yield
        finally:
            self.vision = before


class FixedTokenizer(VisualTokenizer):
    """Every image has M tokens, in the same order.

    Args:
        vision_dim: channels C of the vision features.
        feature_dim: channels E of the tokens.
        tokens: M.
        quantised: see :class:`VisualTokenizer`.
    """

    def __init__(self, vision_dim: int, feature_dim: int, tokens: int, quantised: bool = True):
        super().__init__(vision_dim)
        self.feature_dim, self.num_places, self.quantised = feature_dim, tokens, quantised
        self.tokens_per_image = tokens
        self.layout = None

    def full(self, features_BME: Tensor) -> VisualTokens:
        """Tokens out of what all places hold before quantisation."""
        batch = len(features_BME)
        vectors_BMD = self.quantizer.vectors(features_BME)
        places_BM = torch.arange(self.num_places, device=features_BME.device).expand(batch, -1)
        mask_BM = torch.ones_like(places_BM, dtype=torch.bool)
        return VisualTokens(features_BME, vectors_BMD, self.quantizer.codes(vectors_BMD), places_BM, mask_BM)

    def fill(self, vectors_BKD: Tensor, places_BK: Tensor, mask_BK: Tensor) -> Tensor:
        """Vectors [B, M, D] of all places, zero where there is no token.

        Raises:
            ValueError: a place does not exist.
        """
        mask_BK = mask_BK.bool()
        if bool(((places_BK >= self.num_places) | (places_BK < 0))[mask_BK].any()):
            raise ValueError(
                f"places must lie in 0 to {self.num_places - 1}, got {places_BK.min()} to {places_BK.max()}"
            )
        filled_BMD = vectors_BKD.new_zeros(len(vectors_BKD), self.num_places, vectors_BKD.shape[-1])
        image_BK = torch.arange(len(vectors_BKD), device=places_BK.device)[:, None].expand_as(places_BK)
        return filled_BMD.index_put((image_BK[mask_BK], places_BK[mask_BK]), vectors_BKD[mask_BK])
