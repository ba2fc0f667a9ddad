"""One matrix (LLaVA 1.0)."""

from __future__ import annotations

from torch import nn


class Linear(nn.Linear):
    """Features [E, C] to embeddings [E, W].

    Args:
        feature_dim: C.
        width: W, the language model's.
    """

    def __init__(self, feature_dim: int, width: int):
        super().__init__(feature_dim, width)
