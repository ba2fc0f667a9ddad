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
    """A rectangle of ``mean`` cells, as square as can be (6 becomes 2 rows of 3), each averaging what it covers.

    Raises:
        LavitError: no rectangle within the patch grid has that many cells.
    """
    sizes = {rows * columns: (rows, columns) for rows in range(1, grid + 1) for columns in range(rows, grid + 1)}
    for rows in range(1, grid + 1):
        for columns in range(rows, grid + 1):
            if columns - rows < sizes[rows * columns][1] - sizes[rows * columns][0]:
                sizes[rows * columns] = (rows, columns)
    if mean not in sizes:
        raise LavitError(
            f"tokens.mean={mean} cannot be pooled into a rectangle on {grid} x {grid} patches; "
            f"possible: {', '.join(map(str, sorted(sizes)))}, or any whole number with tokens.pool=sequence"
        )
    rows, columns = sizes[int(mean)]
    row_RG, column_CG = _averages(rows, grid), _averages(columns, grid)
    return Layout(torch.kron(row_RG, column_CG))


def pool_sequence(grid: int, mean: float) -> Layout:
    """``mean`` cells along the raster order, each averaging a run of patches: possible for any whole number.

    Raises:
        LavitError: ``mean`` is not a whole number of 1 to the number of patches.
    """
    if mean != int(mean) or not 1 <= mean <= grid * grid:
        raise LavitError(f"tokens.mean={mean} cannot be pooled: choose a whole number of 1 to {grid * grid}")
    return Layout(_averages(int(mean), grid * grid))


def _averages(cells: int, length: int) -> Tensor:
    """Matrix [cells, length] of adaptive average pooling: cell i covers floor(i L / n) to ceil((i + 1) L / n)."""
    matrix = torch.zeros(cells, length)
    for cell in range(cells):
        first, last = cell * length // cells, -(-(cell + 1) * length // cells)
        matrix[cell, first:last] = 1 / (last - first)
    return matrix
