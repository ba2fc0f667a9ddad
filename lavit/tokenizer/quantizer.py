"""The quantizer: from a merged token to a unit vector of few dimensions, and to the nearest code of a codebook.

The codebook is cosine k-means kept up by moving averages (after BEiT v2, from which LaVIT's derives): no gradient
reaches it. What the released sources leave open, and what training fails without, are here as well:
initialisation from data and the revival of dead codes.

Shapes: R rows (tokens), C channels, D code dimensions, K codes; ``...`` any leading dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.blocks import init_transformer


class Quantizer(nn.Module):
    """Pre-quantizer (Linear, tanh, Linear) and cosine codebook.

    Args:
        width: channels C of the merged tokens.
        codebook_size: codes K.
        code_dim: dimensions D of a code.
        decay: of a code's moving average, and of its usage.
        usage_decay: of the usage that decides whether a code is dead; faster, so that the dead are found in time.
        dead_below: usage (share of the tokens, in units of 1 / K) under which a code is dead; 0 turns revival off.
    """

    codebook_KD: Tensor
    usage_K: Tensor
    ready: Tensor

    def __init__(
        self,
        width: int,
        codebook_size: int,
        code_dim: int,
        decay: float = 0.99,
        usage_decay: float = 0.9,
        dead_below: float = 0.05,
    ):
        super().__init__()
        self.codebook_size, self.code_dim = codebook_size, code_dim
        self.decay, self.usage_decay, self.dead_below = decay, usage_decay, dead_below
        self.project = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, code_dim))
        init_transformer(self.project)
        self.register_buffer("codebook_KD", F.normalize(torch.randn(codebook_size, code_dim), dim=-1))
        self.register_buffer("usage_K", torch.full((codebook_size,), 1 / codebook_size))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def vectors(self, merged: Tensor) -> Tensor:
        """Unit vectors [..., D] of merged tokens [..., C]: the continuous target, and what is quantised."""
        return F.normalize(self.project(merged).float(), dim=-1)

    def codes(self, vectors: Tensor) -> Tensor:
        """Index [...] of the nearest code (largest cosine; the first on a tie)."""
        return (vectors.float() @ self.codebook_KD.T).argmax(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook rows [..., D]."""
        return self.codebook_KD[codes]

    @torch.no_grad()
    def initialise(self, vectors_RD: Tensor, generator: torch.Generator, rounds: int = 10) -> None:
        """Spherical k-means on the tokens of many images, begun at distinct tokens."""
        order = torch.randperm(len(vectors_RD), generator=generator)[: self.codebook_size]
        centres_KD = vectors_RD[order].clone()
        if len(centres_KD) < self.codebook_size:
            raise LavitError(
                f"a codebook of {self.codebook_size} codes cannot be initialised from {len(centres_KD)} tokens; "
                "lower tokenizer.quantizer.codebook_size or raise tokenizer.init_images"
            )
        for _ in range(rounds):
            nearest_R = (vectors_RD @ centres_KD.T).argmax(-1)
            sums_KD, count_K = _sums(vectors_RD, nearest_R, self.codebook_size)
            fresh_KD = vectors_RD[torch.randint(len(vectors_RD), (self.codebook_size,), generator=generator)]
            centres_KD = F.normalize(torch.where(count_K[:, None] > 0, sums_KD, fresh_KD), dim=-1)
        self.codebook_KD.copy_(centres_KD)
        self.usage_K.fill_(1 / self.codebook_size)
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, vectors_RD: Tensor, codes_R: Tensor, generator: torch.Generator) -> int:
        """Move the codes towards the tokens assigned to them, and put dead ones onto random tokens.

        Returns:
            The number of revived codes.
        """
        sums_KD, count_K = _sums(vectors_RD, codes_R, self.codebook_size)
        moved_KD = F.normalize(self.decay * self.codebook_KD + (1 - self.decay) * F.normalize(sums_KD, dim=-1), dim=-1)
        self.codebook_KD.copy_(torch.where(count_K[:, None] > 0, moved_KD, self.codebook_KD))
        share_K = count_K / max(1, len(codes_R))
        self.usage_K.mul_(self.usage_decay).add_(share_K, alpha=1 - self.usage_decay)
        dead_K = self.usage_K < self.dead_below / self.codebook_size
        fresh_KD = vectors_RD[torch.randint(len(vectors_RD), (self.codebook_size,), generator=generator)]
        self.codebook_KD.copy_(torch.where(dead_K[:, None], fresh_KD, self.codebook_KD))
        self.usage_K.copy_(torch.where(dead_K, 1 / self.codebook_size, self.usage_K))
        return int(dead_K.sum())


def _sums(vectors_RD: Tensor, codes_R: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sum of the vectors and their number for each code."""
    sums_KD = torch.zeros(size, vectors_RD.shape[1], dtype=vectors_RD.dtype).index_add_(0, codes_R, vectors_RD)
    return sums_KD, torch.bincount(codes_R, minlength=size).to(vectors_RD.dtype)
