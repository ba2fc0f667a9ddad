"""From what a connector makes of an image back to the features of its patches: how an arm draws in a space of its own.

Stands for the second stage of Emu, where a U-Net learns to paint from embeddings of a frozen model: features come out
here, and the pixel decoder that all arms share paints them.

Shapes: B images, M slots, N patches, W width of the LLM, C feature width, E width of the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.tokenizer.decoder import OutputTask
from lavit.tokenizer.rank_decoder import RankBlock
from lavit.vision.blocks import init_transformer


class ReadOut(nn.Module):
    """Learned queries, one a patch, read the slots; which slot is which is told by its rank.

    Args:
        slots: M.
        patches: N.
        llm_width: W.
        feature_dim: C.
        width: E.
        blocks, heads, mlp_ratio: of the decoder's transformer.
    """

    def __init__(
        self,
        slots: int,
        patches: int,
        llm_width: int,
        feature_dim: int,
        width: int,
        blocks: int,
        heads: int,
        mlp_ratio: float = 4.0,
    ):
        super().__init__()
        self.slots, self.llm_width = slots, llm_width
        self.norm = nn.LayerNorm(llm_width)  # a learned space has no scale that could be relied on
        self.enter = nn.Linear(llm_width, width)
        self.rank_ME = nn.Parameter(torch.zeros(slots, width))
        self.query_NE = nn.Parameter(torch.zeros(patches, width))
        self.blocks = nn.ModuleList(RankBlock(width, heads, mlp_ratio) for _ in range(blocks))
        self.leave = OutputTask(width, feature_dim)
        init_transformer(self)
        for table in (self.rank_ME, self.query_NE):
            nn.init.trunc_normal_(table, std=0.2)

    def forward(self, vectors_BMW: Tensor, mask_BM: Tensor | None = None) -> Tensor:
        """Standardised features [B, N, C] of the slots that are real (all, without a mask)."""
        batch, slots, _ = vectors_BMW.shape
        tokens_BME = self.enter(self.norm(vectors_BMW)) + self.rank_ME[:slots]
        weights_BM = tokens_BME.new_ones(batch, slots) if mask_BM is None else mask_BM.to(tokens_BME.dtype)
        x_BNE = self.query_NE.expand(batch, -1, -1)
        for block in self.blocks:
            x_BNE = block(x_BNE, tokens_BME, weights_BM[:, None])
        return self.leave(x_BNE)
