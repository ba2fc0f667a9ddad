"""The Causal Former of Emu (Sun et al. 2023, section 2.1): a T5 decoder that turns an image into a causal sequence.

Learned queries attend to each other causally, with T5's relative position bias, and to all features in every layer.
Embedding i so depends on queries 0 to i alone, and a language model can be asked to predict the embeddings one by one.
As in T5: RMS norms before each part, ReLU, no biases, no division of the scores by the root of the width. Dropout is
left out.

Shapes: B images, N patches, C feature width, M queries, H hidden width, A heads, W width of the LLM.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lavit.connectors.attention import Attention, head_width
from lavit.connectors.image import ImageConnector

QUERY_STD = 0.02
EPSILON = 1e-6


class CausalFormer(ImageConnector):
    """See the module's docstring.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`.
        depth: layers (Emu: 12).
        hidden: width H of the queries (Emu: 768).
        heads: of each attention (Emu: 12).
        mlp_ratio: hidden width of the feed-forward parts in units of ``hidden``.
        buckets, farthest: of the relative distances between queries, and the distance from which they share the last.
    """

    bucket_MM: Tensor
    future_MM: Tensor

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int = 12,
        hidden: int = 768,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        positions: bool = True,
        buckets: int = 32,
        farthest: int = 128,
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.norm_features = nn.LayerNorm(feature_dim)
        self.queries_MH = nn.Parameter(torch.randn(tokens, hidden) * QUERY_STD)
        self.distance = nn.Embedding(buckets, heads)
        self.layers = nn.ModuleList(
            CausalLayer(hidden, heads, feature_dim, round(mlp_ratio * hidden)) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(hidden, eps=EPSILON)
        self.out = nn.Linear(hidden, width)
        nn.init.normal_(self.distance.weight, std=hidden**-0.5)
        at_M = torch.arange(tokens)
        behind_MM = at_M[:, None] - at_M
        self.register_buffer("bucket_MM", distance_buckets(behind_MM, buckets, farthest), persistent=False)
        self.register_buffer("future_MM", behind_MM < 0, persistent=False)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W], the i-th of which knows queries 0 to i and every feature that ``mask_BN`` shows."""
        features_BNC = self.norm_features(self.placed(features_BNC))
        bias_AMM = self.distance(self.bucket_MM).permute(2, 0, 1).masked_fill(self.future_MM, float("-inf"))
        x_BMH = self.queries_MH.expand(len(features_BNC), -1, -1)
        for layer in self.layers:
            x_BMH = layer(x_BMH, features_BNC, bias_AMM[None], mask_BN[:, None, None])
        return self.out(self.norm(x_BMH))


class CausalLayer(nn.Module):
    """A layer of T5's decoder: causal self-attention, cross-attention, feed-forward; each after its RMS norm."""

    def __init__(self, hidden: int, heads: int, feature_dim: int, inner: int):
        super().__init__()
        each = head_width(hidden, heads)
        self.norm_self = nn.RMSNorm(hidden, eps=EPSILON)
        self.attend_self = Attention(hidden, heads, each, scale=1.0)
        self.norm_cross = nn.RMSNorm(hidden, eps=EPSILON)
        self.attend_cross = Attention(hidden, heads, each, feature_dim, scale=1.0)
        self.norm_forward = nn.RMSNorm(hidden, eps=EPSILON)
        widen, narrow = nn.Linear(hidden, inner, bias=False), nn.Linear(inner, hidden, bias=False)
        self.forward_part = nn.Sequential(widen, nn.ReLU(), narrow)
        for linear in (widen, narrow):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        for part in (self.attend_self, self.attend_cross):
            for linear in (part.key, part.value, part.out):
                nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            # T5's scores are not divided by the root of a head's width; its query weights begin smaller instead.
            nn.init.normal_(part.query.weight, std=(hidden * each) ** -0.5)

    def forward(self, x_BMH: Tensor, features_BNC: Tensor, bias: Tensor, shown: Tensor) -> Tensor:
        """The queries after this layer.

        Args:
            x_BMH: the queries.
            features_BNC: the features, normed.
            bias: added to the scores between queries; minus infinity for later ones.
            shown: True where there is a feature; broadcasts to [B, A, M, N].
        """
        normed_BMH = self.norm_self(x_BMH)
        x_BMH = x_BMH + self.attend_self(normed_BMH, normed_BMH, bias)
        x_BMH = x_BMH + self.attend_cross(self.norm_cross(x_BMH), features_BNC, shown)
        return x_BMH + self.forward_part(self.norm_forward(x_BMH))


def distance_buckets(behind_MM: Tensor, buckets: int, farthest: int) -> Tensor:
    """T5's unidirectional buckets (Raffel et al. 2020, section 2.1) of how far behind a query a key lies.

    Half of them are single distances, the others grow by a constant factor up to ``farthest``; what lies ahead falls
    into the first.
    """
    behind_MM = behind_MM.clamp_min(0)
    single = buckets // 2
    growth = torch.log(behind_MM.clamp_min(single).float() / single) / math.log(farthest / single)
    far_MM = single + (growth * (buckets - single)).long()
    return torch.where(behind_MM < single, behind_MM, far_MM.clamp_max(buckets - 1))
