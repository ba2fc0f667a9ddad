"""The Perceiver resampler (Alayrac et al. 2022, section 2.2 and figure 5), with OpenFlamingo's details.

Learned latents attend to the features **and to themselves**: keys and values are made of both, concatenated, while
queries are made of latents alone. Features and latents have norms of their own. No biases; GELU; one last norm.

Shapes: B images, N patches, C feature width, M latents, W width of the LLM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lavit.connectors.attention import Attention
from lavit.connectors.image import ImageConnector


class Resampler(ImageConnector):
    """See the module's docstring; as wide inside as the features.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`. Flamingo
            has none for the places of patches: it leaves them to the encoder.
        depth: rounds of attention and feed-forward (6).
        heads: of each attention (OpenFlamingo: 8, Flamingo: 16).
        head_dim: channels of each head (OpenFlamingo: 64, Flamingo: 96).
        mlp_ratio: hidden width of the feed-forward parts in units of C.
    """

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int = 6,
        heads: int = 8,
        head_dim: int = 64,
        mlp_ratio: float = 4.0,
        positions: bool = True,
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.queries_MC = nn.Parameter(torch.randn(tokens, feature_dim))
        self.layers = nn.ModuleList(ResamplerLayer(feature_dim, heads, head_dim, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(feature_dim)
        # Cross-attention takes latents at any width; positions of a sequence have the LLM's.
        self.out = nn.Identity() if feature_dim == width else nn.Linear(feature_dim, width)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W]; features that ``mask_BN`` hides have no influence."""
        features_BNC = self.placed(features_BNC)
        latents_BMC = self.queries_MC.expand(len(features_BNC), -1, -1)
        own_BM = mask_BN.new_ones(latents_BMC.shape[:2])
        shown = torch.cat([mask_BN, own_BM], 1)[:, None, None]
        for layer in self.layers:
            latents_BMC = layer(latents_BMC, features_BNC, shown)
        return self.out(self.norm(latents_BMC))


class ResamplerLayer(nn.Module):
    """One round: attention to features and latents, then a feed-forward part, each with its residual."""

    def __init__(self, feature_dim: int, heads: int, head_dim: int, mlp_ratio: float):
        super().__init__()
        self.norm_features = nn.LayerNorm(feature_dim)
        self.norm_latents = nn.LayerNorm(feature_dim)
        self.attend = Attention(feature_dim, heads, head_dim)
        inner = round(mlp_ratio * feature_dim)
        self.forward_part = nn.Sequential(
            nn.LayerNorm(feature_dim),
            nn.Linear(feature_dim, inner, bias=False),
            nn.GELU(),
            nn.Linear(inner, feature_dim, bias=False),
        )

    def forward(self, latents_BMC: Tensor, features_BNC: Tensor, shown: Tensor) -> Tensor:
        """The latents after this round.

        Args:
            latents_BMC: as they are, not normed.
            features_BNC: as they are, not normed.
            shown: True where a feature, then a latent, may be seen; broadcasts to [B, heads, M, N + M].
        """
        normed_BMC = self.norm_latents(latents_BMC)
        context = torch.cat([self.norm_features(features_BNC), normed_BMC], 1)
        latents_BMC = latents_BMC + self.attend(normed_BMC, context, shown)
        return latents_BMC + self.forward_part(latents_BMC)
