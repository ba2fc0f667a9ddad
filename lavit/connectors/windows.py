"""Windowed queries, after the Spatial Vision Aggregator of Cambrian-1 (Tong et al. 2024, section 3).

A grid of learned queries, each of which attends only to the square of features that it stands for. For one encoder,
and before the LLM alone: Cambrian also aggregates several encoders, and again between the LLM's layers.

Shapes: B images, N patches, C feature width, M queries, K side of a window, H hidden width, W width of the LLM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.connectors.attention import Attention, head_width
from lavit.connectors.image import ImageConnector
from lavit.connectors.pixel_shuffle import shuffle_factor, space_to_depth


class WindowedQueries(ImageConnector):
    """See the module's docstring.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`; N and M
            are squares, and the side of M divides that of N.
        depth: rounds of attention and feed-forward (Cambrian-1: 3).
        hidden: width H of the queries (Cambrian-1: 1024).
        heads: of each attention.
        mlp_ratio: hidden width of the feed-forward parts in units of ``hidden``.
    """

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int = 3,
        hidden: int = 1024,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        positions: bool = True,
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.factor = shuffle_factor(patches, tokens)
        self.norm_features = nn.LayerNorm(feature_dim)
        self.queries_MH = nn.Parameter(torch.randn(tokens, hidden))
        self.layers = nn.ModuleList(WindowLayer(hidden, heads, feature_dim, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W] in raster order."""
        normed_BNC = self.norm_features(self.placed(features_BNC))
        # Every window is an image of its own, with one query.
        windows = space_to_depth(normed_BNC, self.factor).unflatten(-1, (self.factor**2, -1)).flatten(0, 1)
        x = self.queries_MH.repeat(len(features_BNC), 1)[:, None]
        for layer in self.layers:
            x = layer(x, windows)
        return self.out(self.norm(x)).view(len(features_BNC), self.tokens, self.width)


class WindowLayer(nn.Module):
    """Attention of queries to their windows, then a feed-forward part, each after its norm and with its residual."""

    def __init__(self, hidden: int, heads: int, feature_dim: int, mlp_ratio: float):
        super().__init__()
        self.norm_queries = nn.LayerNorm(hidden)
        self.attend = Attention(hidden, heads, head_width(hidden, heads), feature_dim)
        inner = round(mlp_ratio * hidden)
        self.forward_part = nn.Sequential(
            nn.LayerNorm(hidden), nn.Linear(hidden, inner), nn.GELU(), nn.Linear(inner, hidden)
        )

    def forward(self, queries_R1H: Tensor, windows_RKC: Tensor) -> Tensor:
        """The queries [R, 1, H] after this layer; R is windows of all images."""
        queries_R1H = queries_R1H + self.attend(self.norm_queries(queries_R1H), windows_RKC)
        return queries_R1H + self.forward_part(queries_R1H)
