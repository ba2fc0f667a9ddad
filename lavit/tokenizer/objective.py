"""The tokenizer's objective: reconstruct what the vision encoder sees, from as many tokens as were agreed.

LaVIT: mean over patches of 1 - cos, plus lambda (rho - kept share)^2 (paper, equation 4); here with standardised
features, an optional squared error beside the cosine, and the usual commitment term of vector quantisation.

Shapes: B images, N patches, M places, C channels, D code dimensions; ``...`` any leading dimensions of tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lavit.errors import LavitError


def reconstruction_loss(decoded_BNC: Tensor, target_BNC: Tensor, cosine: float, squared: float) -> Tensor:
    """``cosine`` times mean 1 - cos over patches, plus ``squared`` times mean squared error."""
    angle = 1 - F.cosine_similarity(decoded_BNC, target_BNC, dim=-1).mean()
    return cosine * angle + squared * F.mse_loss(decoded_BNC, target_BNC)


def keep_loss(keep_BM: Tensor, rate: float, per: str) -> Tensor:
    """Squared distance of the kept share from ``rate``.

    Per ``batch``, images may differ and only their mean is held: that is what lets a full image have more tokens than
    an empty one. Per ``image`` (the formula read literally) each is pulled to the rate.
    """
    if per == "batch":
        return (rate - keep_BM.mean()) ** 2
    if per == "image":
        return ((rate - keep_BM.mean(1)) ** 2).mean()
    raise LavitError(f"tokenizer.keep.per={per!r} is unknown", "choose batch or image")


def commitment_loss(vectors: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    """Mean 1 - cos between token vectors [..., D] and their codes; moves the vectors, not the codes.

    Args:
        vectors: unit vectors before quantisation.
        codes: their codebook rows.
        weights: [...], 1 where there is a token, 0 elsewhere.
    """
    return _mean_angle(vectors, codes.detach(), weights)


def codebook_loss(vectors: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    """The same the other way round: moves the codes, not the vectors (where they are learned by gradient)."""
    return _mean_angle(vectors.detach(), codes, weights)


def _mean_angle(vectors: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    weights = weights.detach()
    angle = 1 - (vectors * codes).sum(-1)
    return (angle * weights).sum() / weights.sum().clamp(min=1)


def mixed_vectors(vectors: Tensor, codes: Tensor, bypassed: Tensor) -> Tensor:
    """Codes in the vectors' place (straight-through), but for ``bypassed`` [...] tokens the vectors themselves.

    One decoder then serves discrete and continuous models alike.
    """
    return torch.where(bypassed[..., None], vectors, vectors + (codes - vectors).detach())
