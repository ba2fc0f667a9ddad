"""The quick pixel decoder: each patch is painted from its own feature and its neighbours'.

It is trained on real vision features with noise added, and serves every tokenizer of a study, so that no arm
is judged by a decoder that was fitted to it.

Shapes: B images, N patches, C channels, H W pixels, P values of a patch's pixels, G patches along a side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.vision.encoder import unpatchify


class PatchPixelDecoder(nn.Module):
    """A 3 x 3 mix over neighbouring patches, then an MLP that paints the patch.

    Args:
        feature_dim: channels C of the features.
        grid: patches along a side G.
        patch: side of a patch in pixels.
        hidden: width of the mix and the MLP.
        layers: hidden layers of the MLP after the mix.
    """

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, feature_dim: int, grid: int, patch: int, hidden: int, layers: int = 1):
        super().__init__()
        self.grid, self.patch = grid, patch
        self.mix = nn.Conv2d(feature_dim, hidden, 3, padding=1)
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.paint = nn.Sequential(*parts, nn.GELU(), nn.Linear(hidden, patch * patch * 3))
        self.register_buffer("mean_C", torch.zeros(feature_dim))
        self.register_buffer("std_C", torch.ones(feature_dim))

    def raw(self, standard_BNC: Tensor) -> Tensor:
        """Unbounded patch pixels [B, N, P] of standardised features: what training compares."""
        batch, _, channels = standard_BNC.shape
        x_BCGG = standard_BNC.transpose(1, 2).reshape(batch, channels, self.grid, self.grid)
        return self.paint(self.mix(x_BCGG).flatten(2).transpose(1, 2))

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Images [B, H, W, 3] in 0 … 1 of raw vision features."""
        return unpatchify(self.raw((features_BNC - self.mean_C) / self.std_C).clamp(0, 1), self.patch)
