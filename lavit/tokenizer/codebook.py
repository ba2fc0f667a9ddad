"""What every quantizer offers: vectors of tokens, the codes nearest to them, the vectors of codes, and how both learn.

A quantizer is named by ``_target_`` in the config of a tokenizer (``tokenizer.quantizer``). The stage asks it for
vectors, codes and a loss in every step, makes its codebook once (:meth:`VectorQuantizer.initialise`) and lets it follow
after every step (:meth:`VectorQuantizer.update`).

Shapes: R rows (tokens), C channels, D code dimensions, K codes; ``...`` any leading dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lavit.errors import LavitError


class VectorQuantizer(nn.Module):
    """Base of all quantizers.

    Attributes:
        codebook_size: codes K.
        code_dim: dimensions D of a code.
        unit: True where vectors and codes are unit-norm, so that a regressed vector may be brought to unit length.
        learn: ``ema`` (codes follow their tokens), ``gradient`` (codes are parameters) or ``fixed``.
    """

    codebook_size: int
    code_dim: int
    unit: bool
    learn: str

    def vectors(self, merged: Tensor) -> Tensor:
        """Vectors [..., D] of tokens [..., C] before quantisation: what a continuous arm regresses."""
        raise TypeError(f"{type(self).__name__} does not define vectors")

    def codes(self, vectors: Tensor) -> Tensor:
        """Index [...] of the code of each vector [..., D]."""
        raise TypeError(f"{type(self).__name__} does not define codes")

    def lookup(self, codes: Tensor) -> Tensor:
        """Vectors [..., D] of codes [...]."""
        raise TypeError(f"{type(self).__name__} does not define lookup")

    def loss(self, vectors: Tensor, quantised: Tensor, weights: Tensor, beta: float) -> tuple[Tensor, dict[str, Any]]:
        """What moves vectors and codes towards each other, and what to log of it.

        Args:
            vectors: [..., D] before quantisation.
            quantised: their codes' vectors [..., D].
            weights: [...], 1 where there is a token, 0 elsewhere.
            beta: weight of the commitment of vectors to their codes.
        """
        raise TypeError(f"{type(self).__name__} does not define loss")

    def initialise(self, vectors_RD: Tensor, generator: torch.Generator) -> None:
        """Make the codebook from the tokens of many images, where it is made from any."""

    def update(self, vectors_RD: Tensor, codes_R: Tensor, generator: torch.Generator) -> int:
        """Follow the tokens of a step after it; returns the number of revived codes."""
        return 0


def check_choice(key: str, value: str, known: tuple[str, ...]) -> None:
    """Raise unless a setting of the quantizer is one of those that are known."""
    if value not in known:
        raise LavitError(f"tokenizer.quantizer.{key}={value!r} is unknown", f"choose {' or '.join(known)}")


def first_rows(vectors_RD: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` distinct tokens, drawn by chance.

    Raises:
        LavitError: fewer tokens than codes.
    """
    rows_KD = vectors_RD[torch.randperm(len(vectors_RD), generator=generator)[:size]].clone()
    if len(rows_KD) < size:
        raise LavitError(
            f"a codebook of {size} codes cannot be initialised from {len(rows_KD)} tokens; "
            "lower tokenizer.quantizer.codebook_size or raise tokenizer.init_images"
        )
    return rows_KD


def random_rows(vectors_RD: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` tokens, drawn by chance with replacement."""
    index_K = torch.randint(len(vectors_RD), (size,), generator=generator)
    return vectors_RD[index_K.to(vectors_RD.device)]


def code_sums(vectors_RD: Tensor, codes_R: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sum of the vectors and their number for each code."""
    sums_KD = vectors_RD.new_zeros(size, vectors_RD.shape[1]).index_add_(0, codes_R, vectors_RD)
    return sums_KD, torch.bincount(codes_R, minlength=size).to(vectors_RD.dtype)


@torch.no_grad()
def revive(
    codebook_KD: Tensor,
    usage_K: Tensor,
    count_K: Tensor,
    vectors_RD: Tensor,
    usage_decay: float,
    dead_below: float,
    generator: torch.Generator,
) -> int:
    """Keep up the usage of each code, and put those that are hardly used onto random tokens, in place.

    Args:
        codebook_KD: as stored.
        usage_K: moving average of each code's share of the tokens.
        count_K: tokens of each code in this step.
        vectors_RD: the step's tokens.
        usage_decay: of the moving average.
        dead_below: usage in units of 1 / K under which a code is dead; 0 turns revival off.
        generator: where the tokens are drawn from.

    Returns:
        The number of revived codes.
    """
    size = len(codebook_KD)
    usage_K.mul_(usage_decay).add_(count_K / max(1, len(vectors_RD)), alpha=1 - usage_decay)
    dead_K = usage_K < dead_below / size
    if not len(vectors_RD):
        return 0
    fresh_KD = random_rows(vectors_RD, size, generator)
    codebook_KD.copy_(torch.where(dead_K[:, None], fresh_KD, codebook_KD))
    usage_K.copy_(torch.where(dead_K, 1 / size, usage_K))
    return int(dead_K.sum())
