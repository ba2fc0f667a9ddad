"""Finite scalar quantisation: a few bounded dimensions, each rounded to a few levels; no codebook to learn.

Mentzer et al. 2023 (section 3.1 and its appendix): a dimension of L levels is bounded by tanh to about L values and
rounded; the code is the number that its rounded dimensions spell. Nothing has to be initialised, committed or revived.

Shapes: C channels, D dimensions (one a level), K codes (the product of the levels); ``...`` any leading dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.tokenizer.codebook import VectorQuantizer
from lavit.vision.blocks import init_transformer

MARGIN = 1e-3  # by which the bound lies above the outermost level, so that it can be reached


class FiniteScalarQuantizer(VectorQuantizer):
    """See the module's docstring. Vectors are the bounded dimensions in units of half the range, within -1 … 1.

    Args:
        width: channels C of the tokens.
        levels: levels of each dimension, e.g. 8, 8, 8 for 512 codes.

    Raises:
        LavitError: a dimension has fewer than two levels.
    """

    unit = False
    learn = "fixed"
    levels_D: Tensor
    place_D: Tensor

    def __init__(self, width: int, levels: Sequence[int]):
        super().__init__()
        if not levels or min(levels) < 2:
            raise LavitError(f"tokenizer.quantizer.levels={list(levels)}: each dimension needs at least two levels")
        self.codebook_size, self.code_dim = math.prod(levels), len(levels)
        self.project = nn.Linear(width, len(levels))
        init_transformer(self.project)
        self.register_buffer("levels_D", torch.tensor(list(levels)), persistent=False)
        places = [math.prod(levels[:dimension]) for dimension in range(len(levels))]
        self.register_buffer("place_D", torch.tensor(places), persistent=False)

    def vectors(self, merged: Tensor) -> Tensor:
        """Bounded dimensions [..., D] in units of half the range."""
        half_D = (self.levels_D - 1) * (1 + MARGIN) / 2
        even_D = (self.levels_D % 2 == 0) * 0.5  # an even number of levels lies around a half
        bounded = torch.tanh(self.project(merged).float() + torch.atanh(even_D / half_D)) * half_D - even_D
        return bounded / (self.levels_D // 2)

    def codes(self, vectors: Tensor) -> Tensor:
        """The number [...] that the rounded dimensions spell, the first one the lowest place."""
        digits = (vectors * (self.levels_D // 2)).round().long() + self.levels_D // 2
        digits = torch.minimum(digits.clamp_min(0), self.levels_D - 1)
        return (digits * self.place_D).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """The levels [..., D] of codes, in units of half the range."""
        digits = codes[..., None] // self.place_D % self.levels_D
        return (digits - self.levels_D // 2) / (self.levels_D // 2)

    def loss(self, vectors: Tensor, quantised: Tensor, weights: Tensor, beta: float) -> tuple[Tensor, dict[str, Any]]:
        """Nothing: rounding needs no commitment."""
        return vectors.new_zeros(()), {}
