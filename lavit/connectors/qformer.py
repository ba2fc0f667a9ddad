"""The Q-Former of BLIP-2 (Li et al. 2023, section 3.1): a BERT whose learned queries read an image.

As in BERT, norms come after each residual. Every second layer, from the first on, has cross-attention to the normed
features. Queries have feed-forward parts of their own: where text shares the self-attention (the first stage,
``lavit.stages.qformer``), it goes through others, which are dropped together with its embeddings and heads. Dropout is
left out, and weights begin random rather than as BERT's.

Shapes: B images, N patches, C feature width, M queries, T text positions, L = M + T, H hidden width, W width of LLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lavit.connectors.attention import Attention, head_width
from lavit.connectors.image import ImageConnector
from lavit.errors import LavitError

QUERY_STD = 0.02
EPSILON = 1e-12  # of BERT's norms
FIRST_STAGE = "connector.safetensors"  # what the first stage leaves of the query part


class QFormer(ImageConnector):
    """See the module's docstring.

    Args:
        feature_dim, width, patches, tokens, positions: see :class:`~lavit.connectors.image.ImageConnector`.
        depth: layers (BLIP-2: 12).
        hidden: width H (768).
        heads: of each attention (12).
        cross_every: a layer with cross-attention, then this many less one without (2).
        mlp_ratio: hidden width of the feed-forward parts in units of H (4).
        first_stage: settings of the stage that trains the queries without an LLM, read by ``lavit.stages.qformer``;
            None where there is none. The module is the same.
    """

    def __init__(
        self,
        feature_dim: int,
        width: int,
        patches: int,
        tokens: int,
        depth: int = 12,
        hidden: int = 768,
        heads: int = 12,
        cross_every: int = 2,
        mlp_ratio: float = 4.0,
        positions: bool = True,
        first_stage: Mapping[str, Any] | None = None,
    ):
        super().__init__(feature_dim, width, patches, tokens, positions)
        self.hidden = hidden
        self.norm_features = nn.LayerNorm(feature_dim)
        self.queries_MH = nn.Parameter(torch.randn(tokens, hidden) * QUERY_STD)
        self.norm_embeddings = nn.LayerNorm(hidden, eps=EPSILON)
        self.layers = nn.ModuleList(
            QFormerLayer(hidden, heads, mlp_ratio, feature_dim if number % cross_every == 0 else None)
            for number in range(depth)
        )
        self.out: nn.Module = nn.Linear(hidden, width)

    def forward(self, features_BNC: Tensor, mask_BN: Tensor) -> Tensor:
        """Embeddings [B, M, W]; features that ``mask_BN`` hides have no influence."""
        return self.out(self.read(features_BNC, mask_BN))

    def read(
        self,
        features_BNC: Tensor,
        mask_BN: Tensor,
        text_BTH: Tensor | None = None,
        seen_BLL: Tensor | None = None,
        text_parts: Sequence[nn.Module] = (),
    ) -> Tensor:
        """Hidden states of queries, and of text beside them [B, L, H].

        Args:
            features_BNC, mask_BN: as in :meth:`forward`.
            text_BTH: embedded text.
            seen_BLL: True where a position (row) may see another; all of them where it is not given.
            text_parts: the feed-forward part that text goes through in each layer.
        """
        features_BNC = self.norm_features(self.placed(features_BNC))
        x_BLH = self.queries_MH.expand(len(features_BNC), -1, -1)
        if text_BTH is not None:
            x_BLH = torch.cat([x_BLH, text_BTH], 1)
        x_BLH = self.norm_embeddings(x_BLH)
        seen = None if seen_BLL is None else seen_BLL[:, None]
        for number, layer in enumerate(self.layers):
            part = text_parts[number] if text_BTH is not None else None
            x_BLH = layer(x_BLH, self.tokens, features_BNC, mask_BN[:, None, None], seen, part)
        return x_BLH

    def query_state(self) -> dict[str, Tensor]:
        """What a first stage leaves: all weights but those of the way into the LLM."""
        return {name: value.contiguous() for name, value in self.state_dict().items() if not name.startswith("out.")}

    def begin_from(self, folder: Path) -> None:
        """Take the query part over from a finished first stage.

        Raises:
            LavitError: it was trained at another size.
        """
        kept = load_file(folder / FIRST_STAGE)
        own = self.query_state()
        if {n: t.shape for n, t in kept.items()} != {n: t.shape for n, t in own.items()}:
            raise LavitError(
                f"{folder / FIRST_STAGE} does not fit this Q-Former",
                "run the stage `qformer` again with this connector's settings",
            )
        self.load_state_dict(kept, strict=False)


class FeedForward(nn.Module):
    """BERT's: widen, GELU, narrow, add, norm."""

    def __init__(self, hidden: int, mlp_ratio: float):
        super().__init__()
        inner = round(mlp_ratio * hidden)
        self.widen, self.narrow = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden, eps=EPSILON)

    def forward(self, x_BLH: Tensor) -> Tensor:
        """The same positions [B, L, H]."""
        return self.norm(x_BLH + self.narrow(nn.functional.gelu(self.widen(x_BLH))))


class QFormerLayer(nn.Module):
    """Self-attention of queries and text, cross-attention of queries where there is one, feed-forward parts.

    Args:
        hidden, heads, mlp_ratio: as in :class:`QFormer`.
        feature_dim: C in layers with cross-attention, None in the others.
    """

    def __init__(self, hidden: int, heads: int, mlp_ratio: float, feature_dim: int | None):
        super().__init__()
        each = head_width(hidden, heads)
        self.attend_self = Attention(hidden, heads, each, bias=True)
        self.norm_self = nn.LayerNorm(hidden, eps=EPSILON)
        self.attend_cross: Attention | None = None
        if feature_dim is not None:
            self.attend_cross = Attention(hidden, heads, each, feature_dim, bias=True)
            self.norm_cross = nn.LayerNorm(hidden, eps=EPSILON)
        self.query_part = FeedForward(hidden, mlp_ratio)

    def forward(
        self,
        x_BLH: Tensor,
        queries: int,
        features_BNC: Tensor,
        shown: Tensor,
        seen: Tensor | None,
        text_part: nn.Module | None,
    ) -> Tensor:
        """All positions after this layer [B, L, H].

        Args:
            x_BLH: queries, then text.
            queries: M.
            features_BNC: the features, normed.
            shown: True where there is a feature; broadcasts to [B, heads, M, N].
            seen: True where a position may see another; broadcasts to [B, heads, L, L].
            text_part: feed-forward part of text; None where there is none.
        """
        x_BLH = self.norm_self(x_BLH + self.attend_self(x_BLH, x_BLH, seen))
        query_BMH = x_BLH[:, :queries]
        if self.attend_cross is not None:
            query_BMH = self.norm_cross(query_BMH + self.attend_cross(query_BMH, features_BNC, shown))
        query_BMH = self.query_part(query_BMH)
        if text_part is None:
            return query_BMH
        return torch.cat([query_BMH, text_part(x_BLH[:, queries:])], 1)
