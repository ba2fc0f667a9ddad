"""Everything that tells a U-Net what to paint: condition tokens, a pooled vector, a map beside the picture, or nothing.

Shapes: B images, N patches, C feature width, D condition width, P pooled width, E channels of the map, G patches along
a side, h w rows and columns of what is denoised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.pixels.condition import HighResolutionCondition, LowResolutionCondition

TIME_IDS = 6  # numbers that a Stable Diffusion XL U-Net takes beside the pooled vector


@dataclass(frozen=True)
class Condition:
    """What the U-Net sees of the features; None for what it does not ask for."""

    tokens_BND: Tensor
    pooled_BP: Tensor | None = None
    map_BEhw: Tensor | None = None

    def twice(self) -> Condition:
        """The same condition for a batch of two."""
        return Condition(*(None if x is None else torch.cat([x, x]) for x in vars(self).values()))  # type: ignore[arg-type]


class Conditioning(nn.Module):
    """Makes conditions of standardised features, and takes them away again.

    Args:
        feature_dim: channels C of the features.
        grid: patches along a side G.
        side: rows h = columns w of what is denoised.
        unet: the U-Net's configuration, which says what it asks for.
        beside: channels E of a map of the features that lies beside the noisy picture, each patch at its own place;
            0 for none, as LaVIT has it. Attention alone has to learn first which token belongs to which place.
        unconditional: ``zero`` or ``learned``: what stands in for tokens and vector that were taken away. The map is
            then zero.
        pool_heads: heads of the attention pool.

    Raises:
        LavitError: an unknown ``unconditional``.
    """

    def __init__(
        self, feature_dim: int, grid: int, side: int, unet: Any, beside: int, unconditional: str, pool_heads: int
    ):
        super().__init__()
        if unconditional not in ("zero", "learned"):
            raise LavitError(f"pixels.decoder.unconditional={unconditional!r} is unknown; choose zero or learned")
        self.grid, self.side = grid, side
        self.pooled_dim = 0
        self.head: nn.Module
        if unet.addition_embed_type == "text_time":
            self.pooled_dim = unet.projection_class_embeddings_input_dim - TIME_IDS * unet.addition_time_embed_dim
            own_dim = unet.cross_attention_dim - self.pooled_dim
            self.head = HighResolutionCondition(feature_dim, own_dim, self.pooled_dim, grid**2, pool_heads)
        else:
            self.head = LowResolutionCondition(feature_dim, unet.cross_attention_dim)
        self.beside = nn.Linear(feature_dim, beside) if beside else None
        learned = unconditional == "learned"
        self.nothing_ND = nn.Parameter(torch.zeros(grid**2, unet.cross_attention_dim), learned)
        self.nothing_P = nn.Parameter(torch.zeros(self.pooled_dim), learned)

    def forward(self, standard_BNC: Tensor) -> Condition:
        """The condition of standardised features."""
        tokens, pooled = self.head(standard_BNC) if self.pooled_dim else (self.head(standard_BNC), None)
        if self.beside is None:
            return Condition(tokens, pooled)
        map_BEGG = self.beside(standard_BNC).transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return Condition(tokens, pooled, F.interpolate(map_BEGG, self.side))

    def take_away(self, condition: Condition, gone_B: Tensor) -> Condition:
        """The condition without that of the images where ``gone_B`` is true."""
        tokens, pooled, map_BEhw = condition.tokens_BND, condition.pooled_BP, condition.map_BEhw
        return Condition(
            torch.where(gone_B[:, None, None], self.nothing_ND, tokens),
            None if pooled is None else torch.where(gone_B[:, None], self.nothing_P, pooled),
            None if map_BEhw is None else map_BEhw.masked_fill(gone_B[:, None, None, None], 0),
        )
