"""What all connectors share that see an image whole.

Shapes: B images, N patches, C feature width, M embeddings of an image, W width of the LLM.
"""

from __future__ import annotations

from torch import Tensor, nn


class ImageConnector(nn.Module):
    """Features of all patches of an image to a fixed number of embeddings.

    Args:
        feature_dim: C.
        width: W, the language model's.
        patches: N, in raster order over a square grid.
        tokens: M.
    """

    def __init__(self, feature_dim: int, width: int, patches: int, tokens: int):
        super().__init__()
        self.feature_dim, self.width, self.patches, self.tokens = feature_dim, width, patches, tokens

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W].

        Args:
            features_BNC: features of patches.
            mask_BN: True where there is one; connectors that need the whole grid may take it to be all True.
        """
        raise TypeError(f"{type(self).__name__} does not define forward")
