"""Tokenizer decoder by place: from token vectors back to one feature row a patch.

Decoders have two forms. ``packed`` takes the tokens of a batch as one sequence; ``forward`` takes the vectors of all
places with weights (1 a token, 0 none: the selector's straight-through decisions), so that reconstruction teaches the
selector directly.

Shapes: B images, M places, R packed tokens, N patches, D code dimensions, W decoder width, C channels of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.tokenizer.packing import PackedRows
from lavit.tokenizer.pooling import Layout
from lavit.vision.blocks import Block, init_transformer


class OutputTask(nn.Sequential):
    """LayerNorm, then Linear, tanh, Linear: the mirror image of the pre-quantizer (LaVIT's decoding task layer)."""

    def __init__(self, width: int, feature_dim: int):
        super().__init__(nn.LayerNorm(width), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, feature_dim))


class TokenDecoder(nn.Module):
    """What every decoder offers."""

    uses_places: bool  # False where only a token's rank among those of its image is known

    def forward(self, vectors_BMD: Tensor, weights_BM: Tensor) -> Tensor:
        """Reconstructed features [B, N, C] from the vectors of all places and their weights."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def packed(self, vectors_RD: Tensor, places_R: Tensor, rows: PackedRows) -> Tensor:
        """Reconstructed features [B, N, C] of packed tokens."""
        raise TypeError(f"{type(self).__name__} does not define packed")


class PlaceDecoder(TokenDecoder):
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

    def forward(self, vectors_BMD: Tensor, weights_BM: Tensor) -> Tensor:
        """Reconstructed features [B, N, C] from the vectors of all places and their weights."""
        weights_BM1 = weights_BM.to(vectors_BMD.dtype)[..., None]
        return self._fill(self.enter(vectors_BMD) * weights_BM1 + (1 - weights_BM1) * self.absent_W)

    def packed(self, vectors_RD: Tensor, places_R: Tensor, rows: PackedRows) -> Tensor:
        """Reconstructed features [B, N, C] of packed tokens; tokens that claim one place are averaged."""
        batch, places = len(rows.count_B), self.layout.num_places
        slot_R = rows.image_R * places + places_R
        tokens_RW = self.enter(vectors_RD)
        sums_SW = tokens_RW.new_zeros(batch * places, tokens_RW.shape[-1]).index_add(0, slot_R, tokens_RW)
        count_S = torch.bincount(slot_R, minlength=batch * places)[:, None]
        x_SW = torch.where(count_S > 0, sums_SW / count_S.clamp(min=1), self.absent_W.to(sums_SW.dtype))
        return self._fill(x_SW.view(batch, places, -1))

    def _fill(self, x_BMW: Tensor) -> Tensor:
        x_BNW = self.layout.spread(x_BMW) + self.place_NW
        for block in self.blocks:
            x_BNW = block(x_BNW)
        return self.leave(x_BNW)
