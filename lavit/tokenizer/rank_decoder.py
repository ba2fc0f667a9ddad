"""LaVIT's decoder: learned queries read the tokens, of which only the rank among an image's kept ones is known.

Shapes: B images, M places, R packed tokens, N patches, D code dimensions, W decoder width, C channels of the features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.tokenizer.attention import WeightedAttention
from lavit.tokenizer.decoder import OutputTask, TokenDecoder
from lavit.tokenizer.packing import PackedRows, pack_counts
from lavit.tokenizer.pooling import Layout
from lavit.vision.blocks import Mlp, SelfAttention, init_transformer


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

    def forward(self, x_BNW: Tensor, tokens_BMW: Tensor, weights_B1M: Tensor) -> Tensor:
        x_BNW = x_BNW + self.self_attention(self.norm_self(x_BNW))
        x_BNW = x_BNW + self.cross_attention(self.norm_cross(x_BNW), tokens_BMW, weights_B1M)
        return x_BNW + self.mlp(self.norm_mlp(x_BNW))

    def packed(self, x_BNW: Tensor, tokens_RW: Tensor, rows: PackedRows) -> Tensor:
        x_BNW = x_BNW + self.self_attention(self.norm_self(x_BNW))
        batch, number, _ = x_BNW.shape
        queries = pack_counts(torch.full((batch,), number, device=x_BNW.device))
        query_RW = self.norm_cross(x_BNW).flatten(0, 1)
        x_BNW = x_BNW + self.cross_attention.packed(query_RW, tokens_RW, queries, rows).view(x_BNW.shape)
        return x_BNW + self.mlp(self.norm_mlp(x_BNW))


class RankDecoder(TokenDecoder):
    """See the module's docstring. Where a token came from must be carried by its code, which takes a large codebook.

    Args: as :class:`~lavit.tokenizer.decoder.PlaceDecoder`.
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

    def forward(self, vectors_BMD: Tensor, weights_BM: Tensor) -> Tensor:
        """Reconstructed features [B, N, C] from the vectors of all places and their weights."""
        weights_BM = weights_BM.to(vectors_BMD.dtype)
        rank_BM = (weights_BM.detach().round().long().cumsum(1) - 1).clamp(min=0)
        tokens_BMW = self.enter(vectors_BMD) + self.rank_MW[rank_BM]
        x_BNW = self.query_NW.expand(len(vectors_BMD), -1, -1)
        for block in self.blocks:
            x_BNW = block(x_BNW, tokens_BMW, weights_BM[:, None])
        return self.leave(x_BNW)

    def packed(self, vectors_RD: Tensor, places_R: Tensor, rows: PackedRows) -> Tensor:
        """Reconstructed features [B, N, C] of packed tokens; ``places_R`` is not looked at.

        Raises:
            LavitError: an image has more tokens than there are ranks.
        """
        if rows.longest > len(self.rank_MW):
            raise LavitError(f"an image has {rows.longest} tokens, and the decoder knows {len(self.rank_MW)} ranks")
        tokens_RW, memory = self.memory(self.enter(vectors_RD), rows)
        x_BNW = self.query_NW.expand(len(rows.count_B), -1, -1)
        for block in self.blocks:
            x_BNW = block.packed(x_BNW, tokens_RW, memory)  # type: ignore[operator]
        return self.leave(x_BNW)

    def memory(self, tokens_RW: Tensor, rows: PackedRows) -> tuple[Tensor, PackedRows]:
        """Tokens with their rank added. An image without tokens reads the bare ranks, as in the official code, where
        its padding is all that there is to attend to: as many as the longest image of the batch has."""
        tokens_RW = tokens_RW + self.rank_MW[rows.rank_R]
        empty_E = (rows.count_B == 0).nonzero()[:, 0]
        if not len(empty_E):
            return tokens_RW, rows
        longest = max(1, rows.longest)
        count_B = rows.count_B.masked_fill(rows.count_B == 0, longest)
        padding_EW = self.rank_MW[:longest].repeat(len(empty_E), 1)
        slot_E = (empty_E[:, None] * longest + torch.arange(longest, device=empty_E.device)).flatten()
        slot_R = torch.cat([rows.image_R * longest + rows.rank_R, slot_E])
        memory = PackedRows(slot_R, count_B, longest, in_order=not len(tokens_RW))
        return torch.cat([tokens_RW, padding_EW]), memory
