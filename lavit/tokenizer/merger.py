"""Token mergers: what kept patches take over from dropped ones.

Shapes: B images, M places, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.tokenizer.attention import WeightedAttention
from lavit.vision.blocks import Mlp, init_transformer


class MergerBlock(nn.Module):
    """Causal self-attention among the kept, cross-attention to the dropped, MLP; pre-norm, each with its residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, softmax: str):
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = WeightedAttention(width, heads, softmax)
        self.norm_cross = nn.LayerNorm(width)
        self.cross_attention = WeightedAttention(width, heads, softmax)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BMC: Tensor, origin_BMC: Tensor, self_weights_BMM: Tensor, dropped_B1M: Tensor) -> Tensor:
        normed_BMC = self.norm_self(x_BMC)
        x_BMC = x_BMC + self.self_attention(normed_BMC, normed_BMC, self_weights_BMM)
        x_BMC = x_BMC + self.cross_attention(self.norm_cross(x_BMC), origin_BMC, dropped_B1M)
        return x_BMC + self.mlp(self.norm_mlp(x_BMC))


class TokenMerger(nn.Module):
    """LaVIT's merger: kept tokens read each other, and the dropped patches hand over their content.

    Self-attention is causal in raster order (position i sees kept j <= i, and always itself), cross-attention
    sees the dropped features of the whole image (normed once, never updated). All places are carried, and the
    rows of dropped ones mean nothing on the way out.

    Args:
        width: channels C.
        blocks: merger blocks (12 in LaVIT).
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs in units of ``width``.
        causal: causal self-attention, as published; else bidirectional.
        softmax: ``exact`` or LaVIT's ``policy``.
    """

    def __init__(
        self, width: int, blocks: int, heads: int, mlp_ratio: float = 4.0, causal: bool = True, softmax: str = "exact"
    ):
        super().__init__()
        self.causal = causal
        self.norm_origin = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(MergerBlock(width, heads, mlp_ratio, softmax) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        init_transformer(self)

    def forward(self, features_BMC: Tensor, keep_BM: Tensor) -> Tensor:
        """Merged features [B, M, C]; only the rows of kept places have a meaning."""
        places = features_BMC.shape[1]
        own_MM = torch.eye(places, dtype=torch.bool, device=keep_BM.device)
        self_weights_BMM = keep_BM[:, None].expand(-1, places, -1)
        if self.causal:
            self_weights_BMM = self_weights_BMM.tril()
        self_weights_BMM = torch.where(own_MM, 1.0, self_weights_BMM)
        dropped_B1M = 1 - keep_BM[:, None]
        origin_BMC = self.norm_origin(features_BMC)
        x_BMC = features_BMC
        for block in self.blocks:
            x_BMC = block(x_BMC, origin_BMC, self_weights_BMM, dropped_B1M)
        return self.norm(x_BMC)


class NoMerger(nn.Module):
    """Kept features pass as they are, and what was dropped is lost."""

    def __init__(self, width: int):
        super().__init__()

    def forward(self, features_BMC: Tensor, keep_BM: Tensor) -> Tensor:
        """The features themselves."""
        return features_BMC
