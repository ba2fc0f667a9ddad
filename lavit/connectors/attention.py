"""Attention of queries to a context, in the three dialects that connectors are written in.

Perceiver resamplers have no biases, BERT has them, and T5 has neither biases nor a division by the root of the width.

Shapes: B images, M queries, N context rows, H heads, E channels a head, C width of queries, D width of the context.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError


class Attention(nn.Module):
    """Multi-head attention.

    Args:
        width: C.
        heads: H.
        head_dim: E; heads need not fill the width.
        context_dim: D; C where it is not given.
        bias: whether its four projections have one.
        scale: factor of the scores; 1 / sqrt(E) where it is not given.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_dim: int,
        context_dim: int | None = None,
        bias: bool = False,
        scale: float | None = None,
    ):
        super().__init__()
        inner = heads * head_dim
        self.heads, self.scale = heads, scale
        self.query = nn.Linear(width, inner, bias=bias)
        self.key = nn.Linear(context_dim or width, inner, bias=bias)
        self.value = nn.Linear(context_dim or width, inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias)

    def forward(self, x_BMC: Tensor, context_BND: Tensor, mask: Tensor | None = None) -> Tensor:
        """What queries take from their context [B, M, C].

        Args:
            x_BMC: the queries.
            context_BND: keys and values are made of it.
            mask: broadcasts to [B, H, M, N]; booleans (True may be seen) or values that are added to the scores.
        """
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x_BMC), self.key(context_BND), self.value(context_BND))
        )
        mixed_BHME = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
        return self.out(mixed_BHME.transpose(1, 2).flatten(2))


def head_width(width: int, heads: int) -> int:
    """Channels of each of ``heads`` heads that share ``width``.

    Raises:
        LavitError: they cannot share it evenly.
    """
    if width % heads:
        raise LavitError(
            f"connector.hidden={width} cannot be divided into connector.heads={heads}",
            "choose a number of heads that divides it (scale.connector.hidden, scale.connector.heads)",
        )
    return width // heads
