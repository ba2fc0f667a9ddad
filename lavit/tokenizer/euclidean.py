"""The Euclidean codebook of VQ-VAE and VQGAN: the nearest code by squared distance, learned by gradient.

The loss (van den Oord et al. 2017, equation 3) is ``|sg(z) - e|^2 + beta |z - sg(e)|^2``: the first term moves codes
towards their tokens, the second commits tokens to their codes. The quantizer that taming-transformers ships has by
default beta on the first term (``legacy``), and Chameleon and SEED inherited it: at beta = 0.25 codes then follow four
times more slowly than published, and tokens are held four times more tightly. ``legacy_beta`` reproduces that.

Shapes: R rows (tokens), C channels, D code dimensions, K codes; ``...`` any leading dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.tokenizer.codebook import VectorQuantizer, check_choice, code_sums, first_rows, random_rows, revive
from lavit.tokenizer.quantizer import nearest_codes
from lavit.vision.blocks import init_transformer


class EuclideanQuantizer(VectorQuantizer):
    """See the module's docstring.

    Args:
        width: channels C of the tokens.
        codebook_size: codes K.
        code_dim: dimensions D of a code.
        project: from C to D: ``linear`` (VQGAN's 1 x 1 convolution) or ``tanh`` (Linear, tanh, Linear: SEED).
        l2_norm: vectors and codes at unit length (ViT-VQGAN, LlamaGen); the distance is then that of angles.
        legacy_beta: beta on the codebook's term instead of the commitment's.
        weight: of the codebook's term.
        init: ``kmeans`` (from the tokens of many images) or ``random`` (uniform in plus or minus 1 / K, as published).
        learn: ``gradient``, or ``ema``: codes follow the mean of their tokens, without the codebook's term.
        decay: of a code's moving average.
        usage_decay: of the usage that decides whether a code is dead.
        dead_below: usage in units of 1 / K under which a code is put onto a random token; 0 (published): never.
    """

    codebook_KD: Tensor
    usage_K: Tensor

    def __init__(
        self,
        width: int,
        codebook_size: int,
        code_dim: int,
        project: str = "linear",
        l2_norm: bool = False,
        legacy_beta: bool = False,
        weight: float = 1.0,
        init: str = "random",
        learn: str = "gradient",
        decay: float = 0.99,
        usage_decay: float = 0.9,
        dead_below: float = 0.0,
    ):
        super().__init__()
        check_choice("project", project, ("linear", "tanh"))
        check_choice("init", init, ("kmeans", "random"))
        check_choice("learn", learn, ("ema", "gradient"))
        self.codebook_size, self.code_dim, self.unit = codebook_size, code_dim, l2_norm
        self.legacy_beta, self.weight, self.init, self.learn = legacy_beta, weight, init, learn
        self.decay, self.usage_decay, self.dead_below = decay, usage_decay, dead_below
        last = nn.Linear(width, code_dim)
        self.project = last if project == "linear" else nn.Sequential(nn.Linear(width, width), nn.Tanh(), last)
        init_transformer(self.project)
        codebook_KD = torch.empty(codebook_size, code_dim).uniform_(-1 / codebook_size, 1 / codebook_size)
        if learn == "gradient":
            self.codebook_KD = nn.Parameter(codebook_KD)
        else:
            self.register_buffer("codebook_KD", codebook_KD)
        self.register_buffer("usage_K", torch.full((codebook_size,), 1 / codebook_size))

    def _scaled(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.unit else vectors

    def vectors(self, merged: Tensor) -> Tensor:
        """Projected tokens [..., D], at unit length with ``l2_norm``."""
        return self._scaled(self.project(merged).float())

    def codes(self, vectors: Tensor) -> Tensor:
        """Index [...] of the nearest code."""
        return nearest_codes(vectors, self._scaled(self.codebook_KD.detach()))

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook rows [..., D], at unit length with ``l2_norm``."""
        return F.embedding(codes, self._scaled(self.codebook_KD))

    def loss(self, vectors: Tensor, quantised: Tensor, weights: Tensor, beta: float) -> tuple[Tensor, dict[str, Any]]:
        """Mean squared errors over tokens and dimensions, with beta on the commitment, or as ``legacy_beta`` says."""
        commitment = _mean_square(vectors - quantised.detach(), weights)
        of_codes, of_vectors = (beta, 1.0) if self.legacy_beta else (1.0, beta)
        total = of_vectors * commitment
        if self.learn == "gradient":
            total = total + of_codes * self.weight * _mean_square(quantised - vectors.detach(), weights)
        return total, {"commitment": commitment.detach()}

    @torch.no_grad()
    def initialise(self, vectors_RD: Tensor, generator: torch.Generator, rounds: int = 10) -> None:
        """k-means on the tokens of many images, begun at distinct tokens; nothing where ``init`` is random.

        Raises:
            LavitError: fewer tokens than codes.
        """
        if self.init == "random":
            return
        centres_KD = first_rows(vectors_RD, self.codebook_size, generator)
        for _ in range(rounds):
            sums_KD, count_K = code_sums(vectors_RD, nearest_codes(vectors_RD, centres_KD), self.codebook_size)
            fresh_KD = random_rows(vectors_RD, self.codebook_size, generator)
            means_KD = sums_KD / count_K.clamp(min=1)[:, None]
            centres_KD = self._scaled(torch.where(count_K[:, None] > 0, means_KD, fresh_KD))
        self.codebook_KD.copy_(centres_KD)
        self.usage_K.fill_(1 / self.codebook_size)

    @torch.no_grad()
    def update(self, vectors_RD: Tensor, codes_R: Tensor, generator: torch.Generator) -> int:
        """Move codes towards the mean of their tokens (``ema``), and put dead ones onto random tokens.

        Returns:
            The number of revived codes.
        """
        sums_KD, count_K = code_sums(vectors_RD, codes_R, self.codebook_size)
        if self.learn == "ema":
            means_KD = sums_KD / count_K.clamp(min=1)[:, None]
            moved_KD = self._scaled(torch.lerp(means_KD, self.codebook_KD, self.decay))
            self.codebook_KD.copy_(torch.where(count_K[:, None] > 0, moved_KD, self.codebook_KD))
        return revive(
            self.codebook_KD.data, self.usage_K, count_K, vectors_RD, self.usage_decay, self.dead_below, generator
        )


def _mean_square(error: Tensor, weights: Tensor) -> Tensor:
    """Mean over dimensions, and over the tokens that there are."""
    square = error.square().mean(-1)
    return (square * weights).sum() / weights.sum().clamp(min=1)
