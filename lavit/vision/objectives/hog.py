"""Histograms of oriented gradients of each patch (Dalal and Triggs 2005), as MaskFeat takes them.

Shapes: B images, H W pixels, N patches, O orientations, F values of a patch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.encoder import VisionEncoder


class HOG(nn.Module):
    """For each colour channel and cell a histogram of unsigned gradient orientations, weighted by magnitude and brought
    to unit length.

    Args:
        encoder: says how large patches are.
        cells: cells along a patch's side (MaskFeat: 2, of 8 pixels).
        bins: orientations over half a turn (MaskFeat: 9); the first begins at a gradient to the right.

    Raises:
        LavitError: cells do not divide a patch.
    """

    def __init__(self, encoder: VisionEncoder, cells: int = 2, bins: int = 9):
        super().__init__()
        if encoder.patch % cells:
            raise LavitError(
                f"vision.objective.feature.cells={cells} does not divide a patch of {encoder.patch} pixels"
            )
        self.patch, self.cells, self.bins = encoder.patch, cells, bins
        #: Values of a patch.
        self.dim = 3 * bins * cells**2

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Features [B, N, F] of images; a value's place is cell by cell in raster order, then channel, then
        orientation."""
        # Central differences; the border is repeated, so that it has no edge of its own.
        padded = F.pad(pixels_BHWC.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
        across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        magnitude = (across.square() + down.square()).sqrt()
        turned = torch.atan2(down, across) / math.pi % 1.0
        bin_BHWC = (turned * self.bins).long().clamp_max(self.bins - 1)
        orientations = torch.arange(self.bins, device=bin_BHWC.device)
        votes = magnitude[..., None] * (bin_BHWC[..., None] == orientations)  # [B, H, W, 3, O]
        size = self.patch // self.cells
        batch, height, width = votes.shape[:3]
        cells = votes.reshape(batch, height // size, size, width // size, size, 3 * self.bins).sum((2, 4))
        whole = F.normalize(cells.unflatten(-1, (3, self.bins)), dim=-1).flatten(-2)
        rows, columns = whole.shape[1] // self.cells, whole.shape[2] // self.cells
        whole = whole.reshape(batch, rows, self.cells, columns, self.cells, 3 * self.bins)
        return whole.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, self.dim)
