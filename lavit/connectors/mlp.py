"""Two matrices with a GELU between them (LLaVA 1.5)."""

from __future__ import annotations

from torch import nn


class MLP(nn.Sequential):
    """Features [E, C] to embeddings [E, W].

    LaVIT trains a copy of its merger beside a linear projector; at the small scales this stands in for both.

    Args:
        feature_dim: C.
        width: W, the language model's.
        ratio: hidden width in units of ``width``.
    """

    def __init__(self, feature_dim: int, width: int, ratio: float = 6.0):
        hidden = round(ratio * width)
        super().__init__(nn.Linear(feature_dim, hidden), nn.GELU(), nn.Linear(hidden, width))
