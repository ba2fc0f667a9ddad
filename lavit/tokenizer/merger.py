"""Token mergers: what kept patches take over from dropped ones.

Every merger has two forms. ``forward`` carries all places and lets gradients reach the decisions (training of a learned
selector); ``packed`` carries kept rows only, as one sequence a batch, and gives the same rows.

Shapes: B images, M places, C channels, R kept rows of all images, S dropped rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.tokenizer.attention import WeightedAttention, WeightedSelfAttention
from lavit.tokenizer.packing import Kept, PackedRows, pack_kept
from lavit.vision.blocks import Mlp, init_transformer


class Merger(nn.Module):
    """What every merger offers."""

    def forward(self, features_BMC: Tensor, keep_BM: Tensor) -> Tensor:
        """Merged features [B, M, C]; only the rows of kept places have a meaning."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def packed(self, features_BMC: Tensor, keep_BM: Tensor, kept: Kept | None = None) -> Tensor:
        """Merged features of the kept places alone [R, C], image after image, in raster order."""
        return (kept or pack_kept(keep_BM)).take(self(features_BMC, keep_BM))


class MergerBlock(nn.Module):
    """Causal self-attention among the kept, cross-attention to the dropped, MLP; pre-norm, each with its residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, softmax: str):
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = WeightedSelfAttention(width, heads, softmax)
        self.norm_cross = nn.LayerNorm(width)
        self.cross_attention = WeightedAttention(width, heads, softmax)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BMC: Tensor, origin_BMC: Tensor, self_weights_BMM: Tensor, dropped_B1M: Tensor) -> Tensor:
        x_BMC = x_BMC + self.self_attention(self.norm_self(x_BMC), self_weights_BMM)
        x_BMC = x_BMC + self.cross_attention(self.norm_cross(x_BMC), origin_BMC, dropped_B1M)
        return x_BMC + self.mlp(self.norm_mlp(x_BMC))

    def packed(self, x_RC: Tensor, origin_SC: Tensor, rows: PackedRows, memory: PackedRows, causal: bool) -> Tensor:
        x_RC = x_RC + self.self_attention.packed(self.norm_self(x_RC), rows, causal)
        x_RC = x_RC + self.cross_attention.packed(self.norm_cross(x_RC), origin_SC, rows, memory)
        return x_RC + self.mlp(self.norm_mlp(x_RC))


class TokenMerger(Merger):
    """LaVIT's merger: kept tokens read each other, and the dropped patches hand over their content.

    Self-attention is causal in raster order (position i sees kept j <= i, and always itself), cross-attention
    sees the dropped features of the whole image (normed once, never updated); an image that dropped nothing reads the
    mean of its values. A dropped place can influence no kept one but through that memory, so the packed form leaves out
    the two thirds of the rows that mean nothing on the way out.

    Args:
        width: channels C.
        blocks: merger blocks (12 in LaVIT).
        heads: attention heads.
        mlp_ratio: hidden width of the MLPs in units of ``width``.
        causal: causal self-attention, as published; else bidirectional.
        softmax: ``exact``, or LaVIT's ``policy``, whose leak makes every place read every other, so that its packed
            form is the dense one, gathered.
    """

    def __init__(
        self, width: int, blocks: int, heads: int, mlp_ratio: float = 4.0, causal: bool = True, softmax: str = "exact"
    ):
        super().__init__()
        self.causal, self.leaks = causal, softmax == "policy"
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

    def packed(self, features_BMC: Tensor, keep_BM: Tensor, kept: Kept | None = None) -> Tensor:
        """Merged features of the kept places alone [R, C], image after image, in raster order."""
        kept = kept or pack_kept(keep_BM)
        if self.leaks:
            return kept.take(self(features_BMC, keep_BM))
        x_RC = kept.take(features_BMC)
        if not len(x_RC):
            return self.norm(x_RC)
        origin_SC = kept.take_memory(self.norm_origin(features_BMC))
        for block in self.blocks:
            x_RC = block.packed(x_RC, origin_SC, kept.rows, kept.memory, self.causal)  # type: ignore[operator]
        return self.norm(x_RC)


class MeanMerger(Merger):
    """Merging without weights: each dropped patch is averaged into the kept patch of the largest cosine."""

    def __init__(self, width: int):
        super().__init__()

    def forward(self, features_BMC: Tensor, keep_BM: Tensor) -> Tensor:
        """Averages [B, M, C]; dropped rows pass as they are."""
        kept_BM = keep_BM > 0.5
        unit_BMC = F.normalize(features_BMC, dim=-1)
        alike_BMM = (unit_BMC @ unit_BMC.transpose(1, 2)).masked_fill(~kept_BM[:, None], -2.0)
        host_BM = torch.where(kept_BM, torch.arange(kept_BM.shape[1], device=keep_BM.device), alike_BMM.argmax(-1))
        index_BMC = host_BM[..., None].expand_as(features_BMC)
        sums_BMC = torch.zeros_like(features_BMC).scatter_add(1, index_BMC, features_BMC)
        count_BM = torch.zeros_like(features_BMC[..., 0]).scatter_add(1, host_BM, torch.ones_like(features_BMC[..., 0]))
        return torch.where(kept_BM[..., None], sums_BMC / count_BM.clamp(min=1)[..., None], features_BMC)


class NoMerger(Merger):
    """Kept features pass as they are, and what was dropped is lost."""

    def __init__(self, width: int):
        super().__init__()

    def forward(self, features_BMC: Tensor, keep_BM: Tensor) -> Tensor:
        """The features themselves."""
        return features_BMC
