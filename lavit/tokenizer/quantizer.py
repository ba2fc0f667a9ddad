"""LaVIT's quantizer: from a merged token to a unit vector of few dimensions, and to the nearest code of a codebook.

The codebook is cosine k-means kept up by moving averages (after BEiT v2, from which LaVIT's derives): no gradient
reaches it. What the released sources leave open, and what training fails without, are here as well:
initialisation from data and the revival of dead codes. Each piece has a switch, so that a study can take it away.

Shapes: R rows (tokens), C channels, D code dimensions, K codes; ``...`` any leading dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.tokenizer.codebook import VectorQuantizer, check_choice, code_sums, first_rows, random_rows, revive
from lavit.tokenizer.objective import codebook_loss, commitment_loss
from lavit.vision.blocks import init_transformer

# Scores held at once by the search for the nearest code. On a CPU they should stay in its cache, on a GPU fill it.
SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 27}


@torch.no_grad()
def nearest_codes(vectors: Tensor, codebook_KD: Tensor, at_once: int | None = None) -> Tensor:
    """Index [...] of the nearest row of the codebook by squared distance, the first on a tie.

    argmin |z - e|^2 = argmax (z e - |e|^2 / 2): one matrix product with a bias, in float32 whatever autocast is on (in
    bfloat16 some 3 % of the indices of random vectors change), over as many rows at a time as keep the scores small.

    Args:
        vectors: [..., D].
        codebook_KD: used as stored; with unit-norm rows the nearest is the one of the largest cosine.
        at_once: scores held at a time; a default for the device.
    """
    rows_RD = vectors.reshape(-1, vectors.shape[-1])
    at_once = at_once or SCORES_AT_ONCE.get(rows_RD.device.type, SCORES_AT_ONCE["cpu"])
    with torch.autocast(rows_RD.device.type, enabled=False):
        codebook_KD = codebook_KD.float()
        bias_K = codebook_KD.square().sum(-1) * -0.5
        chunk = max(1, at_once // len(codebook_KD))
        found = [
            torch.addmm(bias_K, part.float(), codebook_KD.T).argmax(-1) for part in rows_RD.split(chunk) if len(part)
        ]
    codes_R = torch.cat(found) if found else rows_RD.new_zeros(0, dtype=torch.long)
    return codes_R.view(vectors.shape[:-1])


class Quantizer(VectorQuantizer):
    """Pre-quantizer (Linear, tanh, Linear) and cosine codebook.

    Args:
        width: channels C of the merged tokens.
        codebook_size: codes K.
        code_dim: dimensions D of a code.
        init: ``kmeans`` (from the tokens of many images) or ``random`` (unit vectors that know nothing of the data).
        learn: ``ema`` (codes follow their tokens) or ``gradient`` (codes are parameters, with a codebook loss).
        decay: of a code's moving average.
        usage_decay: of the usage that decides whether a code is dead; faster, so that the dead are found in time.
        dead_below: usage (share of the tokens, in units of 1 / K) under which a code is dead; 0 turns revival off.
    """

    unit = True
    codebook_KD: Tensor
    usage_K: Tensor
    ready: Tensor

    def __init__(
        self,
        width: int,
        codebook_size: int,
        code_dim: int,
        init: str = "kmeans",
        learn: str = "ema",
        decay: float = 0.99,
        usage_decay: float = 0.9,
        dead_below: float = 0.05,
    ):
        super().__init__()
        check_choice("init", init, ("kmeans", "random"))
        check_choice("learn", learn, ("ema", "gradient"))
        self.codebook_size, self.code_dim = codebook_size, code_dim
        self.init, self.learn = init, learn
        self.decay, self.usage_decay, self.dead_below = decay, usage_decay, dead_below
        self.project = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, code_dim))
        init_transformer(self.project)
        codebook_KD = F.normalize(torch.randn(codebook_size, code_dim), dim=-1)
        if learn == "gradient":
            self.codebook_KD = nn.Parameter(codebook_KD)
        else:
            self.register_buffer("codebook_KD", codebook_KD)
        self.register_buffer("usage_K", torch.full((codebook_size,), 1 / codebook_size))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def vectors(self, merged: Tensor) -> Tensor:
        """Unit vectors [..., D] of merged tokens [..., C]: the continuous target, and what is quantised."""
        return F.normalize(self.project(merged).float(), dim=-1)

    def codes(self, vectors: Tensor) -> Tensor:
        """Index [...] of the nearest code, see :func:`nearest_codes`."""
        return nearest_codes(vectors, self.codebook_KD.detach())

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook rows [..., D], as stored."""
        return F.embedding(codes, self.codebook_KD)

    def loss(self, vectors: Tensor, quantised: Tensor, weights: Tensor, beta: float) -> tuple[Tensor, dict[str, Any]]:
        """Commitment by 1 - cos, and the codebook loss where codes learn by gradient; see the base class."""
        commitment = commitment_loss(vectors, quantised, weights)
        total = beta * commitment
        if self.learn == "gradient":
            total = total + codebook_loss(vectors, quantised, weights)
        return total, {"commitment": commitment.detach()}

    @torch.no_grad()
    def initialise(self, vectors_RD: Tensor, generator: torch.Generator, rounds: int = 10) -> None:
        """Spherical k-means on the tokens of many images, begun at distinct tokens; nothing where ``init`` is random.

        Raises:
            LavitError: fewer tokens than codes.
        """
        self.ready.fill_(True)
        if self.init == "random":
            return
        centres_KD = first_rows(vectors_RD, self.codebook_size, generator)
        for _ in range(rounds):
            sums_KD, count_K = code_sums(vectors_RD, nearest_codes(vectors_RD, centres_KD), self.codebook_size)
            fresh_KD = random_rows(vectors_RD, self.codebook_size, generator)
            centres_KD = F.normalize(torch.where(count_K[:, None] > 0, sums_KD, fresh_KD), dim=-1)
        self.codebook_KD.copy_(centres_KD)
        self.usage_K.fill_(1 / self.codebook_size)

    @torch.no_grad()
    def update(self, vectors_RD: Tensor, codes_R: Tensor, generator: torch.Generator) -> int:
        """After an optimizer step: move the codes towards their tokens (``ema``) or back to the unit sphere
        (``gradient``), and put dead ones onto random tokens.

        Returns:
            The number of revived codes.
        """
        if self.learn == "gradient":
            self.codebook_KD.copy_(F.normalize(self.codebook_KD, dim=-1))
            count_K = torch.bincount(codes_R, minlength=self.codebook_size).to(vectors_RD.dtype)
        else:
            sums_KD, count_K = code_sums(vectors_RD, codes_R, self.codebook_size)
            target_KD = F.normalize(sums_KD, dim=-1)
            moved_KD = F.normalize(self.decay * self.codebook_KD + (1 - self.decay) * target_KD, dim=-1)
            self.codebook_KD.copy_(torch.where(count_K[:, None] > 0, moved_KD, self.codebook_KD))
        return revive(
            self.codebook_KD.data, self.usage_K, count_K, vectors_RD, self.usage_decay, self.dead_below, generator
        )
