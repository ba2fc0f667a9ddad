"""SEED's causal query former: BLIP-2's Q-Former with a causal mask among its queries.

Query i reads queries 0 to i and all features, so output i, and the code made of it, depends on no later query: codes
form a sequence that a next-token model can predict from left to right. Blocks are BLIP-2's (post-norm, as in BERT;
cross-attention in every second), without its text side.

Shapes: B images, N patches, C feature width, M queries, H hidden width, A heads, E channels a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.blocks import Mlp, init_transformer

PLACES = 0.5  # spread of the learned places: beside features of unit variance, queries have to find them
EPSILON = 1e-12


class QueryAttention(nn.Module):
    """Attention with its residual and norm.

    Args:
        width: channels H of the queries.
        memory: channels of what is read.
        heads: A.
    """

    def __init__(self, width: int, memory: int, heads: int):
        super().__init__()
        if width % heads:
            raise LavitError(f"width {width} cannot be divided into {heads} heads")
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(memory, width), nn.Linear(memory, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x_BMH: Tensor, memory_BNC: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """The queries after reading; ``mask`` is True where there is something, and broadcasts to [B, A, M, N]."""
        parts = (self.query(x_BMH), self.key(memory_BNC), self.value(memory_BNC))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed_BAME = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.norm(x_BMH + self.out(mixed_BAME.transpose(1, 2).flatten(2)))


class QueryBlock(nn.Module):
    """Causal self-attention, cross-attention where the block has it, MLP."""

    def __init__(self, hidden: int, feature_dim: int, heads: int, mlp_ratio: float, reads: bool):
        super().__init__()
        self.attend_self = QueryAttention(hidden, hidden, heads)
        self.attend_cross = QueryAttention(hidden, feature_dim, heads) if reads else None
        self.mlp = Mlp(hidden, round(hidden * mlp_ratio))
        self.norm = nn.LayerNorm(hidden, eps=EPSILON)

    def forward(self, x_BMH: Tensor, features_BNC: Tensor, shown_B11N: Tensor) -> Tensor:
        """The queries after this block."""
        x_BMH = self.attend_self(x_BMH, x_BMH, causal=True)
        if self.attend_cross is not None:
            x_BMH = self.attend_cross(x_BMH, features_BNC, shown_B11N)
        return self.norm(x_BMH + self.mlp(x_BMH))


class CausalQueryFormer(nn.Module):
    """See the module's docstring. Arguments and call are those of a connector that sees an image whole.

    Args:
        feature_dim: C.
        width: H, of queries and outputs.
        patches: N; features get a learned place each.
        tokens: M.
        depth: blocks (SEED: 12).
        heads: A (SEED: 12).
        cross_every: blocks with cross-attention are the first and every so many after it (BLIP-2: 2).
        mlp_ratio: hidden width of the MLPs in units of ``width``.
        places: False leaves out the learned places, where the features carry their own (a ViT's, as in SEED).
    """

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int,
        heads: int,
        cross_every: int = 2,
        mlp_ratio: float = 4.0,
        places: bool = True,
    ):
        super().__init__()
        self.queries_MH = nn.Parameter(torch.zeros(tokens, width))
        self.place_NC = nn.Parameter(torch.zeros(patches, feature_dim)) if places else None
        self.norm_features = nn.LayerNorm(feature_dim)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.blocks = nn.ModuleList(
            QueryBlock(width, feature_dim, heads, mlp_ratio, block % cross_every == 0) for block in range(depth)
        )
        init_transformer(self)
        nn.init.normal_(self.queries_MH)
        if self.place_NC is not None:
            nn.init.normal_(self.place_NC, std=PLACES)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Outputs [B, M, H], the i-th of which knows queries 0 to i and every feature that ``mask_BN`` shows."""
        if self.place_NC is not None:
            features_BNC = features_BNC + self.place_NC
        features_BNC = self.norm_features(features_BNC)
        x_BMH = self.norm(self.queries_MH).expand(len(features_BNC), -1, -1)
        for block in self.blocks:
            x_BMH = block(x_BMH, features_BNC, mask_BN[:, None, None])
        return x_BMH
