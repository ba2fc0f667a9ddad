"""Transformer parts that the vision encoder, the tokenizer's decoder and the pixel decoder are made of.

Shapes: B batch, N positions (queries), M positions (keys), H heads, C channels, E channels a head.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them (exact form)."""

    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class SelfAttention(nn.Module):
    """Plain multi-head self-attention over all positions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise LavitError(f"width {width} cannot be divided into {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BNC: Tensor) -> Tensor:
        batch, length, width = x_BNC.shape
        qkv = self.qkv(x_BNC).view(batch, length, 3, self.heads, width // self.heads)
        query_BHNE, key_BHNE, value_BHNE = qkv.permute(2, 0, 3, 1, 4)
        mixed_BHNE = F.scaled_dot_product_attention(query_BHNE, key_BHNE, value_BHNE)
        return self.out(mixed_BHNE.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Pre-norm transformer block: self-attention, then an MLP, each with its residual."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BNC: Tensor) -> Tensor:
        x_BNC = x_BNC + self.attention(self.norm_attention(x_BNC))
        return x_BNC + self.mlp(self.norm_mlp(x_BNC))


RESIDUAL_INIT = 0.2  # of a residual branch's last layer: blocks begin near the identity


def init_transformer(module: nn.Module) -> None:
    """Zero biases, and weights of variance 1 / fan-in, for every linear layer below ``module``.

    The usual constant deviation of 0.02 is meant for a width of some thousands; narrow networks learn about half as
    fast with it. The last layer of each residual branch begins smaller.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=part.in_features**-0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear) and name.endswith(("attention.out", "mlp.2")):
            part.weight.data.mul_(RESIDUAL_INIT)
