"""What every pixel decoder is: features to images, a training loss of its own, and the scale of the features.

A decoder is trained on real vision features with noise added, and serves every tokenizer of a study, so that no arm
is judged by a decoder that was fitted to it.

Shapes: B images, N patches, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PixelDecoder(nn.Module):
    """Base of all pixel decoders. Subclasses give :meth:`loss` and ``forward``.

    ``forward(features_BNC)`` returns images [B, H, W, 3] in 0 … 1, of the side that the features were taken from; the
    same features give the same image, whatever else is in the batch.

    Args:
        feature_dim: channels C of the features.
        noise: largest noise on standardised features in training, in units of their spread: reconstructed features
            are not exact, and a decoder that has seen exact ones only would not bear them.
    """

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, feature_dim: int, noise: float):
        super().__init__()
        self.noise = noise
        self.register_buffer("mean_C", torch.zeros(feature_dim))
        self.register_buffer("std_C", torch.ones(feature_dim))

    def initialise(self) -> None:
        """Take over weights that the config names by their path; called once, before training."""

    def architecture(self) -> dict[str, Any]:
        """Arguments that replace those which name a path, so that a finished decoder needs no file but its own."""
        return {}

    def standardise(self, features_BNC: Tensor) -> Tensor:
        """Features at mean 0 and spread 1 in each channel."""
        return (features_BNC.to(self.mean_C.device) - self.mean_C) / self.std_C

    def disturb(self, standard_BNC: Tensor, generator: torch.Generator) -> Tensor:
        """Standardised features plus noise of a random amount up to ``noise``, drawn for each image."""
        amount_B11 = torch.rand(len(standard_BNC), 1, 1, generator=generator) * self.noise
        noise_BNC = amount_B11 * torch.randn(standard_BNC.shape, generator=generator)
        return standard_BNC + noise_BNC.to(standard_BNC.device)

    def loss(
        self, features_BNC: Tensor, images_BHWC: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Any]]:
        """The scalar to minimise and what to log.

        Args:
            features_BNC: raw vision features.
            images_BHWC: the uint8 images that they were taken from.
            generator: the source of every random draw, on the CPU.
        """
        raise TypeError(f"{type(self).__name__} does not define loss(features, images, generator)")
