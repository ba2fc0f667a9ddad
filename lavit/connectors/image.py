"""What all connectors share that see an image whole.

Shapes: B images, N patches, C feature width, M embeddings of an image, W width of the LLM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.errors import LavitError

PLACE_STD = 0.5  # of a row's or column's initial vector; features have unit variance


class ImageConnector(nn.Module):
    """Features of all patches of an image to a fixed number of embeddings.

    Args:
        feature_dim: C.
        width: W, the language model's.
        patches: N, in raster order over a square grid.
        tokens: M.
        positions: whether a learned vector of its place is added to each feature. Row-wise connectors are given the
            place of each embedding by the model; those that compress are not, so they get it here.
    """

    def __init__(self, feature_dim: int, width: int, patches: int, tokens: int, positions: bool = False):
        super().__init__()
        self.feature_dim, self.width, self.patches, self.tokens = feature_dim, width, patches, tokens
        self.positions_NC = nn.Parameter(initial_positions(patches, feature_dim)) if positions else None

    def placed(self, features_BNC: Tensor) -> Tensor:
        """Features with their places added, where this connector adds them [B, N, C]."""
        return features_BNC if self.positions_NC is None else features_BNC + self.positions_NC

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W].

        Args:
            features_BNC: features of patches.
            mask_BN: True where there is one; connectors that need the whole grid may take it to be all True.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


def initial_positions(patches: int, width: int) -> Tensor:
    """Initial vectors of places [N, C]: the sum of one for the row and one for the column.

    So that what is learned of one place ("left") holds in its whole column at once. Where patches lie on no square
    grid (runs of pooled cells) each has a vector of its own.
    """
    side = round(patches**0.5)
    if side * side != patches:
        return torch.randn(patches, width) * PLACE_STD
    row_GC, column_GC = torch.randn(2, side, width) * PLACE_STD
    return (row_GC[:, None] + column_GC[None]).flatten(0, 1)


def side_of_grid(number: int, what: str, remedy: str) -> int:
    """Side of a square grid of ``number`` cells.

    Raises:
        LavitError: no square has as many; names ``what`` and gives ``remedy``.
    """
    side = round(number**0.5)
    if number < 1 or side * side != number:
        raise LavitError(f"{what}={number} is no square number, and this connector needs a square grid", remedy)
    return side
