"""Where tokens may lie: one place a patch, or the cells of an average pooling.

A layout turns patch features into place features (``gather``) and spreads what a place holds over the patches
that it covers (``spread``).

Shapes: B images, N patches, M places, C channels, G patches along a side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.errors import LavitError


class Layout(nn.Module):
    """Average pooling by a fixed matrix.

    Args:
        gather_MN: share of each patch in each place; rows sum to 1.
    """

    gather_MN: Tensor
    spread_NM: Tensor

    def __init__(self, gather_MN: Tensor):
        super().__init__()
        self.num_places, self.num_patches = gather_MN.shape
        self.identity = self.num_places == self.num_patches  # as many cells as patches: each is one patch
        self.register_buffer("gather_MN", gather_MN, persistent=False)
        self.register_buffer("spread_NM", (gather_MN / gather_MN.sum(0)).T.contiguous(), persistent=False)

    def gather(self, features_BNC: Tensor) -> Tensor:
        """Place features [B, M, C]."""
        return features_BNC if self.identity else self.gather_MN @ features_BNC

    def spread(self, places_BMC: Tensor) -> Tensor:
        """Patch features [B, N, C] from what the places hold."""
        return places_BMC if self.identity else self.spread_NM @ places_BMC


def per_patch(grid: int) -> Layout:
    """One place for each patch."""
    return Layout(torch.eye(grid * grid))


def pool_grid(grid: int, mean: float) -> Layout:
    """``mean`` rectangles, as square as can be, each averaging what it covers: 6 are two rows of 3, 5 a row of 3 and
    one of 2.

    Raises:
        LavitError: ``mean`` is not a whole number of 1 to the number of patches.
    """
    cells = _whole(mean, grid)
    rows = max(round(cells**0.5 - 1e-9), -(-cells // grid))  # no row has more cells than the grid has columns
    row_RG = _averages(rows, grid)
    columns = [(cells - row - 1) // rows + 1 for row in range(rows)]  # as even as can be, the longer rows first
    parts = [torch.kron(row_RG[row : row + 1], _averages(count, grid)) for row, count in enumerate(columns)]
    return Layout(torch.cat(parts))


def pool_sequence(grid: int, mean: float) -> Layout:
    """``mean`` cells along the raster order, each averaging a run of patches: possible for any whole number.

    Raises:
        LavitError: ``mean`` is not a whole number of 1 to the number of patches.
    """
    cells = _whole(mean, grid)
    return Layout(_averages(cells, grid * grid))


def _whole(mean: float, grid: int) -> int:
    if mean != int(mean) or not 1 <= mean <= grid * grid:
        raise LavitError(f"tokens.mean={mean} cannot be pooled: choose a whole number of 1 to {grid * grid}")
    return int(mean)


def _averages(cells: int, length: int) -> Tensor:
    """Matrix [cells, length] of adaptive average pooling: cell i covers floor(i L / n) to ceil((i + 1) L / n)."""
    matrix = torch.zeros(cells, length)
    for cell in range(cells):
        first, last = cell * length // cells, -(-(cell + 1) * length // cells)
        matrix[cell, first:last] = 1 / (last - first)
    return matrix
