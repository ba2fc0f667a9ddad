"""Tokenizer decoders: from token vectors back to one feature row a patch.

Both take the tokens of an image with their places and weights (1 a token, 0 padding; the selector's
straight-through decisions in training, so that reconstruction teaches the selector directly).

Shapes: B images, K tokens, M places, N patches, D code dimensions, W decoder width, C channels of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.tokenizer.attention import WeightedAttention
from lavit.tokenizer.pooling import Layout
from lavit.vision.blocks import Block, Mlp, SelfAttention, init_transformer


class OutputTask(nn.Sequential):
    """Linear, tanh, Linear: the mirror image of the pre-quantizer (LaVIT's decoding task layer)."""

    def __init__(self, width: int, feature_dim: int):
        super().__init__(nn.LayerNorm(width), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, feature_dim))


class PlaceDecoder(nn.Module):
    """Tokens are put back where they came from, a mask token stands where there is none, and blocks fill the gaps.

    The place of a token is given, so that a code needs to carry content only; a model that generates tokens has
    to predict places as well.

    Args:
        code_dim: dimensions D of the token vectors.
        feature_dim: channels C of the features to reconstruct.
        layout: where tokens may lie.
        width, blocks, heads, mlp_ratio: of the transformer.
    """

    uses_places = True

    def __init__(
        self,
        code_dim: int,
        feature_dim: int,
        layout: Layout,
        width: int,
        blocks: int,
        heads: int,
        mlp_ratio: float = 4.0,
    ):
        super().__init__()
        self.layout = layout
        self.enter = nn.Linear(code_dim, width)
        self.absent_W = nn.Parameter(torch.zeros(width))
        self.place_NW = nn.Parameter(torch.zeros(layout.num_patches, width))
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(blocks))
        self.leave = OutputTask(width, feature_dim)
        init_transformer(self)
        nn.init.trunc_normal_(self.place_NW, std=0.2)
        nn.init.trunc_normal_(self.absent_W, std=0.2)

    def forward(self, vectors_BKD: Tensor, places_BK: Tensor, weights_BK: Tensor) -> Tensor:
        """Reconstructed features [B, N, C]. Tokens that claim one place are averaged."""
        weights_BK = weights_BK.to(vectors_BKD.dtype)
        batch, places = len(vectors_BKD), self.layout.num_places
        rows_BKW = self.enter(vectors_BKD) * weights_BK[..., None]
        sums_BMW = rows_BKW.new_zeros(batch, places, rows_BKW.shape[-1]).scatter_add(
            1, places_BK[..., None].expand_as(rows_BKW), rows_BKW
        )
        count_BM = weights_BK.new_zeros(batch, places).scatter_add(1, places_BK, weights_BK)
        held_BM1 = count_BM.clamp(max=1)[..., None]
        x_BMW = sums_BMW / count_BM.detach().clamp(min=1)[..., None] + (1 - held_BM1) * self.absent_W
        x_BNW = self.layout.spread(x_BMW) + self.place_NW
        for block in self.blocks:
            x_BNW = block(x_BNW)
        return self.leave(x_BNW)


class RankBlock(nn.Module):
    """Self-attention of the queries, cross-attention to the tokens, MLP; pre-norm, memory without a norm."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads)
        self.norm_cross = nn.LayerNorm(width)
        self.cross_attention = WeightedAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BNW: Tensor, tokens_BKW: Tensor, weights_B1K: Tensor) -> Tensor:
        x_BNW = x_BNW + self.self_attention(self.norm_self(x_BNW))
        x_BNW = x_BNW + self.cross_attention(self.norm_cross(x_BNW), tokens_BKW, weights_B1K)
        return x_BNW + self.mlp(self.norm_mlp(x_BNW))


class RankDecoder(nn.Module):
    """LaVIT's decoder: learned queries attend to the tokens, of which only the rank among the kept is known.

    Where a token came from must be carried by the token itself, which takes a large codebook.

    Args: as :class:`PlaceDecoder`.
    """

    uses_places = False

    def __init__(
        self,
        code_dim: int,
        feature_dim: int,
        layout: Layout,
        width: int,
        blocks: int,
        heads: int,
        mlp_ratio: float = 4.0,
    ):
        super().__init__()
        self.enter = nn.Linear(code_dim, width)
        self.rank_MW = nn.Parameter(torch.zeros(layout.num_places, width))
        self.query_NW = nn.Parameter(torch.zeros(layout.num_patches, width))
        self.blocks = nn.ModuleList(RankBlock(width, heads, mlp_ratio) for _ in range(blocks))
        self.leave = OutputTask(width, feature_dim)
        init_transformer(self)
        for table in (self.rank_MW, self.query_NW):
            nn.init.trunc_normal_(table, std=0.2)

    def forward(self, vectors_BKD: Tensor, places_BK: Tensor, weights_BK: Tensor) -> Tensor:
        """Reconstructed features [B, N, C]; ``places_BK`` is not looked at."""
        weights_BK = weights_BK.to(vectors_BKD.dtype)
        rank_BK = (weights_BK.detach().round().long().cumsum(1) - 1).clamp(0, len(self.rank_MW) - 1)
        tokens_BKW = self.enter(vectors_BKD) + self.rank_MW[rank_BK]
        x_BNW = self.query_NW.expand(len(vectors_BKD), -1, -1)
        for block in self.blocks:
            x_BNW = block(x_BNW, tokens_BKW, weights_BK[:, None])
        return self.leave(x_BNW)
