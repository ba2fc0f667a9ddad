"""Pixel shuffle (space to depth): a square of neighbouring features becomes the channels of one embedding.

Nothing is averaged away and no attention is learned. The grid keeps its orientation: cell (r, c) of the smaller grid
holds what lay at rows r * k ... and columns c * k ... of the larger one. A first version of InternVL's transposes it.

Shapes: B images, N patches, C feature width, M cells, K side of the square that becomes a cell, W width of the LLM.
"""

from __future__ import annotations

from torch import Tensor, nn

from lavit.connectors.image import ImageConnector, side_of_grid
from lavit.errors import LavitError

SINGLE_STD = 0.02


class PixelShuffle(ImageConnector):
    """See the module's docstring.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`; N and M
            are squares, and the side of M divides that of N.
        single: False for a norm and two matrices with a GELU between them (InternVL), True for one matrix without bias
            (nanoVLM).
    """

    def __init__(
        self, feature_dim: int, width: int, patches: int, tokens: int, single: bool = False, positions: bool = True
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.factor = shuffle_factor(patches, tokens)
        wide = feature_dim * self.factor**2
        self.project: nn.Module
        if single:
            self.project = nn.Linear(wide, width, bias=False)
            nn.init.normal_(self.project.weight, std=SINGLE_STD)
        else:
            self.project = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W] in raster order."""
        return self.project(space_to_depth(self.placed(features_BNC), self.factor))


def shuffle_factor(patches: int, tokens: int) -> int:
    """Side K of the squares of patches that become one cell each.

    Raises:
        LavitError: patches or cells are no square grid, or the cells do not divide the patches.
    """
    large = side_of_grid(patches, "number of patches", "use an encoder with a square grid, and tokens=fixed")
    squares = [side**2 for side in range(1, large + 1) if large % side == 0]
    remedy = f"choose one of {', '.join(map(str, squares))} (scale.connector.tokens)"
    small = side_of_grid(tokens, "connector.tokens", remedy)
    if large % small:
        raise LavitError(f"connector.tokens={tokens}: {small} x {small} cells do not divide {large} x {large}", remedy)
    return large // small


def space_to_depth(features_BNC: Tensor, factor: int) -> Tensor:
    """[B, N, C] over a square grid to [B, N / K**2, K**2 * C], both in raster order, as are the squares inside."""
    batch, patches, _ = features_BNC.shape
    small = round(patches**0.5) // factor
    grid = features_BNC.reshape(batch, small, factor, small, factor, -1)
    return grid.transpose(2, 3).reshape(batch, small * small, -1)
