"""What a U-Net is conditioned on: tokens, and where it wants one a pooled vector, made of vision features.

LaVIT's two decoders (arXiv 2309.04669, section 3; released in two resolutions) differ in this head alone: at low
resolution one linear layer, at high resolution two whose outputs lie side by side, and an attention pool.

Shapes: B images, N patches, M = N + 1 rows of the pool, C feature width, D condition width, P pooled width, H heads,
E channels of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError


class LowResolutionCondition(nn.Module):
    """One condition token a patch.

    Args:
        width: channels C of the features.
        condition_dim: channels D of a condition token (Stable Diffusion 1.5: 768).
    """

    def __init__(self, width: int, condition_dim: int):
        super().__init__()
        self.project = nn.Linear(width, condition_dim)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """Condition tokens [B, N, D]."""
        return self.project(features_BNC)


class AttentionPool(nn.Module):
    """One vector of N rows: their mean asks, and they and the mean answer, in one multi-head attention.

    Args:
        width: channels C of the rows.
        pooled_dim: channels P of the vector.
        patches: rows N, each of which has a learned position beside that of the mean.
        heads: attention heads H.

    Raises:
        LavitError: the heads do not divide the width.
    """

    def __init__(self, width: int, pooled_dim: int, patches: int, heads: int):
        super().__init__()
        if width % heads:
            raise LavitError(
                f"heads={heads} does not divide the feature width {width}", "choose heads that divides the width"
            )
        self.heads = heads
        self.positions_MC = nn.Parameter(torch.randn(patches + 1, width) * width**-0.5)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, pooled_dim)

    def forward(self, features_BNC: Tensor) -> Tensor:
        """The pooled vector [B, P]."""
        x_BMC = torch.cat([features_BNC.mean(1, keepdim=True), features_BNC], 1) + self.positions_MC
        query_BH1E = self._split(self.query(x_BMC[:, :1]))
        key_BHME, value_BHME = self._split(self.key(x_BMC)), self._split(self.value(x_BMC))
        mixed_BH1E = F.scaled_dot_product_attention(query_BH1E, key_BHME, value_BHME)
        return self.out(mixed_BH1E.flatten(1))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class HighResolutionCondition(nn.Module):
    """Condition tokens of two linear layers side by side, and the pooled vector that Stable Diffusion XL asks for.

    Args:
        width: channels C of the features.
        condition_dim: channels D of the first layer (768).
        pooled_dim: channels P of the second layer and of the pooled vector (1280).
        patches: patches N of an image.
        heads: heads of the attention pool.
    """

    def __init__(self, width: int, condition_dim: int, pooled_dim: int, patches: int, heads: int):
        super().__init__()
        self.first = nn.Linear(width, condition_dim)
        self.second = nn.Linear(width, pooled_dim)
        self.pool = AttentionPool(width, pooled_dim, patches, heads)

    def forward(self, features_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Condition tokens [B, N, D + P] and the pooled vector [B, P]."""
        tokens = torch.cat([self.first(features_BNC), self.second(features_BNC)], -1)
        return tokens, self.pool(features_BNC)
